/**
 * One piece of work for all who want the same thing at the same time. It is given up when the last of them
 * has lost interest.
 */
export class SharedWork<T> {
  readonly #running = new Map<
    string,
    { result: Promise<T>; wanted: number; giveUp: AbortController }
  >();

  async run(
    key: string,
    work: (signal: AbortSignal) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    signal.throwIfAborted();
    const running = this.#running.get(key) ?? this.#begin(key, work);
    running.wanted += 1;
    const left = Promise.withResolvers<never>();
    const leave = () => left.reject(signal.reason);
    signal.addEventListener('abort', leave, { once: true });
    try {
      return await Promise.race([running.result, left.promise]);
    } finally {
      signal.removeEventListener('abort', leave);
      running.wanted -= 1;
      if (running.wanted === 0) {
        // Whoever comes now begins anew instead of joining what is being given up.
        if (this.#running.get(key) === running) this.#running.delete(key);
        running.giveUp.abort(signal.reason);
      }
    }
  }

  #begin(key: string, work: (signal: AbortSignal) => Promise<T>) {
    const giveUp = new AbortController();
    const running = { result: work(giveUp.signal), wanted: 0, giveUp };
    this.#running.set(key, running);
    running.result
      .catch(() => undefined)
      .finally(() => {
        if (this.#running.get(key) === running) this.#running.delete(key);
      });
    return running;
  }
}
