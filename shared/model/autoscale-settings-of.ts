import type { AutoscaleMetric, AutoscaleSpec } from '../gen/shoal/v1/autoscale.ts';
import {
  isSource,
  METRICS,
  OPTIONAL_LEAVES,
  PART,
  RULES,
  SCHEDULE,
  SINGLE,
  SOURCES,
  secret,
} from './autoscale-keys.ts';
import {
  amount,
  count,
  duration,
  flag,
  percent,
  policies,
  share,
  type Words,
} from './autoscale-words.ts';

/**
 * The settings that say the spec: what `parseSettings` makes the same spec of, but for names of metrics,
 * which only sources have in words, and get where two of a kind need them.
 */
export function settingsOf(spec: AutoscaleSpec): Record<string, string> {
  const settings: Record<string, string> = {};
  const put = <T>(key: string, words: Words<T>, value: T | undefined): void => {
    if (value !== undefined) settings[key] = words.write(value);
  };
  put('mode', SINGLE.mode, spec.mode || undefined);
  put('min', count, spec.min);
  if (spec.max !== 0) put('max', count, spec.max);
  spec.metrics.forEach((metric, index) => {
    putMetric(put, metric, sourceName(spec.metrics, index));
  });
  if (spec.toleranceUp === spec.toleranceDown) put('tolerance', share, spec.toleranceUp);
  else {
    put('tolerance.up', share, spec.toleranceUp);
    put('tolerance.down', share, spec.toleranceDown);
  }
  for (const way of ['up', 'down'] as const) {
    const rules = spec[way];
    put(`${way}.stabilize`, duration, rules?.stabilizeNs);
    put(`${way}.select`, RULES.select, rules?.select || undefined);
    put(`${way}.policies`, policies, rules?.policies.length ? rules.policies : undefined);
  }
  put('fast.disable', flag, spec.fast?.disabled || undefined);
  put('fast.window', duration, spec.fast?.windowNs);
  put('fast.threshold', percent, spec.fast?.threshold);
  put('warmup', duration, spec.warmupNs);
  put('on-error.after', count, spec.onError?.after);
  put('on-error.replicas', count, spec.onError?.replicas);
  put('cooldown-to-zero', duration, spec.cooldownToZeroNs);
  spec.schedules.forEach((schedule, index) => {
    const at = (leaf: string) => `schedule.${index + 1}.${leaf}`;
    put(at('cron'), SCHEDULE.cron, schedule.cron);
    put(at('for'), duration, schedule.forNs);
    put(at('min'), count, schedule.min);
    put(at('max'), count, schedule.max);
    put(at('timezone'), SCHEDULE.timezone, schedule.timezone || undefined);
  });
  return settings;
}

type Put = <T>(key: string, words: Words<T>, value: T | undefined) => void;

/** In the keys of a source: its own name where that is one, else a number where another of its kind needs telling apart. */
function sourceName(metrics: readonly AutoscaleMetric[], index: number): string {
  const metric = metrics[index];
  if (metric === undefined) return '';
  if (PART.test(metric.name)) return metric.name;
  const isFirst = metrics.findIndex(({ kind }) => kind?.$case === metric.kind?.$case) === index;
  return isFirst ? '' : String(index + 1);
}

/** The key of a metric in words, without the leaf: `cpu`, `redis-list.mails`. */
export function metricKey(metrics: readonly AutoscaleMetric[], index: number): string {
  const kind = kindKey(metrics[index]);
  const name = isSource(kind) ? sourceName(metrics, index) : '';
  return name === '' ? kind : `${kind}.${name}`;
}

function kindKey(metric: AutoscaleMetric | undefined): string {
  return (metric?.kind?.$case ?? '').replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function putMetric(put: Put, metric: AutoscaleMetric, name: string): void {
  const { kind } = metric;
  if (kind === undefined) return;
  switch (kind.$case) {
    case 'cpu':
    case 'memory': {
      const { utilization, average } = kind.value;
      if (utilization !== undefined) put(kind.$case, METRICS[kind.$case], { utilization });
      else if (average !== undefined) put(kind.$case, METRICS[kind.$case], { average });
      return;
    }
    case 'network':
    case 'pids':
    case 'requests':
    case 'connections':
      put(kind.$case, METRICS[kind.$case], kind.value.perReplica);
      return;
    default: {
      const key = kindKey(metric);
      if (!isSource(key)) return;
      const at = (leaf: string) => (name === '' ? `${key}.${leaf}` : `${key}.${name}.${leaf}`);
      const { auth, target, ...own } = kind.value;
      for (const [leaf, words] of Object.entries(SOURCES[key] as object) as [
        string,
        Words<unknown>,
      ][]) {
        const value = (own as Record<string, unknown>)[leaf];
        const isLeftOut = OPTIONAL_LEAVES.has(leaf) && !value;
        if (!isLeftOut) put(at(leaf), words, value);
      }
      put(at('per-replica'), amount, target?.perReplica);
      put(at('activation'), amount, target?.activation || undefined);
      put(at('username'), secret, auth?.username || undefined);
      put(at('password-secret'), secret, auth?.passwordSecret || undefined);
      put(at('token-secret'), secret, auth?.tokenSecret || undefined);
      put(at('ca-secret'), secret, auth?.caSecret || undefined);
      put(at('credentials-secret'), secret, auth?.credentialsSecret || undefined);
      put(at('certificate-secret'), secret, auth?.certificateSecret || undefined);
    }
  }
}
