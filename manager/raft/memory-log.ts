import type { LoadedState, LogView } from './durable-log.ts';
import { broken } from './invariant.ts';
import { sliceBytes } from './log.ts';
import type { Entry, SnapshotMeta } from './types.ts';

/** The durable log's mirror in memory: what was written to disk is put in here, then `advance`d. */
export class MemoryLog implements LogView {
  /** The first has index `#compacted.index + 1`. */
  #entries: Entry[];
  #compacted: { index: number; term: number };
  #snapshot: SnapshotMeta | undefined;

  constructor(loaded?: Pick<LoadedState, 'snapshot' | 'entries' | 'compacted'>) {
    this.#entries = loaded === undefined ? [] : loaded.entries.slice();
    this.#compacted = { ...(loaded?.compacted ?? { index: 0, term: 0 }) };
    this.#snapshot = loaded?.snapshot;
    const first = this.#entries[0];
    if (first !== undefined && first.index !== this.#compacted.index + 1) {
      throw broken(`the log starts at ${first.index}, compacted at ${this.#compacted.index}`);
    }
  }

  firstIndex(): number {
    return this.#compacted.index + 1;
  }

  lastIndex(): number {
    return this.#compacted.index + this.#entries.length;
  }

  term(index: number): number | undefined {
    if (index === this.#compacted.index) return this.#compacted.term;
    if (index < this.#compacted.index) return undefined;
    return this.#entries[this.#position(index)]?.term;
  }

  entries(low: number, high: number, maxBytes: number): readonly Entry[] {
    if (low < this.firstIndex() || high > this.lastIndex() + 1) {
      throw broken(
        `entries ${low} to ${high - 1} asked of ${this.firstIndex()} to ${this.lastIndex()}`,
      );
    }
    return sliceBytes(this.#entries, this.#position(low), this.#position(high), maxBytes);
  }

  snapshot(): SnapshotMeta | undefined {
    return this.#snapshot;
  }

  /** As `DurableLog.append`: replaces everything from the first entry's index on. */
  append(entries: readonly Entry[]): void {
    const first = entries[0];
    if (first === undefined) return;
    if (first.index < this.firstIndex() || first.index > this.lastIndex() + 1) {
      throw broken(`entry ${first.index} would leave a gap after ${this.lastIndex()}`);
    }
    this.#entries.length = this.#position(first.index);
    for (const entry of entries) this.#entries.push(entry);
  }

  /** A snapshot received: it replaces the whole log. */
  install(snapshot: SnapshotMeta): void {
    this.#entries = [];
    this.#compacted = { index: snapshot.index, term: snapshot.term };
    this.#snapshot = snapshot;
  }

  /** A snapshot of this node's own state: the log stays until `compact`. */
  setSnapshot(snapshot: SnapshotMeta): void {
    if (this.term(snapshot.index) !== snapshot.term) {
      throw broken(`a snapshot at ${snapshot.index} does not lie on the log`);
    }
    if (snapshot.index > (this.#snapshot?.index ?? 0)) this.#snapshot = snapshot;
  }

  compact(toIndex: number): void {
    if (toIndex <= this.#compacted.index) return;
    if (toIndex > (this.#snapshot?.index ?? 0)) {
      throw broken(`compacting to ${toIndex}, beyond the newest snapshot`);
    }
    const term = this.term(toIndex);
    if (term === undefined) throw broken(`compacting to ${toIndex}, not in the log`);
    // A copy of what stays, which is little, and seldom; what goes may be large, however few they are.
    this.#entries = this.#entries.slice(this.#position(toIndex) + 1);
    this.#compacted = { index: toIndex, term };
  }

  #position(index: number): number {
    return index - this.#compacted.index - 1;
  }
}
