import type { ScaleMemory } from '../../shared/gen/shoal/v1/autoscale.ts';
import { type FilledAutoscaleSpec, METRIC_WINDOW_MS } from '../../shared/model/autoscale.ts';
import { nsToMs } from '../../shared/model/units.ts';
import { clock, dayAndClock, percent, tasks } from './figures.ts';
import type { Limits } from './limits.ts';
import { loadPhrase, loadSentence } from './messages.ts';
import { downLimit, upLimit } from './rates.ts';
import { withinTolerance } from './ratio.ts';
import { isNoneReady, type Read } from './readings.ts';
import type { ScaleReason } from './reasons.ts';
import { stabilize } from './stabilize.ts';
import type { DecisionInput } from './types.ts';

/** A client that is held asks again after 1, 2, 4 ... 64 s, and gives up after 127 s (Linux' tcp_syn_retries of 6). */
const HELD_FOR_MS = 130_000;

/** What the count is decided from. `replicas` is the present one. */
export type Question = Readonly<{
  rules: FilledAutoscaleSpec;
  limits: Limits;
  known: ScaleMemory;
  reads: readonly Read[];
  input: DecisionInput;
  replicas: number;
  nowMs: number;
}>;

/** What the count should be, whatever may forbid to write it now. */
export type Wanted = Readonly<{
  to: number;
  reason: ScaleReason;
  message: string;
  /** After each step; equal to the present count where a step did not come into it. */
  proposed: number;
  stabilized: number;
  limited: number;
  /** What to remember as recommended; undefined: nothing could be. */
  recommended: number | undefined;
  activeAtMs: number;
  /** When the fast window was above its threshold last; 0: it is closed. */
  fastAtMs: number;
}>;

/** The rules in their order: none and back, limits, then the metrics. */
export function want(question: Question): Wanted {
  const { limits, replicas, nowMs } = question;
  if (replicas === 0 && limits.min === 0) return atNone(question);
  const by = bySchedule(limits, nowMs);
  if (replicas > limits.max) {
    const message = `the most is ${tasks(limits.max)}${by}: ${replicas} -> ${limits.max}`;
    return { ...unchanged(question), to: limits.max, reason: 'above-max', message };
  }
  if (replicas < limits.min) {
    const message = `the least is ${tasks(limits.min)}${by}: ${replicas} -> ${limits.min}`;
    return { ...unchanged(question), to: limits.min, reason: 'below-min', message };
  }
  return toNone(question) ?? byMetrics(question);
}

/** KEDA's way back: anything above its activation brings the first task at once, more come by the metrics. */
function atNone(question: Question): Wanted {
  const { reads, input, limits, nowMs } = question;
  const first = Math.min(Math.max(1, limits.min), limits.max);
  const same = { ...unchanged(question), activeAtMs: nowMs, to: first };
  if (input.knocks > 0) {
    const who = input.knocks === 1 ? '1 connection waits' : `${input.knocks} connections wait`;
    return { ...same, reason: 'woken', message: `${who}: 0 -> ${first}` };
  }
  const active = reads.find((read) => read.active === true);
  if (active !== undefined) {
    const message = `${loadSentence(active, 'stable')} is above its activation: 0 -> ${first}`;
    return { ...same, reason: 'activated', message };
  }
  const fallback = fallbackOf(reads);
  if (fallback !== undefined && fallback.replicas > 0) {
    const to = Math.min(fallback.replicas, limits.max);
    const message = `${failures([fallback.read])}, its fallback is ${tasks(fallback.replicas)}: 0 -> ${to}`;
    return { ...same, to, reason: 'fallback', message };
  }
  const idle = unchanged(question);
  const broken = reads.filter((read) => read.state === 'failed');
  if (broken.length > 0) return { ...idle, reason: 'metric-failed', message: failures(broken) };
  return { ...idle, reason: 'idle', message: 'nothing asks for a task' };
}

/** KEDA's way to none: by the time since the last sign of load alone, from whatever count there is. */
function toNone(question: Question): Wanted | undefined {
  const { limits, reads, rules, replicas, input, nowMs } = question;
  if (limits.min > 0) return undefined;
  const activeAtMs = lastActive(question);
  const asked = nsToMs(rules.cooldownToZeroNs);
  const cooldownMs = isNoneReady(input.tasks) ? Math.max(asked, HELD_FOR_MS) : asked;
  if (!isQuiet(reads) || nowMs - activeAtMs < cooldownMs) return undefined;
  const message = `no load since ${dayAndClock(activeAtMs, nowMs)}: ${replicas} -> 0`;
  return { ...unchanged(question), to: 0, reason: 'to-zero', message, recommended: 0 };
}

