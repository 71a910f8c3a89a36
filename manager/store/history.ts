import type { ChangeBatch } from './types.ts';

/**
 * The last batches, for watchers: each reads at its own position, so a slow one costs nothing and
 * is told when its position fell out. Bounded by changes, not by batches: a batch may be large.
 */
export class History {
  readonly #maxChanges: number;
  /** Batches before `#head` were dropped; the array is shortened now and then, not at each drop. */
  #batches: (ChangeBatch | undefined)[] = [];
  #head = 0;
  /** Position of `#batches[0]`. */
  #base = 0;
  #changes = 0;
  #droppedThroughIndex = 0;

  /** `maxChanges`: how many changes are kept; the latest batch is kept whatever its size. */
  constructor(maxChanges: number) {
    this.#maxChanges = maxChanges;
  }

  push(batch: ChangeBatch): void {
    this.#batches.push(batch);
    this.#changes += batch.changes.length;
    while (this.#changes > this.#maxChanges && this.#head < this.#batches.length - 1) {
      const oldest = this.#batches[this.#head];
      this.#batches[this.#head] = undefined; // or its objects would stay alive until the next cut
      this.#head += 1;
      this.#changes -= oldest?.changes.length ?? 0;
      this.#droppedThroughIndex = oldest?.index ?? this.#droppedThroughIndex;
    }
    if (this.#head > 1024 && this.#head > this.#batches.length / 2) {
      this.#batches = this.#batches.slice(this.#head);
      this.#base += this.#head;
      this.#head = 0;
    }
  }

  /**
   * A batch that stands for entries that were never seen here. Readers at the end get it; nobody
   * can begin before it, because what lay between is not known.
   */
  pushDifference(batch: ChangeBatch): void {
    this.push(batch);
    this.#droppedThroughIndex = batch.index;
  }

  /** Forgets everything up to and including `index`: all readers are cut. */
  clear(index: number): void {
    // One position is skipped, so that a reader that stood at the end is cut as well.
    this.#base += this.#batches.length + 1;
    this.#batches = [];
    this.#head = 0;
    this.#changes = 0;
    this.#droppedThroughIndex = index;
  }

  /** Position of the first batch after index `from`; undefined when batches after it are gone. */
  positionAfter(from: number): number | undefined {
    if (from < this.#droppedThroughIndex) return undefined;
    let [low, high] = [this.#head, this.#batches.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#batches[middle]?.index ?? 0) > from) high = middle;
      else low = middle + 1;
    }
    return this.#base + low;
  }

  /** The batch at a position, `gone` when it fell out, undefined when it is still to come. */
  at(position: number): ChangeBatch | 'gone' | undefined {
    const offset = position - this.#base;
    return offset < this.#head ? 'gone' : this.#batches[offset];
  }
}
