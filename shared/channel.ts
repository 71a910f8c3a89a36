/**
 * A bounded queue between those who produce and one who reads. Full, it makes producers wait (`push`) or
 * refuses (`offer`). What is in it when it is closed or fails is still read, unless the signal aborts: then
 * nobody is there to read it.
 */
export class Channel<T> implements AsyncIterable<T> {
  readonly #capacity: number;
  #items: T[] = [];
  #room: (() => void)[] = [];
  #wake: (() => void) | undefined;
  #isClosed = false;
  #error: unknown;

  constructor(capacity: number, signal?: AbortSignal) {
    this.#capacity = capacity;
    if (signal?.aborted) this.#cancel();
    else signal?.addEventListener('abort', () => this.#cancel(), { once: true });
  }

  get isFull(): boolean {
    return this.#items.length >= this.#capacity;
  }

  /** False when it is full or closed: the item is lost, and the caller decides what that means. */
  offer(item: T): boolean {
    if (this.#isClosed || this.isFull) return false;
    this.#items.push(item);
    this.#wake?.();
    return true;
  }

  /** Resolves once there was room; false: closed, the item is dropped. */
  async push(item: T): Promise<boolean> {
    while (this.isFull && !this.#isClosed) {
      await new Promise<void>((resolve) => this.#room.push(resolve));
    }
    return this.offer(item);
  }

  /** Pushes all items of a source until it ends or the channel is closed; rejects when the source breaks. */
  async take(source: AsyncIterable<T>): Promise<void> {
    for await (const item of source) if (!(await this.push(item))) return;
  }

  close(): void {
    this.#isClosed = true;
    this.#wake?.();
    for (const wake of this.#room.splice(0)) wake();
  }

  /** As `close`, but the reader gets `error` after the last item. */
  fail(error: unknown): void {
    if (this.#isClosed) return;
    this.#error = error;
    this.close();
  }

  /** For one reader. Leaving the loop closes the channel. */
  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    try {
      for (;;) {
        if (this.#items.length > 0) {
          const item = this.#items.shift() as T;
          this.#room.shift()?.();
          yield item;
        } else if (this.#isClosed) {
          if (this.#error !== undefined) throw this.#error;
          return;
        } else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
          this.#wake = undefined;
        }
      }
    } finally {
      this.#cancel();
    }
  }

  #cancel(): void {
    this.#items = [];
    this.#error = undefined;
    this.close();
  }
}
