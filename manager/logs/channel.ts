/**
 * A queue between those who produce and one who reads: full, it makes the producers wait. What is left in
 * it when it is closed is still read.
 */
export class Channel<T> {
  readonly #capacity: number;
  readonly #items: T[] = [];
  readonly #room: (() => void)[] = [];
  #wake: (() => void) | undefined;
  #isClosed = false;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get isFull(): boolean {
    return this.#items.length >= this.#capacity;
  }

  /** Resolves once there was room; false: closed, the item is dropped. */
  async push(item: T): Promise<boolean> {
    while (this.isFull && !this.#isClosed) {
      await new Promise<void>((resolve) => this.#room.push(resolve));
    }
    if (this.#isClosed) return false;
    this.#items.push(item);
    this.#wake?.();
    return true;
  }

  close(): void {
    this.#isClosed = true;
    this.#wake?.();
    for (const wake of this.#room.splice(0)) wake();
  }

  /** For one reader. Leaving the loop closes the channel. */
  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    try {
      for (;;) {
        if (this.#items.length > 0) {
          const item = this.#items.shift() as T;
          this.#room.shift()?.();
          yield item;
        } else if (this.#isClosed) {
          return;
        } else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
          this.#wake = undefined;
        }
      }
    } finally {
      this.close();
    }
  }
}