/** HPA's way, with Knative's fast window beside it. */
function byMetrics(question: Question): Wanted {
  const { reads, rules, limits, known, replicas, nowMs } = question;
  const base = unchanged(question);
  const measured = reads.filter((read) => read.stable !== undefined);
  const broken = reads.filter((read) => read.state !== 'ok');
  const fallback = fallbackOf(reads);
  if (measured.length === 0 && fallback === undefined) {
    const reason = broken.some((read) => read.state === 'failed') ? 'metric-failed' : 'no-samples';
    const message = `kept at ${replicas}: ${failures(broken)}`;
    // That nobody wants what cannot start is known: a gap would begin the cooldown again.
    return { ...base, reason, message, recommended: isQuiet(reads) ? replicas : undefined };
  }

  const exceeded = measured.some((read) => (read.fast?.ratio ?? 0) >= rules.fast.threshold);
  const fastAtMs = exceeded ? nowMs : base.fastAtMs;
  const open = fastAtMs > 0;
  const best = largest(measured, open);
  // An operator's fallback may raise the count but never lower it: nobody knows what is asked for.
  const fallbackReplicas = fallback === undefined ? 0 : Math.max(fallback.replicas, replicas);
  const byFallback = fallback !== undefined && fallbackReplicas > (best?.replicas ?? -1);
  const proposed = byFallback ? fallbackReplicas : (best?.replicas ?? replicas);
  const load =
    byFallback || best === undefined
      ? `${failures(broken)}, the fallback is ${tasks(fallback?.replicas ?? replicas)}`
      : loadSentence(best.read, best.window);
  if (broken.length > 0 && proposed < replicas) {
    const message = `kept at ${replicas}: ${failures(broken)}; ${load} asks for ${proposed}`;
    const reason = broken.some((read) => read.state === 'failed') ? 'metric-failed' : 'no-samples';
    return { ...base, reason, message, proposed, fastAtMs, recommended: replicas };
  }

  const windows = { upMs: nsToMs(rules.up.stabilizeNs), downMs: nsToMs(rules.down.stabilizeNs) };
  const stable = stabilize(replicas, proposed, known.recommendations, windows, nowMs);
  const stabilized = open ? Math.max(replicas, stable.replicas) : stable.replicas;
  const limited =
    stabilized > replicas
      ? Math.min(stabilized, upLimit(rules.up, replicas, known.events, nowMs))
      : Math.max(stabilized, downLimit(rules.down, replicas, known.events, nowMs));
  const least = Math.max(1, limits.min);
  const allowed = (count: number) => Math.min(Math.max(count, least), limits.max);
  const to = allowed(limited);
  const result = { ...base, to, proposed, stabilized, limited, fastAtMs, recommended: proposed };

  const asked = to === proposed ? '' : ` (it asks for ${proposed}`;
  if (to !== replicas) {
    const cut =
      to !== limited
        ? `, the ${to > replicas ? `most is ${limits.max}` : `least is ${least}`})`
        : limited !== stabilized
          ? ', the rate of change is limited)'
          : stable.by
            ? `, but ${recommended(stable.by)})`
            : ')';
    const message = `${load}: ${replicas} -> ${to}${asked === '' ? '' : asked + cut}`;
    const up = best?.window === 'fast' ? 'fast-window' : 'above-target';
    const reason = to < replicas ? 'below-target' : byFallback ? 'fallback' : up;
    return { ...result, reason, message };
  }
  if (proposed === replicas)
    return { ...result, ...steady(question, byFallback ? undefined : best, load) };
  // Nothing but the limits is in the way for good; what else holds does not matter there.
  const goal = allowed(proposed);
  if (goal === replicas) return { ...result, ...atLimit(question, to, proposed, load) };
  if (stable.replicas === replicas && stable.by !== undefined) {
    const up = proposed > replicas;
    const until = clock(stable.by.atMs + (up ? windows.upMs : windows.downMs));
    const message = `would go to ${goal}, held until ${until} since ${recommended(stable.by)}: ${load}`;
    return { ...result, reason: up ? 'stabilized-up' : 'stabilized-down', message };
  }
  if (stabilized !== stable.replicas) {
    const until = clock(fastAtMs + METRIC_WINDOW_MS);
    const message = `would go to ${allowed(stable.replicas)}, held until ${until} by the fast window: ${load}`;
    return { ...result, reason: 'fast-window-holds', message };
  }
  if (limited === replicas) {
    const disabled = (proposed > replicas ? rules.up : rules.down).select === 'disabled';
    const why = disabled
      ? `${proposed > replicas ? 'raising' : 'lowering'} it is disabled`
      : 'the rate policies allow no more changes now';
    return {
      ...result,
      reason: 'rate-limited',
      message: `would go to ${goal}, but ${why}: ${load}`,
    };
  }
  return { ...result, ...atLimit(question, to, proposed, load) };
}

