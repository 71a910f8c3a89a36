/**
 * What one metric alone asks for, in HPA v2's way: the ratio of load and target over the tasks that were
 * measured, then again with tasks filled in that were not, so that what is unknown never makes a
 * change larger.
 */

/** Counts beyond it are as good as it. */
const MOST_REPLICAS = 2 ** 31 - 1;

/** Sums of decimal fractions are off by about 1e-15 of them; no operator means a difference below this. */
const ROUNDING = 1e-9;

export type Tolerance = Readonly<{ up: number; down: number }>;

export type Proposal = Readonly<{
  /** Of load and target as it decided, tasks filled in. */
  ratio: number;
  replicas: number;
}>;

/** Tasks of one metric and window, sorted as HPA sorts pods. */
export type Sampled = Readonly<{
  /** Of the counted tasks. */
  mean: number;
  counted: number;
  /** Ready for long enough, and without a sample. */
  missing: number;
  /** Starting, without a place, or too young to be believed. */
  notReady: number;
}>;

export type TaskTargets = Readonly<{
  target: number;
  /** What a task that was not measured counts as where that makes a decrease smaller. */
  missingLoad: number;
}>;

export function ceil(value: number): number {
  // At least 0: the ceiling of what is just below it is -0.
  return Math.max(0, Math.min(Math.ceil(value - ROUNDING), MOST_REPLICAS));
}

export function floor(value: number): number {
  return Math.floor(value + ROUNDING);
}

export function withinTolerance(ratio: number, tolerance: Tolerance): boolean {
  return ratio >= 1 - tolerance.down - ROUNDING && ratio <= 1 + tolerance.up + ROUNDING;
}

/**
 * Of a mean over tasks (HPA: resource and pods metrics). A missing task counts as loaded when the count
 * would fall and as idle when it would rise; one that is not ready counts as idle when it would
 * rise. Nothing changes when that turns the direction or ends within the tolerance.
 *
 * @param sampled at least one counted task.
 */
export function proposeByTasks(
  sampled: Sampled,
  { target, missingLoad }: TaskTargets,
  replicas: number,
  tolerance: Tolerance,
): Proposal {
  const { mean, counted, missing, notReady } = sampled;
  const seen = mean / target;
  const idle = seen > 1 ? missing + notReady : 0;
  const loaded = seen < 1 ? missing : 0;
  const all = counted + idle + loaded;
  const ratio = (mean * counted + missingLoad * loaded) / all / target;
  const keep = { ratio, replicas };
  if (withinTolerance(ratio, tolerance)) return keep;
  if ((seen < 1 && ratio > 1) || (seen > 1 && ratio < 1)) return keep;
  const wanted = ceil(ratio * all);
  const against = ratio < 1 ? wanted > replicas : wanted < replicas;
  // Only what was filled in can speak against the direction; without it HPA takes the count as it is.
  if (against && idle + loaded > 0) return keep;
  return { ratio, replicas: wanted };
}

/** Of a total outside the cluster, so much of it per replica (HPA: external metrics by average value). */
export function proposeByTotal(
  total: number,
  perReplica: number,
  replicas: number,
  tolerance: Tolerance,
): Proposal {
  const ratio = replicas === 0 ? (total > 0 ? Infinity : 1) : total / (perReplica * replicas);
  if (withinTolerance(ratio, tolerance)) return { ratio, replicas };
  return { ratio, replicas: ceil(total / perReplica) };
}
