import type { LogView } from './durable-log.ts';
import { broken } from './invariant.ts';
import type { Entry, SnapshotMeta } from './types.ts';

/** Counted for each entry besides its data: about what its frame costs on the wire and in memory. */
export const ENTRY_OVERHEAD_BYTES = 24;

export function entryBytes(entry: Entry): number {
  return entry.data.length + ENTRY_OVERHEAD_BYTES;
}

export function sumBytes(entries: readonly Entry[]): number {
  let bytes = 0;
  for (const entry of entries) bytes += entryBytes(entry);
  return bytes;
}

/**
 * `entries[from..to)`, ending before `maxBytes` are exceeded, but with at least one entry: a big one
 * must get through alone.
 */
export function sliceBytes(
  entries: readonly Entry[],
  from: number,
  to: number,
  maxBytes: number,
): readonly Entry[] {
  let bytes = 0;
  for (let at = from; at < to; at++) {
    bytes += entryBytes(entries[at] as Entry);
    if (bytes > maxBytes && at > from) return entries.slice(from, at);
  }
  return entries.slice(from, to);
}

/**
 * The whole log of one node: what `LogView` has on disk, and the unstable rest that the next `Ready`
 * will write. `snapshot <= ... <= applied <= applying <= commit <= last`, and nothing at or below
 * `commit` is ever cut off or replaced.
 */
export class RaftLog {
  readonly #view: LogView;
  /** Entries not known to be durable; the first has index `#offset`. They shadow the view. */
  #unstable: Entry[] = [];
  #offset: number;
  /** Received and not yet durable: while there is one, the view's content is void. */
  #snapshot: SnapshotMeta | undefined;
  #commit: number;
  /** Handed out for applying. */
  #applying: number;
  #applied: number;
  /** What was handed out and not reported: last index and bytes of each batch, oldest first. */
  readonly #batches: { last: number; bytes: number }[] = [];
  #applyingBytes = 0;

  constructor(view: LogView, commit: number, applied: number) {
    const first = view.firstIndex();
    const last = view.lastIndex();
    if (commit > last) {
      throw broken(`the log ends at ${last} but ${commit} was committed: its end has been lost`);
    }
    if (applied < first - 1 || applied > Math.max(commit, first - 1)) {
      throw broken(`the state is at ${applied}, outside of the log's ${first - 1} to ${commit}`);
    }
    this.#view = view;
    this.#offset = last + 1;
    this.#commit = Math.max(commit, applied);
    this.#applying = applied;
    this.#applied = applied;
  }

  get commit(): number {
    return this.#commit;
  }
  get applied(): number {
    return this.#applied;
  }
  get applying(): number {
    return this.#applying;
  }

  firstIndex(): number {
    return this.#snapshot === undefined ? this.#view.firstIndex() : this.#snapshot.index + 1;
  }

  lastIndex(): number {
    return this.#offset - 1 + this.#unstable.length;
  }

  lastTerm(): number {
    const term = this.term(this.lastIndex());
    if (term === undefined) throw broken(`the term of the last index ${this.lastIndex()} is gone`);
    return term;
  }

  /** Everything up to here is on this node's disk. */
  stableIndex(): number {
    return this.#snapshot === undefined ? this.#offset - 1 : 0;
  }

