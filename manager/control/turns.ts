import { ShoalError } from '../../shared/errors.ts';

type Turn = { readonly isAlone: boolean; readonly start: () => void };

/**
 * Lets callers in by turns, in the order they came. Requests that look at several objects before they
 * write one (is the port free, is the network unused) go alone: between the look and the write nothing
 * else may slip in, and versions only guard the object that is written. Those that need no more than
 * that nobody goes alone meanwhile go together, so that their writes share a round of consensus.
 */
export class Turns {
  readonly #maxWaiting: number;
  readonly #waiting: Turn[] = [];
  #inside = 0;
  #isAloneInside = false;

  constructor(maxWaiting = 1024) {
    this.#maxWaiting = maxWaiting;
  }

  /** Throws ShoalError `resource-exhausted` when too many wait; the signal's reason when it aborts first. */
  alone<T>(fn: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.#run(true, fn, signal);
  }

  /** Like `alone`, but beside others that came by `together`. */
  together<T>(fn: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.#run(false, fn, signal);
  }

  async #run<T>(isAlone: boolean, fn: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    if (this.#waiting.length >= this.#maxWaiting) {
      throw new ShoalError(
        'resource-exhausted',
        `${this.#waiting.length} changes wait for their turn already: try again later`,
      );
    }
    await new Promise<void>((start) => {
      this.#waiting.push({ isAlone, start });
      this.#letIn();
    });
    try {
      signal?.throwIfAborted();
      return await fn();
    } finally {
      this.#inside -= 1;
      this.#letIn();
    }
  }

  /** Nobody overtakes: one that goes alone is not kept waiting by those who come after it. */
  #letIn(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (this.#inside > 0 && (next.isAlone || this.#isAloneInside)) return;
      this.#waiting.shift();
      this.#inside += 1;
      this.#isAloneInside = next.isAlone;
      next.start();
    }
  }
}
