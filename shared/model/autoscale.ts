import type {
  AutoscaleMetric,
  AutoscaleSpec,
  ErrorPolicy,
  FastWindow,
  ScalingPolicy,
  ScalingRules,
} from '../gen/shoal/v1/autoscale.ts';
import { msToNs } from './units.ts';

/**
 * What a service that is scaled by its load gets where its spec says nothing, and the lengths of time
 * that agents, the leader's rings and the decision must agree on. HPA below is Kubernetes'
 * HorizontalPodAutoscaler v2 with its controller's defaults; where we differ from it, the figures are
 * those of `npm run sim:autoscale`, which plays ten traces through both.
 */

/** An agent takes one sample of each task in so many milliseconds. */
export const SAMPLE_INTERVAL_MS = 1_000;

/** The leader decides about each service once in so many milliseconds (HPA: 15 s). */
export const DECISION_INTERVAL_MS = 1_000;

/**
 * The stable window: ordinary decisions see means over so many milliseconds that end now. HPA sees
 * 15 s means that are up to 15 s old.
 */
export const METRIC_WINDOW_MS = 15_000;

/** The fast window unless the spec says otherwise, milliseconds. Two samples are the least that is a trend. */
export const FAST_WINDOW_MS = 2_000;

/** The longest fast window that a spec may ask for, milliseconds: shorter than the stable one. */
export const FAST_WINDOW_MAX_MS = METRIC_WINDOW_MS - SAMPLE_INTERVAL_MS;

/** How long a count that an operator set is left alone, milliseconds. Longer: mode off, or min = max. */
export const BY_HAND_HOLD_MS = 600_000;

/** Share of the reservation when a service names no metric (HPA: 0.8). */
export const DEFAULT_CPU_UTILIZATION = 0.7;

const DEFAULT_MIN = 1;
/** Either way, as a share of the target (HPA: 0.1). */
const DEFAULT_TOLERANCE = 0.1;
/**
 * Load above so many times the target opens the fast window. Knative has 2, of a signal without a ceiling; CPU
 * that is limited to its reservation cannot exceed 1 / 0.7 = 1.43 times its target.
 */
const DEFAULT_FAST_THRESHOLD = 1.2;
/**
 * Milliseconds after a task became ready (HPA: a whole metric window, 15 s or more). Each doubling of a
 * saturated service waits for it: with 8 s a third more requests were late in the step trace.
 */
const DEFAULT_WARMUP_MS = 5_000;
/** Milliseconds from the last sign of load to the step from one task to none (KEDA: 300 s). */
const DEFAULT_COOLDOWN_TO_ZERO_MS = 300_000;
/** No window upwards, as HPA: what waits is already late. */
const DEFAULT_UP_STABILIZE_MS = 0;
/**
 * Downwards the most that was recommended in so many milliseconds (HPA: 300 s). The fast window brings
 * back within seconds what was taken too early, so waiting longer buys little: in the traces 90 s cost a
 * third to two thirds of HPA's task-seconds with fewer late requests, 120 s more than HPA after a short spike.
 */
const DEFAULT_DOWN_STABILIZE_MS = 90_000;

/** Four tasks or a doubling, whichever is more, in 5 s (HPA: the same in 15 s). */
const DEFAULT_UP_POLICIES: readonly ScalingPolicy[] = [
  { change: { $case: 'tasks', value: 4 }, periodNs: msToNs(5_000) },
  { change: { $case: 'share', value: 1 }, periodNs: msToNs(5_000) },
];

/** Everything above the most recommended may go at once (HPA: the same). */
const DEFAULT_DOWN_POLICIES: readonly ScalingPolicy[] = [
  { change: { $case: 'share', value: 1 }, periodNs: msToNs(15_000) },
];

type Filled<T> = { [K in keyof T]-?: Exclude<T[K], undefined> };

/** A spec in its own shape and units with every optional field filled in. */
export type FilledAutoscaleSpec = Readonly<
  Omit<Filled<AutoscaleSpec>, 'up' | 'down' | 'fast'> & {
    /** active, recommend or off. */
    mode: string;
    up: Filled<ScalingRules>;
    down: Filled<ScalingRules>;
    fast: Filled<FastWindow>;
    onError: ErrorPolicy;
  }
>;

/** The spec as it is in force: absent fields, an empty mode, no metric and no policy have their defaults. */
export function withAutoscaleDefaults(spec: AutoscaleSpec): FilledAutoscaleSpec {
  return {
    mode: spec.mode === '' ? 'active' : spec.mode,
    min: spec.min ?? DEFAULT_MIN,
    max: spec.max,
    metrics: spec.metrics.length === 0 ? [DEFAULT_METRIC] : spec.metrics,
    toleranceUp: spec.toleranceUp ?? DEFAULT_TOLERANCE,
    toleranceDown: spec.toleranceDown ?? DEFAULT_TOLERANCE,
    up: withRuleDefaults(spec.up, DEFAULT_UP_STABILIZE_MS, DEFAULT_UP_POLICIES),
    down: withRuleDefaults(spec.down, DEFAULT_DOWN_STABILIZE_MS, DEFAULT_DOWN_POLICIES),
    fast: {
      disabled: spec.fast?.disabled ?? false,
      windowNs: spec.fast?.windowNs ?? msToNs(FAST_WINDOW_MS),
      threshold: spec.fast?.threshold ?? DEFAULT_FAST_THRESHOLD,
    },
    warmupNs: spec.warmupNs ?? msToNs(DEFAULT_WARMUP_MS),
    onError: spec.onError ?? { after: 0, replicas: 0 },
    cooldownToZeroNs: spec.cooldownToZeroNs ?? msToNs(DEFAULT_COOLDOWN_TO_ZERO_MS),
    schedules: spec.schedules,
  };
}

const DEFAULT_METRIC: AutoscaleMetric = {
  name: '',
  kind: { $case: 'cpu', value: { utilization: DEFAULT_CPU_UTILIZATION } },
};

function withRuleDefaults(
  rules: ScalingRules | undefined,
  stabilizeMs: number,
  policies: readonly ScalingPolicy[],
): Filled<ScalingRules> {
  return {
    stabilizeNs: rules?.stabilizeNs ?? msToNs(stabilizeMs),
    select: rules === undefined || rules.select === '' ? 'max' : rules.select,
    policies: rules === undefined || rules.policies.length === 0 ? [...policies] : rules.policies,
  };
}

/** What records and messages call a metric: its name, else its kind with the key that tells it from others of the kind. */
export function metricName(metric: AutoscaleMetric): string {
  if (metric.name !== '') return metric.name;
  const kind = metric.kind;
  if (kind === undefined) return 'metric';
  switch (kind.$case) {
    case 'redisList':
      return `redis-list ${kind.value.key}`;
    case 'redisStream':
      return `redis-stream ${kind.value.stream}`;
    case 'nats':
      return `nats ${kind.value.stream}/${kind.value.consumer}`;
    default:
      return kind.$case;
  }
}
