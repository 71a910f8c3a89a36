import type { AutoscaleMetric, MetricReading } from '../../shared/gen/shoal/v1/autoscale.ts';
import { type FilledAutoscaleSpec, metricName } from '../../shared/model/autoscale.ts';
import { nsToMs } from '../../shared/model/units.ts';
import { tasks, type Unit } from './figures.ts';
import {
  floor,
  type Proposal,
  proposeByTasks,
  proposeByTotal,
  type Sampled,
  type Tolerance,
} from './ratio.ts';
import type { DecisionInput, MetricInput, TaskView, Windowed } from './types.ts';

/** One metric in one decision: what goes into the record, and what the decision needs beside it. */
export type Read = Readonly<{
  reading: MetricReading;
  unit: Unit;
  /** `unmeasured`: there are no samples (yet); `failed`: it could not be read. */
  state: 'ok' | 'unmeasured' | 'failed';
  stable: Proposal | undefined;
  fast: Proposal | undefined;
  /** Whether there is load at all; undefined: the metric cannot tell, now or ever. */
  active: boolean | undefined;
  /** Whether a metric of its kind can tell. */
  tellsActivity: boolean;
  /** What the error policy asks for; undefined: nothing. */
  fallback: number | undefined;
}>;

/** What a metric's spec comes down to. */
type Rule =
  | Readonly<{
      kind: 'tasks';
      target: number;
      /** The value of a whole reservation, of what utilization is a share; undefined: the value itself counts. */
      request: number | undefined;
      unit: Unit;
      /** The beginning of a task's life says nothing about its load. */
      warmsUp: boolean;
      tellsActivity: boolean;
    }>
  | Readonly<{ kind: 'value'; target: number; activation: number }>
  | Readonly<{ kind: 'broken'; target: number; error: string }>;

export function readMetrics(
  rules: FilledAutoscaleSpec,
  input: DecisionInput,
  nowMs: number,
): Read[] {
  return rules.metrics.map((metric, index) => {
    const rule = ruleOf(metric, input);
    const name = metricName(metric);
    const given: MetricInput = input.metrics[index] ?? {
      kind: 'error',
      error: 'it was not read',
      failures: 0,
    };
    if (rule.kind === 'broken') return failed(name, rule, rule.error, undefined);
    if (!(rule.target > 0)) return failed(name, rule, 'its target is not above 0', undefined);
    if (given.kind === 'error') {
      return failed(name, rule, given.error, fallbackOf(rules, given.failures));
    }
    if (given.kind !== rule.kind) {
      return failed(name, rule, `it was read by ${given.kind}, not by ${rule.kind}`, undefined);
    }
    if (given.kind === 'value' && rule.kind === 'value') {
      return readValue(name, rule, given.value, input.replicas, toleranceOf(rules));
    }
    if (given.kind === 'tasks' && rule.kind === 'tasks') {
      return readTasks(name, rule, given.loads, rules, input, nowMs);
    }
    return failed(name, rule, 'it was not read', undefined);
  });
}

function ruleOf(metric: AutoscaleMetric, { request }: DecisionInput): Rule {
  const kind = metric.kind;
  if (kind === undefined) return { kind: 'broken', target: 0, error: 'its kind is not known' };
  switch (kind.$case) {
    case 'cpu':
    case 'memory': {
      const { utilization, average } = kind.value;
      const cpu = kind.$case === 'cpu';
      const rule = { kind: 'tasks', warmsUp: cpu, tellsActivity: false } as const;
      if (utilization === undefined) {
        return { ...rule, target: average ?? 0, request: undefined, unit: cpu ? 'cores' : 'bytes' };
      }
      const whole = cpu ? request.cores : request.memoryBytes;
      if (whole !== undefined && whole > 0) {
        return { ...rule, target: utilization, request: whole, unit: 'percent' };
      }
      const error = cpu
        ? 'tasks reserve no CPU and have no limit: reserve some, or give the target in cores'
        : 'tasks reserve no memory and have no limit: reserve some, or give the target in bytes';
      return { kind: 'broken', target: utilization, error };
    }
    case 'network':
      return byTask(kind.value.perReplica, 'bytes/s', false);
    case 'pids':
      return byTask(kind.value.perReplica, '', false);
    case 'requests':
    case 'connections':
      return byTask(kind.value.perReplica, '/s', true);
    default: {
      const { perReplica = 0, activation = 0 } = kind.value.target ?? {};
      return { kind: 'value', target: perReplica, activation };
    }
  }
}

function byTask(target: number, unit: Unit, tellsActivity: boolean): Rule {
  return { kind: 'tasks', target, request: undefined, unit, warmsUp: false, tellsActivity };
}

function readValue(
  name: string,
  rule: Rule & { kind: 'value' },
  value: Windowed,
  replicas: number,
  tolerance: Tolerance,
): Read {
  if (!isLoad(value.stable)) return unmeasured(name, rule, 'no value yet');
  const stable = proposeByTotal(value.stable, rule.target, replicas, tolerance);
  const fast = isLoad(value.fast)
    ? proposeByTotal(value.fast, rule.target, replicas, tolerance)
    : undefined;
  return {
    reading: {
      name,
      value: value.stable,
      target: rule.target,
      ratio: Number.isFinite(stable.ratio) ? stable.ratio : undefined,
      counted: 0,
      missing: 0,
      notReady: 0,
      proposal: stable.replicas,
      error: '',
      fastValue: value.fast,
    },
    unit: '',
    state: 'ok',
    stable,
    fast,
    // A message that has just come is load, though it is little in the mean of the stable window.
    active: value.stable > rule.activation || (value.fast ?? 0) > rule.activation,
    tellsActivity: true,
    fallback: undefined,
  };
}