type Verdict = Readonly<{ reason: ScaleReason; message: string }>;

function steady({ rules, replicas }: Question, best: Best | undefined, load: string): Verdict {
  if (best === undefined) {
    return { reason: 'fallback', message: `kept at ${replicas}: ${load}; it never lowers` };
  }
  const { reading, stable } = best.read;
  const tolerance = { up: rules.toleranceUp, down: rules.toleranceDown };
  const inside = withinTolerance(stable?.ratio ?? 1, tolerance);
  const unknown = reading.missing + reading.notReady;
  const seen = (reading.value ?? 0) / reading.target;
  if (unknown > 0 && reading.counted > 0 && !withinTolerance(seen, tolerance)) {
    const message = `steady: ${load}; too little is known of those for a change`;
    return { reason: 'not-ready', message };
  }
  if (inside) {
    const width = (stable?.ratio ?? 1) > 1 ? rules.toleranceUp : rules.toleranceDown;
    const message = `steady: ${loadPhrase(best.read, replicas)}, within ${percent(width)}`;
    return { reason: 'within-tolerance', message };
  }
  return {
    reason: 'as-needed',
    message: `steady: ${loadPhrase(best.read, replicas)}, which needs ${tasks(replicas)}`,
  };
}

function atLimit(question: Question, to: number, proposed: number, load: string): Verdict {
  const { limits, rules, nowMs } = question;
  const by = bySchedule(limits, nowMs);
  if (proposed > to) {
    return {
      reason: 'at-max',
      message: `at the most of ${tasks(limits.max)}${by}: ${load} asks for ${proposed}`,
    };
  }
  if (limits.min === 0) {
    const endMs = lastActive(question) + nsToMs(rules.cooldownToZeroNs);
    const until = dayAndClock(Math.max(nowMs, endMs), nowMs);
    const message = `kept at 1 until ${until}, when the cooldown to none ends: ${load}`;
    return { reason: 'cooling-down', message };
  }
  return {
    reason: 'at-min',
    message: `at the least of ${tasks(limits.min)}${by}: ${load} asks for ${proposed}`,
  };
}

/** What a schedule has to do with the limits in force. */
function bySchedule({ schedule }: Limits, nowMs: number): string {
  return schedule === undefined
    ? ''
    : ` (schedule ${schedule.cron} until ${dayAndClock(schedule.untilMs, nowMs)})`;
}

type Best = Readonly<{ read: Read; replicas: number; window: 'stable' | 'fast' }>;

function largest(measured: readonly Read[], open: boolean): Best | undefined {
  let best: Best | undefined;
  for (const read of measured) {
    const stable = read.stable?.replicas ?? 0;
    if (best === undefined || stable > best.replicas) {
      best = { read, replicas: stable, window: 'stable' };
    }
    const fast = open ? (read.fast?.replicas ?? 0) : 0;
    if (fast > best.replicas) best = { read, replicas: fast, window: 'fast' };
  }
  return best;
}

function fallbackOf(reads: readonly Read[]): { read: Read; replicas: number } | undefined {
  let found: { read: Read; replicas: number } | undefined;
  for (const read of reads) {
    if (read.fallback !== undefined && read.fallback > (found?.replicas ?? -1)) {
      found = { read, replicas: read.fallback };
    }
  }
  return found;
}

/** That there is no load is known, not just that none is seen. */
function isQuiet(reads: readonly Read[]): boolean {
  const telling = reads.filter((read) => read.tellsActivity);
  return telling.length > 0 && telling.every((read) => read.active === false);
}

function lastActive({ reads, known, input, nowMs }: Question): number {
  const active = input.knocks > 0 || reads.some((read) => read.active === true);
  return active ? nowMs : known.activeAtMs;
}

function unchanged(question: Question): Omit<Wanted, 'reason' | 'message'> {
  const { replicas, known, nowMs } = question;
  const open = known.fastSinceMs > 0 && nowMs - known.fastSinceMs < METRIC_WINDOW_MS;
  return {
    to: replicas,
    proposed: replicas,
    stabilized: replicas,
    limited: replicas,
    recommended: undefined,
    activeAtMs: lastActive(question),
    fastAtMs: open ? known.fastSinceMs : 0,
  };
}

function failures(reads: readonly Read[]): string {
  const said = reads.map(({ state, reading }) => {
    const how = state === 'failed' ? 'cannot be read' : 'is not known yet';
    return `${reading.name} ${how} (${reading.error})`;
  });
  return said.join(', ');
}

/** `9 were recommended at 14:05:10`. */
function recommended({ atMs, replicas }: { atMs: number; replicas: number }): string {
  return `${replicas} ${replicas === 1 ? 'was' : 'were'} recommended at ${clock(atMs)}`;
}
