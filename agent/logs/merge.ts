import { Channel } from '../../shared/channel.ts';

const CAPACITY = 256;

/**
 * Several sources as one stream, each item when it comes. Sources may be added while it is read. A reader that
 * is slow holds the sources back. Ends when `finish` was called and every source has ended, or at once when the
 * signal aborts; the sources end with it.
 */
export class Merged<T> implements AsyncIterable<T> {
  readonly #channel: Channel<T>;
  #open = 0;
  #isFinished = false;

  constructor(signal?: AbortSignal) {
    this.#channel = new Channel(CAPACITY, signal);
  }

  /** `onError` is told when the source breaks; the others go on. */
  add(source: AsyncIterable<T>, onError: (error: unknown) => void): void {
    this.#open++;
    this.#channel
      .take(source)
      .catch(onError)
      .finally(() => {
        this.#open--;
        this.#closeWhenDone();
      });
  }

  /** No more sources will be added. */
  finish(): void {
    this.#isFinished = true;
    this.#closeWhenDone();
  }

  [Symbol.asyncIterator](): AsyncGenerator<T> {
    return this.#channel[Symbol.asyncIterator]();
  }

  #closeWhenDone(): void {
    if (this.#isFinished && this.#open === 0) this.#channel.close();
  }
}
