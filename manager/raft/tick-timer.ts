import type { Clock, Timer } from '../../shared/clock.ts';

/**
 * A tick this much later than it should be, as a part of a tick: a lease counts ticks, and has a tick
 * to spare for each of phase and drift. Later than that, it is not relied on.
 */
const LATE_TICK = 0.25;

export type TickEvents = Readonly<{
  tick: () => void;
  /** The process stood still, or its thread was busy: time went by that no tick counted. */
  stalled: () => void;
}>;

/** Raft's time on a real clock: ticks, and the news that one is late. */
export class TickTimer {
  readonly #clock: Clock;
  readonly #tickMs: number;
  readonly #events: TickEvents;
  #timer: Timer | undefined;
  #nextMs = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, tickMs: number, events: TickEvents) {
    this.#clock = clock;
    this.#tickMs = tickMs;
    this.#events = events;
  }

  start(): void {
    this.#arm(this.#clock.monotonicMs());
  }

  stop(): void {
    this.#timer?.cancel();
  }

  /** Before anything that came in is looked at: it may be a read, after a pause that no tick counted. */
  noteStall(): void {
    const lateMs = this.#clock.monotonicMs() - this.#nextMs;
    if (lateMs > this.#tickMs * LATE_TICK) this.#events.stalled();
  }

  #arm(lastMs: number): void {
    const nextMs = lastMs + this.#tickMs;
    this.#nextMs = nextMs;
    this.#timer = this.#clock.after(Math.max(0, nextMs - this.#clock.monotonicMs()), () => {
      this.noteStall();
      const nowMs = this.#clock.monotonicMs();
      // On a grid, so that ticks do not drift; but after a stall the missed ones are not made up for:
      // time in which nothing was received must not count as silence of others.
      this.#arm(nowMs - nextMs < this.#tickMs ? nextMs : nowMs);
      this.#events.tick();
    });
  }
}
