/** A timer that has not fired yet. Cancelling one that fired is a no-op. */
export interface Timer {
  cancel(): void;
}

/**
 * Time as an argument. `now` is wall time for what people read (milliseconds since 1970);
 * `monotonicMs` is for intervals and never goes back.
 */
export interface Clock {
  now(): number;
  monotonicMs(): number;
  /** Calls `fn` once, after at least `delayMs`. */
  after(delayMs: number, fn: () => void): Timer;
}

/** Resolves after `delayMs`, or rejects with the signal's reason when it aborts first. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = () => {
      timer.cancel();
      reject(signal?.reason);
    };
    const timer = clock.after(delayMs, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