function readTasks(
  name: string,
  rule: Rule & { kind: 'tasks' },
  loads: readonly Windowed[],
  rules: FilledAutoscaleSpec,
  input: DecisionInput,
  nowMs: number,
): Read {
  const warmupMs = rule.warmsUp ? nsToMs(rules.warmupNs) : 0;
  const believed = (task: TaskView) => {
    if (task.phase !== 'ready') return false;
    const readyForMs = nowMs - task.readySinceMs;
    // A clock that stepped back would make all tasks young until it is where it was.
    return readyForMs >= warmupMs || readyForMs < 0;
  };
  const seen = sample(input.tasks, believed, loads, 'stable');
  const counts = { counted: seen.counted, missing: seen.missing, notReady: seen.notReady };
  if (seen.counted === 0) {
    const error =
      seen.missing > 0 ? `no samples of ${tasks(seen.missing)}` : noneReady(input.tasks);
    return {
      ...unmeasured(name, rule, error),
      reading: { ...emptyReading(name, rule.target), ...counts, error },
      // Nobody is at a task that is not ready: who wants it is held, and told by `knocks`. Else one that can never start
      // would be tried for ever because of one client that gave up.
      active: rule.tellsActivity && isNoneReady(input.tasks) ? false : undefined,
    };
  }
  const tolerance = toleranceOf(rules);
  // HPA counts thousandths without the rest, but whole percents of a reservation: 33 tasks at 2.4 % would become 2 % and
  // so one task at 80 %, which becomes two again.
  const rounded = (mean: number) => floor((mean * 1000) / (rule.request ?? 1)) / 1000;
  const missingLoad = rule.request === undefined ? rule.target : Math.max(1, rule.target);
  const propose = (sampled: Sampled) =>
    proposeByTasks(
      { ...sampled, mean: rounded(sampled.mean) },
      { target: rule.target, missingLoad },
      input.replicas,
      tolerance,
    );
  const stable = propose(seen);
  const quick = rules.fast.disabled ? undefined : sample(input.tasks, believed, loads, 'fast');
  const fast = quick !== undefined && quick.counted > 0 ? propose(quick) : undefined;
  return {
    reading: {
      name,
      value: rounded(seen.mean),
      target: rule.target,
      ratio: stable.ratio,
      ...counts,
      proposal: stable.replicas,
      error: '',
      fastValue: fast === undefined || quick === undefined ? undefined : rounded(quick.mean),
    },
    unit: rule.unit,
    state: 'ok',
    stable,
    fast,
    // One that was not measured may be the one that clients are at.
    active: !rule.tellsActivity
      ? undefined
      : seen.mean > 0 || (quick?.mean ?? 0) > 0 || (seen.missing > 0 ? undefined : false),
    tellsActivity: rule.tellsActivity,
    fallback: undefined,
  };
}

export function isNoneReady(views: readonly TaskView[]): boolean {
  return views.length > 0 && views.every(({ phase }) => phase !== 'ready');
}

/** Why there is nothing to measure, where no task is ready for long enough. */
function noneReady(views: readonly TaskView[]): string {
  if (views.length === 0) return 'there is no task';
  if (!isNoneReady(views)) return 'no task has been ready long enough';
  const unplaced = views.filter(({ phase }) => phase === 'unplaced').length;
  const starting = views.length - unplaced;
  return [
    ...(unplaced === 0 ? [] : [`${tasks(unplaced)} without room on any node`]),
    ...(starting === 0 ? [] : [`${tasks(starting)} not ready yet`]),
  ].join(', ');
}

function sample(
  views: readonly TaskView[],
  believed: (task: TaskView) => boolean,
  loads: readonly Windowed[],
  window: keyof Windowed,
): Sampled {
  let sum = 0;
  let counted = 0;
  let missing = 0;
  let notReady = 0;
  views.forEach((view, index) => {
    const value = loads[index]?.[window];
    if (!believed(view)) notReady++;
    else if (isLoad(value)) {
      sum += value;
      counted++;
    } else missing++;
  });
  return { mean: counted === 0 ? 0 : sum / counted, counted, missing, notReady };
}

function failed(name: string, rule: Rule, error: string, fallback: number | undefined): Read {
  return { ...unmeasured(name, rule, error), state: 'failed', fallback };
}

function unmeasured(name: string, rule: Rule, error: string): Read {
  return {
    reading: { ...emptyReading(name, rule.target), error },
    unit: rule.kind === 'tasks' ? rule.unit : '',
    state: 'unmeasured',
    stable: undefined,
    fast: undefined,
    active: undefined,
    tellsActivity: rule.kind === 'value' || (rule.kind === 'tasks' && rule.tellsActivity),
    fallback: undefined,
  };
}

function emptyReading(name: string, target: number): MetricReading {
  return { name, target, counted: 0, missing: 0, notReady: 0, error: '' };
}

function fallbackOf(rules: FilledAutoscaleSpec, failures: number): number | undefined {
  const { after, replicas } = rules.onError;
  return after > 0 && failures >= after ? replicas : undefined;
}

function toleranceOf(rules: FilledAutoscaleSpec): Tolerance {
  return { up: rules.toleranceUp, down: rules.toleranceDown };
}

/** No load is negative or infinite: such a number is a broken reading. */
function isLoad(value: number | undefined): value is number {
  return value !== undefined && value >= 0 && value < Infinity;
}
