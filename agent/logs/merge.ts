const QUEUE_MOST = 256;

/**
 * Several sources as one stream, each item when it comes. Sources may be added while it is read. A reader that
 * is slow holds the sources back. Ends when `finish` was called and every source has ended.
 */
export class Merged<T> implements AsyncIterable<T> {
  #queue: T[] = [];
  #open = 0;
  #isFinished = false;
  #isCancelled = false;
  #wakeReader: () => void = () => undefined;
  #wakeWriters: (() => void)[] = [];

  /** `onError` is told when the source breaks; the others go on. */
  add(source: AsyncIterable<T>, onError: (error: unknown) => void): void {
    this.#open++;
    this.#drain(source)
      .catch(onError)
      .finally(() => {
        this.#open--;
        this.#wakeReader();
      });
  }

  /** No more sources will be added. */
  finish(): void {
    this.#isFinished = true;
    this.#wakeReader();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    try {
      for (;;) {
        const item = this.#queue.shift();
        if (item !== undefined) {
          for (const wake of this.#wakeWriters.splice(0)) wake();
          yield item;
        } else if (this.#isFinished && this.#open === 0) {
          return;
        } else {
          await new Promise<void>((resolve) => {
            this.#wakeReader = resolve;
          });
        }
      }
    } finally {
      this.#isCancelled = true;
      for (const wake of this.#wakeWriters.splice(0)) wake();
    }
  }

  async #drain(source: AsyncIterable<T>): Promise<void> {
    for await (const item of source) {
      while (this.#queue.length >= QUEUE_MOST && !this.#isCancelled) {
        await new Promise<void>((resolve) => this.#wakeWriters.push(resolve));
      }
      if (this.#isCancelled) return;
      this.#queue.push(item);
      this.#wakeReader();
    }
  }
}
