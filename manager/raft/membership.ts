import { changeConf, isMember, isVoter } from './conf-change.ts';
import { decodeConfChange } from './conf-codec.ts';
import { broken } from './invariant.ts';
import type { RaftLog } from './log.ts';
import type { ConfState, Entry, RaftId, SnapshotMeta } from './types.ts';

/** When looking for changes among committed entries, so much of the log at a time. */
const SCAN_BYTES = 1 << 20;

/**
 * Who the members are, as of the last change that was applied: a change counts from then on, not
 * from when it was appended. (So a change that is never committed needs no taking back.)
 */
export class Membership {
  readonly #id: RaftId;
  #conf: ConfState;
  /** The last index whose effect `#conf` includes. */
  #index: number;
  /** Indexes of changes handed out and not yet applied. */
  #out: number[] = [];

  constructor(id: RaftId, conf: ConfState, index: number) {
    this.#id = id;
    this.#conf = conf;
    this.#index = index;
  }

  get conf(): ConfState {
    return this.#conf;
  }

  isVoter(): boolean {
    return isVoter(this.#conf, this.#id);
  }

  /**
   * False while a committed change is not applied: it decides who the voters are. To count with the
   * old configuration could elect a second leader beside one that was elected by the new.
   */
  isCurrent(log: RaftLog): boolean {
    if (this.#out.length > 0) return false;
    const end = log.commit + 1;
    for (let next = log.applying + 1; next < end; ) {
      const page = log.slice(next, end, SCAN_BYTES);
      if (page === undefined) throw broken(`entry ${next} was compacted unapplied`);
      if (page.some(isConfChange)) return false;
      next += page.length;
    }
    return true;
  }

  handedOut(entries: readonly Entry[]): void {
    for (const entry of entries) if (isConfChange(entry)) this.#out.push(entry.index);
  }

  /** False when a restored snapshot includes it. */
  apply(entry: Entry): boolean {
    if (!isConfChange(entry)) throw broken(`entry ${entry.index} changes no members`);
    if (entry.index <= this.#index) return false;
    if (this.#out[0] !== entry.index) {
      throw broken(`the change of members at ${entry.index} is applied out of order`);
    }
    this.#out.shift();
    this.#conf = changeConf(this.#conf, decodeConfChange(entry.data));
    this.#index = entry.index;
    return true;
  }

  checkApplied(index: number): void {
    const first = this.#out[0];
    if (first !== undefined && first <= index) {
      throw broken(`applied up to ${index} without the change of members at ${first}`);
    }
  }

  /**
   * Whether a snapshot may replace this node's state. A member that its leader still feeds cannot
   * have been removed, so one without it is refused; a newcomer may be in no snapshot yet.
   */
  accepts(snapshot: SnapshotMeta): boolean {
    return !isMember(this.#conf, this.#id) || isMember(snapshot.confState, this.#id);
  }

  restore(snapshot: SnapshotMeta): void {
    this.#conf = snapshot.confState;
    this.#index = snapshot.index;
    this.#out = [];
  }
}

function isConfChange(entry: Entry): boolean {
  return entry.type === 'conf-change';
}
