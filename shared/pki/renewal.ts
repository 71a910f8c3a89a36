import type { Random } from '../random.ts';

/** Swarm's: early enough for two weeks of failures on a 90 day certificate, spread over a third of it. */
const EARLIEST = 0.5;
const LATEST = 0.8;

/**
 * When a node should ask for its next certificate: at a random point in 50 to 80 % of the lifetime, so
 * that nodes which joined together do not renew together. Wall time, milliseconds; it may be past.
 */
export function renewAt(
  certificate: Readonly<{ notBeforeMs: number; notAfterMs: number }>,
  random: Random,
): number {
  const lifetimeMs = certificate.notAfterMs - certificate.notBeforeMs;
  return certificate.notBeforeMs + lifetimeMs * (EARLIEST + (LATEST - EARLIEST) * random.next());
}

const RETRY_FIRST_MS = 5_000;
const RETRY_LAST_MS = 3_600_000;

/** Pause before the next try after `failures` in a row (from 1): 5 s doubling to an hour, with jitter. */
export function renewalRetryMs(failures: number, random: Random): number {
  const spanMs = Math.min(RETRY_LAST_MS, RETRY_FIRST_MS * 2 ** Math.min(failures - 1, 20));
  return spanMs * (0.5 + random.next() / 2);
}
