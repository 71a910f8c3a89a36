/** Wakes one waiting loop; rings that nobody hears are kept as one. */
export class Bell {
  #isRung = false;
  #wake: (() => void) | undefined;

  ring(): void {
    this.#isRung = true;
    this.#wake?.();
  }

  /** Forgets a ring that nobody heard: what it was about is being done. */
  hush(): void {
    this.#isRung = false;
  }

  /** Resolves at the next ring, or at once after one that was not heard, or when the signal aborts. */
  heard(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        signal?.removeEventListener('abort', done);
        this.#wake = undefined;
        this.#isRung = false;
        resolve();
      };
      if (this.#isRung || signal?.aborted) {
        done();
        return;
      }
      this.#wake = done;
      signal?.addEventListener('abort', done, { once: true });
    });
  }
}
