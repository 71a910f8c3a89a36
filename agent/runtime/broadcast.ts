/**
 * Events to several listeners, each with a bounded line of its own. A listener that falls behind loses what
 * it missed and gets `overflow` in its place: it then has to read everything anew.
 */
export class Broadcast<T> {
  readonly #overflow: T;
  readonly #limit: number;
  readonly #listeners = new Set<Listener<T>>();

  constructor(overflow: T, limit = 4096) {
    this.#overflow = overflow;
    this.#limit = limit;
  }

  emit(event: T): void {
    for (const listener of this.#listeners) {
      if (listener.line.length >= this.#limit) listener.line = [this.#overflow];
      else listener.line.push(event);
      listener.wake();
    }
  }

  /** Everything from the call on (not from the first read on); ends when `signal` aborts. */
  listen(signal: AbortSignal): AsyncIterable<T> {
    const listener: Listener<T> = { line: [], wake: () => undefined };
    this.#listeners.add(listener);
    const stop = () => {
      this.#listeners.delete(listener);
      listener.wake();
    };
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
    const listeners = this.#listeners;
    return {
      async *[Symbol.asyncIterator]() {
        try {
          while (!signal.aborted) {
            const event = listener.line.shift();
            if (event !== undefined) {
              yield event;
              continue;
            }
            await new Promise<void>((resolve) => {
              listener.wake = resolve;
            });
          }
        } finally {
          signal.removeEventListener('abort', stop);
          listeners.delete(listener);
        }
      },
    };
  }
}

type Listener<T> = { line: T[]; wake: () => void };
