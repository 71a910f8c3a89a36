import { backoffMs } from '../../../shared/backoff.ts';
import type { Random } from '../../../shared/random.ts';

/** From one reading to the next. The decision comes once a second; half as many questions do a server no harm. */
export const READ_EVERY_MS = 2_000;
/** A source that has not answered by then has failed. */
export const READ_WITHIN_MS = 2_000;
/** The longest pause between tries of a source that fails. */
export const RETRY_AT_MOST_MS = 30_000;

/**
 * The pause after a reading, milliseconds. Failures in a row double it, and chance (between half of it and all)
 * keeps those apart that failed together.
 */
export function pauseAfter(failures: number, random: Random): number {
  if (failures === 0) return READ_EVERY_MS;
  return backoffMs(failures, { firstMs: READ_EVERY_MS, lastMs: RETRY_AT_MOST_MS }, random);
}

/** Before the first reading: so that all of a new leader's metrics do not come in the same millisecond. */
export function firstPause(random: Random): number {
  return Math.floor((random.next() * READ_EVERY_MS) / 8);
}
