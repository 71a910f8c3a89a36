import type { Entry } from './types.ts';

/** Proposals appended by this node as leader and not yet committed, by the index they got. */
export class PendingProposals {
  readonly #byIndex = new Map<number, { id: number; term: number }>();

  /** Proposals `firstId`, `firstId + 1`, ... got the indexes `first` to `last` in `term`. */
  add(firstId: number, first: number, last: number, term: number): void {
    for (let index = first; index <= last; index++) {
      this.#byIndex.set(index, { id: firstId + index - first, term });
    }
  }

  /** The proposal that this committed entry is. */
  take(entry: Entry): number | undefined {
    const pending = this.#byIndex.get(entry.index);
    if (pending?.term !== entry.term) return undefined;
    this.#byIndex.delete(entry.index);
    return pending.id;
  }

  /** Everything proposed before `term`: a leader of a later term may or may not have it. */
  dropBefore(term: number): number[] {
    const dropped: number[] = [];
    for (const [index, pending] of this.#byIndex) {
      if (pending.term >= term) continue;
      this.#byIndex.delete(index);
      dropped.push(pending.id);
    }
    return dropped;
  }

  dropAll(): number[] {
    return this.dropBefore(Number.POSITIVE_INFINITY);
  }
}
