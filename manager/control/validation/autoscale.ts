import type {
  AutoscaleSchedule,
  AutoscaleSpec,
  ScalingPolicy,
} from '../../../shared/gen/shoal/v1/autoscale.ts';
import type { ServiceSpec } from '../../../shared/gen/shoal/v1/objects.ts';
import { FAST_WINDOW_MAX_MS, SAMPLE_INTERVAL_MS } from '../../../shared/model/autoscale.ts';
import { parseAutoscaleLabels } from '../../../shared/model/autoscale-labels.ts';
import { msToNs, NS_PER_SECOND } from '../../../shared/model/units.ts';
import { isTimeZone, parseCron } from '../../autoscaler/schedule.ts';
import { invalid } from '../refuse.ts';
import { asPercent, asSeconds, Judged, type Where } from './autoscale-judged.ts';
import { checkMetrics, isReadAtZero } from './autoscale-metrics.ts';
import { MAX_REPLICAS } from './limits.ts';

const HOUR_NS = 3_600 * NS_PER_SECOND;
const DAY_NS = 24 * HOUR_NS;
const MOST_SCHEDULES = 32;
const MOST_POLICIES = 8;
/** The longest that Kubernetes' HPA allows: what was recommended and done is kept for so long. */
const LONGEST_STABILIZE_NS = HOUR_NS;
const LONGEST_PERIOD_NS = HOUR_NS / 2;
const LONGEST_SCHEDULE_NS = 31 * DAY_NS;
const MODES = ['', 'active', 'recommend', 'off'];
const SELECTS = ['', 'max', 'min', 'disabled'];

/**
 * Judges how the service is to be scaled, wherever it says it: in its labels (`labels: autoscale.max ...`)
 * or in its field (`Autoscale.Max ...`). Throws ShoalError `invalid-argument` that names everything wrong.
 */
export function checkAutoscale(spec: ServiceSpec): void {
  const labels = parseAutoscaleLabels(spec.labels);
  if (labels?.ok === false) throw invalid(`labels: ${labels.errors.join('; ')}`);
  if (spec.autoscale !== undefined) judge(spec, spec.autoscale, undefined);
  else if (labels !== undefined) judge(spec, labels.spec, spec.labels);
}

function judge(
  service: ServiceSpec,
  spec: AutoscaleSpec,
  labels: ServiceSpec['labels'] | undefined,
): void {
  if (spec.mode === 'off') return;
  const judged = new Judged(labels);
  checkAll(judged, service, spec);
  if (judged.problems.length > 0) throw invalid(judged.problems.join('; '));
}

function checkAll(judged: Judged, service: ServiceSpec, spec: AutoscaleSpec): void {
  if (service.mode?.$case !== 'replicated') {
    judged.wrong(['', ''], 'needs a replicated service: a global one has a task on each node');
    return;
  }
  judged.word(['Mode', 'mode'], spec.mode, MODES);
  checkRange(judged, spec);
  checkMetrics(judged, service, spec);
  checkBehaviour(judged, spec);
  if (spec.schedules.length > MOST_SCHEDULES) {
    judged.wrong(['Schedules', 'schedule'], `are at most ${MOST_SCHEDULES}`);
    return;
  }
  spec.schedules.forEach((schedule, index) => {
    checkSchedule(judged, spec, schedule, index);
  });
}

function checkRange(judged: Judged, spec: AutoscaleSpec): void {
  const { max, min } = spec;
  const most: Where = ['Max', 'max'];
  if (max <= 0) {
    // 0 is also what an API client says that leaves it out.
    judged.wrong(most, `must be at least 1, not ${max}: give the most replicas there may be`);
    return;
  }
  if (max > MAX_REPLICAS) {
    judged.wrong(most, `must be at most ${MAX_REPLICAS}, not ${max}`);
  }
  if (min === undefined) return;
  const least: Where = ['Min', 'min'];
  if (min < 0) judged.wrong(least, `cannot be negative, as ${min} is`);
  else if (min > max) judged.wrong(least, `${min} is more than the ${max} of max`);
  else if (min === 0) checkZero(judged, spec, least);
}

/** Where nothing runs, nothing that runs can be measured: something else must tell when to start again. */
function checkZero(judged: Judged, spec: AutoscaleSpec, field: Where): void {
  if (spec.metrics.some(isReadAtZero)) return;
  judged.wrong(
    field,
    '0 needs a metric that can be read while nothing runs: requests, connections, or a source outside; else give 1',
  );
}

