import { decide } from '../../../../manager/autoscaler/decide.ts';
import { type KeptQuestion, withQuestion } from '../../../../manager/autoscaler/kept-question.ts';
import { EMPTY_MEMORY } from '../../../../manager/autoscaler/memory.ts';
import type { ScaleReason } from '../../../../manager/autoscaler/reasons.ts';
import type {
  Decision,
  DecisionInput,
  MetricInput,
  TaskView,
  Windowed,
} from '../../../../manager/autoscaler/types.ts';
import type {
  AutoscaleMetric,
  AutoscaleSpec,
  Recommendation,
  ScaleEvent,
  ScaleMemory,
  ScaleRecord,
  ScalingPolicy,
} from '../../../../shared/gen/shoal/v1/autoscale.ts';

/** Saturday 2026-11-21 14:00:00 UTC. */
export const NOW = Date.UTC(2026, 10, 21, 14);
export const S = 1_000_000_000;

/** A task in a row: its load, or why it has none. `young` is ready for a second only. */
export type TaskRow = number | 'missing' | 'starting' | 'unplaced' | { young: number };

export const cpu = (utilization: number, name = ''): AutoscaleMetric => ({
  name,
  kind: { $case: 'cpu', value: { utilization } },
});
export const requests = (perReplica: number): AutoscaleMetric => ({
  name: '',
  kind: { $case: 'requests', value: { perReplica } },
});
export const list = (perReplica: number, activation = 0, key = 'jobs'): AutoscaleMetric => ({
  name: '',
  kind: {
    $case: 'redisList',
    value: {
      address: 'redis:6379',
      key,
      database: 0,
      tls: false,
      sentinel: '',
      target: { perReplica, activation },
    },
  },
});
export const tasksIn = (value: number, seconds: number): ScalingPolicy => ({
  change: { $case: 'tasks', value },
  periodNs: seconds * S,
});
export const shareIn = (value: number, seconds: number): ScalingPolicy => ({
  change: { $case: 'share', value },
  periodNs: seconds * S,
});

/** HPA's core alone: no window, no rate, no fast window, 30 s of warm-up. */
export function plain(over: Partial<AutoscaleSpec> = {}): AutoscaleSpec {
  return {
    mode: 'active',
    min: 1,
    max: 100,
    metrics: [cpu(0.7)],
    up: { stabilizeNs: 0, select: 'max', policies: [tasksIn(10_000, 1)] },
    down: { stabilizeNs: 0, select: 'max', policies: [shareIn(1, 1)] },
    fast: { disabled: true },
    warmupNs: 30 * S,
    schedules: [],
    ...over,
  };
}

export function memory(over: Partial<ScaleMemory> = {}): ScaleMemory {
  return { ...EMPTY_MEMORY, ...over };
}

export const rec = (secondsAgo: number, replicas: number): Recommendation => ({
  atMs: NOW - secondsAgo * 1000,
  replicas,
});
export const event = (secondsAgo: number, change: number): ScaleEvent => ({
  atMs: NOW - secondsAgo * 1000,
  change,
});

export type Ask = Readonly<{
  spec?: Partial<AutoscaleSpec>;
  replicas: number;
  /** Of the metrics by task, all of them the same; the fast window sees the same as the stable one. */
  tasks?: readonly TaskRow[];
  /** Instead of `tasks` for the single metrics, in order; undefined: that of `tasks`. */
  metrics?: readonly (MetricInput | number | undefined)[];
  fast?: readonly number[];
  memory?: Partial<ScaleMemory>;
  input?: Partial<DecisionInput>;
  nowMs?: number;
}>;

export type Answer = Readonly<{ to: number; reason?: ScaleReason; held?: boolean; says?: RegExp }>;

export function ask(row: Ask): Decision {
  const { spec, memory: known, input, nowMs } = questionOf(row);
  return decide(spec, known, input, nowMs);
}

/** The record of it, as it is kept. */
export function askAndKeep(row: Ask): ScaleRecord {
  return withQuestion(ask(row).record, questionOf(row));
}

function questionOf(row: Ask): KeptQuestion & { nowMs: number } {
  const spec = plain(row.spec);
  const nowMs = row.nowMs ?? NOW;
  const rows = row.tasks ?? Array.from({ length: row.replicas }, () => 0);
  const loads: Windowed[] = [];
  const views = rows.map((task, index): TaskView => {
    const load = typeof task === 'object' ? task.young : task;
    loads.push(
      typeof load === 'number'
        ? { stable: load, fast: row.fast?.[index] ?? load }
        : { stable: undefined, fast: undefined },
    );
    if (task === 'starting' || task === 'unplaced') return { phase: task, readySinceMs: 0 };
    const ageMs = typeof task === 'object' ? 1000 : 3_600_000;
    return { phase: 'ready', readySinceMs: nowMs - ageMs };
  });
  const metrics = spec.metrics.map((_, index): MetricInput => {
    const given = row.metrics?.[index];
    if (given === undefined) return { kind: 'tasks', loads };
    return typeof given === 'number'
      ? { kind: 'value', value: { stable: given, fast: given } }
      : given;
  });
  // A recommendation of a second ago: what is decided is not the first sight of the service.
  const known = memory({ recommendations: [rec(1, row.replicas)], activeAtMs: NOW, ...row.memory });
  const input: DecisionInput = {
    replicas: row.replicas,
    setReplicas: undefined,
    tasks: views,
    metrics,
    request: { cores: 1, memoryBytes: 1 << 30 },
    updating: false,
    knocks: 0,
    ...row.input,
  };
  return { spec, memory: known, input, nowMs };
}

export const broken = (failures = 1): MetricInput => ({
  kind: 'error',
  error: 'connection refused',
  failures,
});