  /** Undefined for an index that is compacted or not there. */
  term(index: number): number | undefined {
    if (index >= this.#offset) return this.#unstable[index - this.#offset]?.term;
    const snapshot = this.#snapshot;
    if (snapshot !== undefined) return index === snapshot.index ? snapshot.term : undefined;
    return this.#view.term(index);
  }

  matches(index: number, term: number): boolean {
    return this.term(index) === term;
  }

  /** Section 5.4.1: whether a log that ends with (lastIndex, lastTerm) has all that this one has. */
  isUpToDate(lastIndex: number, lastTerm: number): boolean {
    const ownTerm = this.lastTerm();
    return lastTerm > ownTerm || (lastTerm === ownTerm && lastIndex >= this.lastIndex());
  }

  /** Entries of [low, high) within `maxBytes`; undefined when `low` is compacted. */
  slice(low: number, high: number, maxBytes: number): readonly Entry[] | undefined {
    if (low >= high) return [];
    if (low < this.firstIndex()) return undefined;
    if (high > this.lastIndex() + 1) throw broken(`entries up to ${high} asked of a shorter log`);
    if (low >= this.#offset) {
      return sliceBytes(this.#unstable, low - this.#offset, high - this.#offset, maxBytes);
    }
    const stableEnd = Math.min(high, this.#offset);
    const stable = this.#view.entries(low, stableEnd, maxBytes);
    if (high <= this.#offset || stable.length < stableEnd - low) return stable;
    const both = [...stable, ...this.#unstable.slice(0, high - this.#offset)];
    return sliceBytes(both, 0, both.length, maxBytes);
  }

  /** A leader's own entries, to follow the last index. */
  append(entries: readonly Entry[]): void {
    for (const entry of entries) this.#unstable.push(entry);
  }

  /**
   * A follower's side of an append (figure 2): undefined when the log does not hold (prevIndex,
   * prevTerm), else the index up to which it now agrees with the leader. Entries that agree already
   * are left alone, also those past the end of this append: it may be an old one.
   */
  tryAppend(prevIndex: number, prevTerm: number, entries: readonly Entry[]): number | undefined {
    if (!this.matches(prevIndex, prevTerm)) return undefined;
    const last = prevIndex + entries.length;
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i] as Entry;
      if (this.matches(entry.index, entry.term)) continue;
      if (entry.index <= this.#commit) {
        throw broken(
          `a leader would replace entry ${entry.index}, committed up to ${this.#commit}`,
        );
      }
      this.#replaceFrom(entry.index, entries.slice(i));
      break;
    }
    return last;
  }

  /** The last index at or below `index` whose term is not above `term`, and its term (0 if gone). */
  findConflict(index: number, term: number): { index: number; term: number } {
    for (let at = index; at > 0; at--) {
      const own = this.term(at);
      // Compacted: that far both logs agree anyway, being committed.
      if (own === undefined) return { index: at, term: 0 };
      if (own <= term) return { index: at, term: own };
    }
    return { index: 0, term: 0 };
  }

  commitTo(index: number): void {
    if (index <= this.#commit) return;
    if (index > this.lastIndex()) {
      throw broken(
        `${index} is committed but the log ends at ${this.lastIndex()}: acknowledged entries are lost`,
      );
    }
    this.#commit = index;
  }

  /** Takes the state of a snapshot in place of the whole log. */
  restore(snapshot: SnapshotMeta): void {
    if (snapshot.index <= this.#commit) throw broken('a snapshot would turn the commit index back');
    this.#snapshot = snapshot;
    this.#unstable = [];
    this.#offset = snapshot.index + 1;
    this.#commit = snapshot.index;
    this.#applying = snapshot.index;
    this.#applied = snapshot.index;
    this.#batches.length = 0;
    this.#applyingBytes = 0;
  }

  newestSnapshot(): SnapshotMeta | undefined {
    return this.#snapshot ?? this.#view.snapshot();
  }

  // ------------------------------------------------------------------------ for Ready and advance

  unstableSnapshot(): SnapshotMeta | undefined {
    return this.#snapshot;
  }

  unstableEntries(): readonly Entry[] {
    return this.#unstable.length === 0 ? [] : this.#unstable.slice();
  }

  hasUnstable(): boolean {
    return this.#unstable.length > 0 || this.#snapshot !== undefined;
  }

  /** The snapshot handed out is durable. A newer one may have replaced it meanwhile. */
  snapshotStable(snapshot: SnapshotMeta): void {
    if (this.#view.term(snapshot.index) !== snapshot.term) {
      throw broken(`advance() before the snapshot at ${snapshot.index} was put into the log view`);
    }
    if (this.#snapshot?.index === snapshot.index) this.#snapshot = undefined;
  }

  /**
   * Everything up to (index, term) is durable. Entries replaced since then have another term there
   * and stay unstable: what the disk holds at their index is not what the log says.
   */
  stableTo(index: number, term: number): void {
    if (this.#snapshot !== undefined) return;
    const count = index - this.#offset + 1;
    if (count <= 0 || this.#unstable[count - 1]?.term !== term) return;
    if (this.#view.term(index) !== term) {
      throw broken(`advance() before entry ${index} of term ${term} was put into the log view`);
    }
    this.#unstable = this.#unstable.length === count ? [] : this.#unstable.slice(count);
    this.#offset = index + 1;
  }

  hasCommittedToHandOut(maxBytes: number): boolean {
    return this.#applying < this.#commitAndStable() && this.#applyingBytes < maxBytes;
  }

  /** The next committed entries, durable here, so that no more than `maxBytes` wait to be applied. */
  handOutCommitted(maxBytes: number): readonly Entry[] {
    if (!this.hasCommittedToHandOut(maxBytes)) return [];
    const high = this.#commitAndStable() + 1;
    const entries = this.slice(this.#applying + 1, high, maxBytes - this.#applyingBytes);
    if (entries === undefined) throw broken(`entry ${this.#applying + 1} was compacted unapplied`);
    const bytes = sumBytes(entries);
    this.#applying += entries.length;
    this.#applyingBytes += bytes;
    this.#batches.push({ last: this.#applying, bytes });
    return entries;
  }

  appliedTo(index: number): void {
    if (index <= this.#applied) return; // from before a snapshot was restored, or said twice
    if (index > this.#applying)
      throw broken(`${index} applied, but only ${this.#applying} given out`);
    this.#applied = index;
    let batch = this.#batches[0];
    while (batch !== undefined && batch.last <= index) {
      this.#applyingBytes -= batch.bytes;
      this.#batches.shift();
      batch = this.#batches[0];
    }
  }

  /** What may be applied: committed alone is not enough, see rule 5 at `Ready`. */
  #commitAndStable(): number {
    return Math.min(this.#commit, this.stableIndex());
  }

  #replaceFrom(index: number, entries: readonly Entry[]): void {
    if (index > this.#offset) {
      this.#unstable.length = index - this.#offset;
      this.append(entries);
    } else {
      // The durable ones from `index` on are shadowed until the next batch overwrites them.
      this.#unstable = entries.slice();
      this.#offset = index;
    }
  }
}
