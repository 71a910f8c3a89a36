import type { AutoscaleSchedule } from '../../shared/gen/shoal/v1/autoscale.ts';
import type { FilledAutoscaleSpec } from '../../shared/model/autoscale.ts';
import { nsToMs } from '../../shared/model/units.ts';
import { inForceSince } from './schedule.ts';

export type Limits = Readonly<{
  min: number;
  /** Never below `min`. */
  max: number;
  /** Whose limits these are, and when they end; undefined: the spec's. */
  schedule: Readonly<{ cron: string; untilMs: number }> | undefined;
}>;

/**
 * What the count must be within now. A schedule in force stands for the spec's limits, of several the
 * one with the largest least (of equals the first).
 */
export function limitsAt(rules: FilledAutoscaleSpec, nowMs: number): Limits {
  let chosen: { schedule: AutoscaleSchedule; sinceMs: number } | undefined;
  for (const schedule of rules.schedules) {
    const sinceMs = inForceSince(schedule, nowMs);
    if (sinceMs === undefined) continue;
    if (chosen === undefined || schedule.min > chosen.schedule.min) chosen = { schedule, sinceMs };
  }
  if (chosen === undefined) {
    return { min: rules.min, max: Math.max(rules.min, rules.max), schedule: undefined };
  }
  const { schedule, sinceMs } = chosen;
  return {
    min: schedule.min,
    max: Math.max(schedule.min, schedule.max ?? rules.max),
    schedule: { cron: schedule.cron, untilMs: sinceMs + nsToMs(schedule.forNs) },
  };
}