function checkBehaviour(judged: Judged, spec: AutoscaleSpec): void {
  judged.between(['ToleranceUp', 'tolerance.up'], spec.toleranceUp, 0, 10, asPercent);
  judged.between(['ToleranceDown', 'tolerance.down'], spec.toleranceDown, 0, 0.99, asPercent);
  for (const [field, way] of [
    ['Up', 'up'],
    ['Down', 'down'],
  ] as const) {
    const rules = spec[way];
    if (rules === undefined) continue;
    const stabilize: Where = [`${field}.Stabilize`, `${way}.stabilize`];
    judged.between(stabilize, rules.stabilizeNs, 0, LONGEST_STABILIZE_NS, asSeconds);
    judged.word([`${field}.Select`, `${way}.select`], rules.select, SELECTS);
    checkPolicies(judged, field, way, rules.policies);
  }
  const window: Where = ['Fast.Window', 'fast.window'];
  const [shortest, longest] = [SAMPLE_INTERVAL_MS, FAST_WINDOW_MAX_MS].map(msToNs);
  judged.between(window, spec.fast?.windowNs, shortest ?? 0, longest ?? 0, asSeconds);
  judged.between(['Fast.Threshold', 'fast.threshold'], spec.fast?.threshold, 1, 100, asPercent);
  judged.between(['Warmup', 'warmup'], spec.warmupNs, 0, HOUR_NS, asSeconds);
  const cooldown: Where = ['CooldownToZero', 'cooldown-to-zero'];
  judged.between(cooldown, spec.cooldownToZeroNs, 0, DAY_NS, asSeconds);
  checkOnError(judged, spec);
}

function checkPolicies(
  judged: Judged,
  field: string,
  way: string,
  policies: readonly ScalingPolicy[],
): void {
  if (policies.length > MOST_POLICIES) {
    judged.wrong([`${field}.Policies`, `${way}.policies`], `are at most ${MOST_POLICIES}`);
  }
  policies.forEach(({ change, periodNs }, index) => {
    const at = (leaf: string): Where => [`${field}.Policies[${index}]${leaf}`, `${way}.policies`];
    judged.between(at('.Period'), periodNs, NS_PER_SECOND, LONGEST_PERIOD_NS, asSeconds);
    if (change === undefined) judged.wrong(at(''), 'needs Tasks or Share');
    else judged.above0(at(change.$case === 'tasks' ? '.Tasks' : '.Share'), change.value);
  });
}

function checkOnError(judged: Judged, spec: AutoscaleSpec): void {
  const { onError, min = 1, max } = spec;
  if (onError === undefined) return;
  const { after, replicas } = onError;
  if (after < 0) judged.wrong(['OnError.After', 'on-error.after'], `cannot be negative`);
  if (after > 0 && (replicas < min || replicas > max)) {
    judged.wrong(
      ['OnError.Replicas', 'on-error.replicas'],
      `${replicas} is not within ${min} and ${max}`,
    );
  }
}

function checkSchedule(
  judged: Judged,
  spec: AutoscaleSpec,
  { cron, forNs, min, max, timezone }: AutoscaleSchedule,
  index: number,
): void {
  const at = (field: string, leaf: string): Where => [
    `Schedules[${index}].${field}`,
    `schedule.${index}.${leaf}`,
  ];
  if (parseCron(cron) === undefined) {
    judged.wrong(
      at('Cron', 'cron'),
      `${JSON.stringify(cron)} is no time: give minute hour day month weekday, like 0 8 * * 1-5`,
    );
  }
  if (!isTimeZone(timezone)) {
    judged.wrong(
      at('Timezone', 'timezone'),
      `${JSON.stringify(timezone)} is unknown: give an IANA name, like Europe/Paris`,
    );
  }
  judged.between(at('For', 'for'), forNs, NS_PER_SECOND, LONGEST_SCHEDULE_NS, asSeconds);
  const most = max ?? spec.max;
  if (max !== undefined && (max < 1 || max > MAX_REPLICAS)) {
    judged.wrong(at('Max', 'max'), `must be from 1 to ${MAX_REPLICAS}, not ${max}`);
  }
  if (min < 0) judged.wrong(at('Min', 'min'), `cannot be negative, as ${min} is`);
  else if (min > most) judged.wrong(at('Min', 'min'), `${min} is more than the ${most} of max`);
  else if (min === 0) checkZero(judged, spec, at('Min', 'min'));
}
