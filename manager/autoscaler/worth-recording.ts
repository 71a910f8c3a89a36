import type { ScaleRecord } from '../../shared/gen/shoal/v1/autoscale.ts';

/** Two reasons for no change that take turns are told at most so often, milliseconds. */
const CALM_MS = 60_000;
const OTHER_MS = 10_000;

/** Noise in the load makes these take turns; none of them asks anything of an operator. */
const CALM: ReadonlySet<string> = new Set([
  'within-tolerance',
  'as-needed',
  'not-ready',
  'stabilized-up',
  'stabilized-down',
  'fast-window-holds',
  'rate-limited',
  'cooling-down',
  'at-min',
  'at-max',
]);

/** Whether two records say the same: the same change or none, for the same reason. */
function sameReason(a: ScaleRecord, b: ScaleRecord): boolean {
  return a.reason === b.reason && a.held === b.held && a.to - a.from === b.to - b.from;
}

/**
 * Whether a record is worth keeping after `last`, the one kept last: each change is, and another reason
 * for no change is unless it comes so soon that the log would tell of nothing else.
 */
export function worthRecording(last: ScaleRecord | undefined, next: ScaleRecord): boolean {
  if (last === undefined) return true;
  if (!next.held && next.to !== next.from) return true;
  if (sameReason(last, next)) return false;
  const calm = CALM.has(last.reason) && CALM.has(next.reason);
  const sinceMs = next.atMs - last.atMs;
  return sinceMs >= (calm ? CALM_MS : OTHER_MS) || sinceMs < 0; // the clock stepped back
}
