import type { Clock, Timer } from '../../shared/clock.ts';

/** Wall time at which every simulation starts: 2026-01-01T00:00:00Z. */
const EPOCH_MS = 1_767_225_600_000;

type Event = { at: number; order: number; fn: (() => void) | undefined };

/**
 * Time that moves only from event to event. Events of the same instant run in the order they were
 * asked for, so a run depends on nothing but what is scheduled.
 */
export class VirtualClock implements Clock {
  #nowMs = 0;
  #order = 0;
  readonly #mostEvents: number;
  /** A binary heap, earliest first. */
  readonly #heap: Event[] = [];

  /** A run that asks for more than `mostEvents` is going round in circles: it is ended by a throw. */
  constructor(mostEvents: number = Number.POSITIVE_INFINITY) {
    this.#mostEvents = mostEvents;
  }

  now(): number {
    return EPOCH_MS + this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, fn: () => void): Timer {
    const event: Event = { at: this.#nowMs + Math.max(0, delayMs), order: this.#order++, fn };
    this.#push(event);
    return {
      cancel: () => {
        event.fn = undefined;
      },
    };
  }

  /** Events asked for so far. */
  get count(): number {
    return this.#order;
  }

  /** As `after`, for what is never taken back. */
  later(delayMs: number, fn: () => void): void {
    this.#push({ at: this.#nowMs + Math.max(0, delayMs), order: this.#order++, fn });
  }

  /** Runs the next event; false when there is none up to `untilMs`. */
  step(untilMs: number = Number.POSITIVE_INFINITY): boolean {
    for (;;) {
      const next = this.#heap[0];
      if (next === undefined || next.at > untilMs) return false;
      this.#pop();
      if (next.fn === undefined) continue;
      this.#nowMs = next.at;
      next.fn();
      return true;
    }
  }

  /** Runs everything that is due within `durationMs`, and leaves the time at its end. */
  runFor(durationMs: number): void {
    const end = this.#nowMs + durationMs;
    while (this.step(end));
    this.#nowMs = end;
  }

  /** Runs until `done` holds; false when it does not within `limitMs`. */
  runUntil(done: () => boolean, limitMs: number): boolean {
    const end = this.#nowMs + limitMs;
    while (!done()) {
      if (!this.step(end)) {
        this.#nowMs = end;
        return done();
      }
    }
    return true;
  }

  #push(event: Event): void {
    if (this.#order > this.#mostEvents) {
      throw new Error(`no end after ${this.#mostEvents} events: messages chase each other`);
    }
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(event, heap[parent] as Event)) break;
      heap[at] = heap[parent] as Event;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      const right = child + 1;
      if (right < heap.length && before(heap[right] as Event, heap[child] as Event)) child = right;
      if (!before(heap[child] as Event, last)) break;
      heap[at] = heap[child] as Event;
      at = child;
    }
    heap[at] = last;
  }
}

function before(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
