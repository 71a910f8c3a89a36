import type { ScaleEvent, ScalingPolicy } from '../../shared/gen/shoal/v1/autoscale.ts';
import { nsToMs } from '../../shared/model/units.ts';
import { ceil, floor } from './ratio.ts';

/** The rules of one direction: `select` is max, min or disabled. */
export type RateRules = Readonly<{ select: string; policies: readonly ScalingPolicy[] }>;

/**
 * The most tasks that the policies allow now, never fewer than there are. Each counts from what there
 * was at the beginning of its period: the present count without the changes made in it.
 */
export function upLimit(
  rules: RateRules,
  replicas: number,
  events: readonly ScaleEvent[],
  nowMs: number,
): number {
  if (rules.select === 'disabled' || rules.policies.length === 0) return replicas;
  const allowed = rules.policies.map((policy) => {
    const start = atPeriodStart(policy, replicas, events, nowMs);
    return policy.change?.$case === 'share'
      ? ceil(start * (1 + policy.change.value))
      : start + (policy.change?.value ?? 0);
  });
  const limit = rules.select === 'min' ? Math.min(...allowed) : Math.max(...allowed);
  return Math.max(replicas, limit);
}

/** The fewest tasks that the policies allow now, never more than there are and never fewer than none. */
export function downLimit(
  rules: RateRules,
  replicas: number,
  events: readonly ScaleEvent[],
  nowMs: number,
): number {
  if (rules.select === 'disabled' || rules.policies.length === 0) return replicas;
  const allowed = rules.policies.map((policy) => {
    const start = atPeriodStart(policy, replicas, events, nowMs);
    return policy.change?.$case === 'share'
      ? floor(start * (1 - policy.change.value))
      : start - (policy.change?.value ?? 0);
  });
  const limit = rules.select === 'min' ? Math.max(...allowed) : Math.min(...allowed);
  return Math.max(0, Math.min(replicas, limit));
}

function atPeriodStart(
  policy: ScalingPolicy,
  replicas: number,
  events: readonly ScaleEvent[],
  nowMs: number,
): number {
  const sinceMs = nowMs - nsToMs(policy.periodNs);
  let start = replicas;
  for (const event of events) if (event.atMs > sinceMs) start -= event.change;
  return Math.max(0, start);
}
