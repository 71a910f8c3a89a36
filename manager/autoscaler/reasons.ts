/**
 * Why a decision is what it is: the `reason` of each record, for programs. Sentences are in messages.ts.
 * A code never changes its meaning; a new meaning gets a new code.
 */
export const SCALE_REASONS = [
  /** Mode `off`. */
  'off',
  /** Set to none by hand while the least is above none: the operator's way to say "not now". */
  'disabled-at-zero',
  /** An operator set another count a short while ago. */
  'scaled-by-hand',
  'above-max',
  'below-min',
  /** At none: a connection waits. */
  'woken',
  /** At none: a value is above its activation. */
  'activated',
  /** At none, and nothing asks for more. */
  'idle',
  /** The last sign of load is longer ago than the cooldown. */
  'to-zero',
  /** One task is left, and the cooldown is not over. */
  'cooling-down',
  'above-target',
  'below-target',
  /** Raised by the fast window. */
  'fast-window',
  /** Not lowered while the fast window is open. */
  'fast-window-holds',
  'within-tolerance',
  /** Outside the tolerance, but no smaller and no larger count meets the target better. */
  'as-needed',
  /** Outside the tolerance, and within it or on the other side once missing and young tasks are counted. */
  'not-ready',
  'stabilized-up',
  'stabilized-down',
  /** Rate policies allow no change now. */
  'rate-limited',
  'at-max',
  'at-min',
  /** A metric that fails has a fallback. */
  'fallback',
  /** No metric could be read, or one that could not be read forbids to lower the count. */
  'metric-failed',
  /** Tasks have not been measured (yet). */
  'no-samples',
  /** A rolling update is under way: not lowered. */
  'updating',
  /** Tasks wait for room: not raised. */
  'unplaced',
] as const;

export type ScaleReason = (typeof SCALE_REASONS)[number];
