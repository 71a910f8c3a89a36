import type { Entry } from './types.ts';

/**
 * Payload that a leader appended in its term and that is not handed out for applying yet: bounds what
 * a leader without a quorum, or with a state machine that lags, piles up. Entries of earlier terms
 * count for nothing, so a new leader starts from zero (it could not tell what they took).
 */
export class UncommittedBytes {
  readonly #max: number;
  readonly #term: number;
  #bytes = 0;

  constructor(max: number, term: number) {
    this.#max = max;
    this.#term = term;
  }

  /**
   * Counts payload against the limit, unless that refuses it. One batch larger than the whole limit
   * passes while nothing else waits, and empty ones always do: a leader's no-op is never refused.
   */
  admit(data: readonly Uint8Array[]): boolean {
    let bytes = 0;
    for (const payload of data) bytes += payload.length;
    const total = this.#bytes + bytes;
    if (bytes > 0 && this.#bytes > 0 && total > this.#max) return false;
    this.#bytes = total;
    return true;
  }

  /** Counts what may not be refused. */
  force(payload: Uint8Array): void {
    this.#bytes += payload.length;
  }

  handedOut(entries: readonly Entry[]): void {
    for (const entry of entries) {
      if (entry.term === this.#term) this.#bytes -= entry.data.length;
    }
  }
}
