/**
 * A bounded queue between one who calls and one who iterates. Ends when it is closed, when the
 * signal aborts (what is queued is dropped: nobody is there to read it), or with an error.
 */
export class Channel<T> implements AsyncIterable<T> {
  readonly #limit: number;
  readonly #signal: AbortSignal;
  readonly #queue: T[] = [];
  #ended = false;
  #error: unknown;
  #wake: (() => void) | undefined;

  constructor(limit: number, signal: AbortSignal) {
    this.#limit = limit;
    this.#signal = signal;
    signal.addEventListener('abort', () => this.close(), { once: true });
  }

  /** False when it was full or closed: the item is lost, and the caller decides what that means. */
  push(item: T): boolean {
    if (this.#ended || this.#queue.length >= this.#limit) return false;
    this.#queue.push(item);
    this.#wake?.();
    return true;
  }

  close(): void {
    this.#ended = true;
    this.#wake?.();
  }

  fail(error: unknown): void {
    if (this.#ended) return;
    this.#error = error;
    this.close();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for (;;) {
      while (this.#queue.length > 0 && !this.#signal.aborted) yield this.#queue.shift() as T;
      if (this.#signal.aborted) return;
      if (this.#ended) {
        if (this.#error !== undefined) throw this.#error;
        return;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }
}

/**
 * Waits for the first item, so that an error before it is thrown here and not in the middle of an
 * answer that has already begun.
 */
export async function primed<T>(source: AsyncIterable<T>): Promise<AsyncIterable<T>> {
  const iterator = source[Symbol.asyncIterator]();
  const first = await iterator.next();
  return (async function* () {
    try {
      if (first.done === true) return;
      yield first.value;
      for (;;) {
        const next = await iterator.next();
        if (next.done === true) return;
        yield next.value;
      }
    } finally {
      await iterator.return?.();
    }
  })();
}
