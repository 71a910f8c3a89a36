import type { Entry, HardState } from '../../types.ts';
import type { Batch, Place, StateRecord } from './content.ts';

/** What the records read so far add up to. Indexes are judged here, bytes elsewhere. */
export class Replay {
  hardState: HardState = { term: 0, vote: undefined, commit: 0 };
  compacted: Place = { index: 0, term: 0 };
  snapshot: Place | undefined;
  /** The first follows `#base`: what lies before it was in segments that are gone. */
  #entries: Entry[] = [];
  #base: Place = { index: 0, term: 0 };
  #begun = false;

  get last(): Place {
    const last = this.#entries.at(-1);
    return last === undefined ? this.#base : { index: last.index, term: last.term };
  }

  /** Returns what does not fit; undefined when all does. */
  state(state: StateRecord): string | undefined {
    if (!this.#begun) {
      this.#begun = true;
      this.hardState = state.hardState;
      this.compacted = state.compacted;
      this.snapshot = state.snapshot;
      this.#base = state.last;
      return undefined;
    }
    const { index, term } = this.last;
    if (state.last.index === index && state.last.term === term) return undefined;
    return `the log should go up to entry ${state.last.index} here, but it goes up to ${index}`;
  }

  batch(batch: Batch): string | undefined {
    if (!this.#begun) return 'the state that its segment should begin with is missing';
    this.hardState = batch.hardState ?? this.hardState;
    if (batch.install !== undefined) {
      this.#entries = [];
      this.#base = batch.install;
      this.compacted = batch.install;
      this.snapshot = batch.install;
    }
    this.snapshot = batch.adopt ?? this.snapshot;
    this.compacted = batch.compact ?? this.compacted;
    const [first] = batch.entries;
    if (first === undefined) return undefined;
    if (first.index > this.last.index + 1) {
      return `entry ${this.last.index + 1} is missing (next is ${first.index})`;
    }
    const kept = first.index - this.#base.index - 1;
    if (kept < 0) {
      // Replaces entries whose segments are gone: they were not needed, or the end check will tell.
      this.#base = { index: first.index - 1, term: 0 };
      this.#entries = [];
    } else this.#entries.length = kept;
    for (const entry of batch.entries) this.#entries.push(entry);
    return undefined;
  }

  /** All entries after the compaction point; a text when some are missing. */
  entries(): Entry[] | string {
    const cut = this.compacted.index - this.#base.index;
    if (cut < 0) return `entry ${this.compacted.index + 1} is missing: its segment is gone`;
    if (cut > this.#entries.length) {
      return `the log ends at ${this.last.index}, but it was compacted up to ${this.compacted.index}`;
    }
    return this.#entries.slice(cut);
  }
}
