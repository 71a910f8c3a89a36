import type {
  AutoscaleSpec,
  ScaleMemory,
  ScaleRecord,
} from '../../shared/gen/shoal/v1/autoscale.ts';
import type { DecisionInput, MetricInput, TaskView, Windowed } from './types.ts';

/** All that a decision was made from but the time, which the record has. */
export type KeptQuestion = Readonly<{
  spec: AutoscaleSpec;
  memory: ScaleMemory;
  input: DecisionInput;
}>;

/** Rows have no names: most of a question is its tasks, and it is written with each change. JSON has no undefined. */
type TaskRow = readonly [phase: TaskView['phase'], readySinceMs: number];
type LoadRow = readonly [stable: number | null, fast: number | null];

/**
 * The record with what it was decided from: about 1 kB for ten tasks, and twice the work of the decision itself. So
 * it is done for records that are kept, and not for each decision.
 */
export function withQuestion(record: ScaleRecord, question: KeptQuestion): ScaleRecord {
  const { spec, memory, input } = question;
  const tasks = input.tasks.map(({ phase, readySinceMs }): TaskRow => [phase, readySinceMs]);
  const metrics = input.metrics.map((metric) =>
    metric.kind === 'tasks' ? { kind: metric.kind, loads: metric.loads.map(loadRow) } : metric,
  );
  const inputJson = JSON.stringify({ spec, memory, input: { ...input, tasks, metrics } });
  return { ...record, inputJson };
}

function loadRow({ stable, fast }: Windowed): LoadRow {
  return [stable ?? null, fast ?? null];
}

/** Undefined when the text is not a question that this version understands. */
export function decodeQuestion(json: string): KeptQuestion | undefined {
  let found: Partial<Written> | null;
  try {
    found = JSON.parse(json);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  const { spec, memory, input } = found ?? {};
  const sound =
    Array.isArray(spec?.metrics) &&
    Array.isArray(memory?.recommendations) &&
    Array.isArray(input?.tasks) &&
    Array.isArray(input.metrics);
  if (!sound || !spec || !memory || !input) return undefined;
  const metrics = input.metrics.map((metric) => metricOf(metric, input.tasks));
  return { spec, memory, input: { ...input, tasks: input.tasks.map(viewOf), metrics } };
}

/** As logs have it: in rows, or (until November 2026) by the tasks' ids. */
type Written = Pick<KeptQuestion, 'spec' | 'memory'> & {
  readonly input: Omit<DecisionInput, 'tasks' | 'metrics'> & {
    readonly tasks: readonly WrittenTask[];
    readonly metrics: readonly WrittenMetric[];
  };
};
type WrittenTask = TaskRow | (TaskView & Readonly<{ id: string }>);
type WrittenMetric =
  | Exclude<MetricInput, { kind: 'tasks' }>
  | Readonly<{ kind: 'tasks'; loads: readonly LoadRow[] }>
  | Readonly<{ kind: 'tasks'; byTask: Readonly<Record<string, Windowed>> }>;

function viewOf(task: WrittenTask): TaskView {
  if ('phase' in task) return { phase: task.phase, readySinceMs: task.readySinceMs };
  return { phase: task[0], readySinceMs: task[1] };
}

function metricOf(metric: WrittenMetric, tasks: readonly WrittenTask[]): MetricInput {
  if (metric.kind !== 'tasks') return metric;
  const loads =
    'loads' in metric
      ? metric.loads.map(([stable, fast]) => windowed(stable, fast))
      : tasks.map((task) => {
          const load = 'id' in task ? metric.byTask?.[task.id] : undefined;
          return windowed(load?.stable, load?.fast);
        });
  return { kind: 'tasks', loads };
}

function windowed(stable: number | null | undefined, fast: number | null | undefined): Windowed {
  return { stable: stable ?? undefined, fast: fast ?? undefined };
}
