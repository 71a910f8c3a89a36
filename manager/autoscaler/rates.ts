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
  const allowed = limitsOf(rules, replicas, events, nowMs, 'up');
  return Math.max(replicas, rules.select === 'min' ? Math.min(...allowed) : Math.max(...allowed));
}

/** The fewest tasks that the policies allow now, never more than there are and never fewer than none. */
export function downLimit(
  rules: RateRules,
  replicas: number,
  events: readonly ScaleEvent[],
  nowMs: number,
): number {
  const allowed = limitsOf(rules, replicas, events, nowMs, 'down');
  const limit = rules.select === 'min' ? Math.max(...allowed) : Math.min(...allowed);
  return Math.max(0, Math.min(replicas, limit));
}

/** Of each policy; the present count alone where there is no way. */
function limitsOf(
  { select, policies }: RateRules,
  replicas: number,
  events: readonly ScaleEvent[],
  nowMs: number,
  way: 'up' | 'down',
): number[] {
  if (select === 'disabled' || policies.length === 0) return [replicas];
  return policies.map((policy) => {
    const sinceMs = nowMs - nsToMs(policy.periodNs);
    const start = Math.max(0, replicas - changeSince(sinceMs, events, way));
    const most = policy.change?.value ?? 0;
    const change = policy.change?.$case === 'share' ? start * most : most;
    return way === 'up' ? ceil(start + change) : floor(start - change);
  });
}

/**
 * What events that were made one have in a period they only partly lie in is not known any more. Those that
 * take of what is allowed count until the last of them is past, those that add to it until the first is.
 */
function changeSince(sinceMs: number, events: readonly ScaleEvent[], way: 'up' | 'down'): number {
  let sum = 0;
  for (const { atMs, change, firstMs = atMs } of events) {
    const same = way === 'up' ? change > 0 : change < 0;
    if ((same ? atMs : firstMs) > sinceMs) sum += change;
  }
  return sum;
}
