import { parseDuration } from './duration.ts';

/**
 * Label of a service: how long its tasks go on, once no host sends them new connections, before they get their stop
 * signal. For clients that keep connections open, or take long over a request. Docker's API has no field for it.
 */
export const DRAIN_DELAY_LABEL = 'shoal.drain-delay';

/** An hour: whoever means more means a grace period of the process itself. */
const MOST_MS = 3_600_000;

/** Milliseconds; 0 without the label, undefined when its value is no duration up to an hour. */
export function drainDelayMs(labels: Readonly<Record<string, string>>): number | undefined {
  const raw = labels[DRAIN_DELAY_LABEL];
  if (raw === undefined) return 0;
  const delayMs = parseDuration(raw);
  return delayMs === undefined || delayMs > MOST_MS ? undefined : delayMs;
}
