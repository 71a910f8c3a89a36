import { METRIC_WINDOW_MS } from '../../../shared/model/autoscale.ts';
import type { OutsideReading } from '../sources.ts';

/** What is older is not believed: five readings at the ordinary pace. */
export const STALE_AFTER_MS = 10_000;

/**
 * Whether a value is worth its mean: that of a queue is what waits now, that of a gauge (a query, a page) jitters.
 */
export type ReadingKind = 'queue' | 'gauge';

/** The last readings of one metric, within the stable window. Times are monotonic. */
export class Readings {
  readonly #kind: ReadingKind;
  #values: { atMs: number; value: number }[] = [];
  #failures = 0;
  #error = '';

  constructor(kind: ReadingKind) {
    this.#kind = kind;
  }

  get failures(): number {
    return this.#failures;
  }

  add(value: number, atMs: number): void {
    this.#failures = 0;
    const kept = this.#kind === 'queue' ? [] : this.#values;
    this.#values = kept.filter((earlier) => atMs - earlier.atMs < METRIC_WINDOW_MS);
    this.#values.push({ atMs, value });
  }

  fail(error: string): void {
    this.#failures += 1;
    this.#error = error;
  }

  /** Undefined while nothing was read. A failure hides the values before it: they may long be wrong. */
  latest(nowMs: number): OutsideReading | undefined {
    if (this.#failures > 0) return { kind: 'error', error: this.#error, failures: this.#failures };
    const last = this.#values.at(-1);
    if (last === undefined) return undefined;
    const ageMs = nowMs - last.atMs;
    if (ageMs > STALE_AFTER_MS) {
      const error = `the last reading is ${Math.round(ageMs / 1_000)} s old`;
      return { kind: 'error', error, failures: 1 };
    }
    const inWindow = this.#values.filter(({ atMs }) => nowMs - atMs < METRIC_WINDOW_MS);
    const sum = inWindow.reduce((total, { value }) => total + value, 0);
    return { kind: 'value', value: { stable: sum / inWindow.length, fast: last.value } };
  }
}
