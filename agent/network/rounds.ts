import type { Clock, Timer } from '../../shared/clock.ts';

/** Work that is asked for from many sides and done one round at a time; wishes that come together share one. */
export class Rounds {
  readonly #clock: Clock;
  readonly #work: () => Promise<void>;
  #timer: { timer: Timer; dueMs: number } | undefined;
  #running: Promise<void> | undefined;
  #again: number | undefined;

  /** `work` must not reject. */
  constructor(clock: Clock, work: () => Promise<void>) {
    this.#clock = clock;
    this.#work = work;
  }

  /** A round that begins after this call, in at most `delayMs` or right after the one that runs. */
  ask(delayMs: number): void {
    if (this.#running !== undefined) {
      this.#again = Math.min(this.#again ?? delayMs, delayMs);
      return;
    }
    const dueMs = this.#clock.monotonicMs() + delayMs;
    if (this.#timer !== undefined) {
      if (this.#timer.dueMs <= dueMs) return;
      this.#timer.timer.cancel();
    }
    const timer = this.#clock.after(delayMs, () => {
      this.#timer = undefined;
      this.#running = this.#work().finally(() => {
        this.#running = undefined;
        const again = this.#again;
        this.#again = undefined;
        if (again !== undefined) this.ask(again);
      });
    });
    this.#timer = { timer, dueMs };
  }

  /** Waits for the round that runs; those that were asked for are not made. */
  async end(): Promise<void> {
    this.#timer?.timer.cancel();
    this.#timer = undefined;
    this.#again = undefined;
    await this.#running;
  }
}
