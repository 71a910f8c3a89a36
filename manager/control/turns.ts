import { ShoalError } from '../../shared/errors.ts';

/**
 * Lets one caller in at a time, in the order they came. Requests that look at several objects
 * before they write one (is the port free, is the network unused) take turns: between the look and
 * the write nothing else may slip in, and versions only guard the object that is written.
 */
export class Turns {
  readonly #maxWaiting: number;
  #waiting = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(maxWaiting = 1024) {
    this.#maxWaiting = maxWaiting;
  }

  /** Throws ShoalError `resource-exhausted` when too many wait; the signal's reason when it aborts first. */
  async run<T>(fn: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    if (this.#waiting >= this.#maxWaiting) {
      throw new ShoalError(
        'resource-exhausted',
        `${this.#waiting} changes wait for their turn already: try again later`,
      );
    }
    this.#waiting += 1;
    const turn = this.#last.then(() => {
      this.#waiting -= 1;
      signal?.throwIfAborted();
      return fn();
    });
    this.#last = turn.catch(() => undefined); // its own caller hears of it; the next one goes on
    return turn;
  }
}
