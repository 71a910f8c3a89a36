import type {
  AutoscaleSpec,
  ScaleMemory,
  ScaleRecord,
} from '../../shared/gen/shoal/v1/autoscale.ts';

/** A task of the service that is wanted: its desired state is at most RUNNING. */
export type TaskView = Readonly<{
  /** `unplaced`: no node has room or fits; `starting`: on its way; `ready`: running, and healthy where it is checked. */
  phase: 'unplaced' | 'starting' | 'ready';
  /** Since when it is ready, milliseconds since 1970; 0 while it is not. */
  readySinceMs: number;
}>;

/** Means over two windows that end now; undefined: no sample in it (or only from before the task was ready). */
export type Windowed = Readonly<{ stable: number | undefined; fast: number | undefined }>;

/** One metric of the spec as it was read, in the unit of its target. */
export type MetricInput =
  /** Of each of the service's tasks, in the order of the input's. */
  | Readonly<{ kind: 'tasks'; loads: readonly Windowed[] }>
  | Readonly<{ kind: 'value'; value: Windowed }>
  /** `failures`: readings in a row that failed. */
  | Readonly<{ kind: 'error'; error: string; failures: number }>;

/** Everything that a decision is made from beside the spec and the memory. Plain JSON, so that it can be kept and made again. */
export type DecisionInput = Readonly<{
  /** What the service's spec says now. */
  replicas: number;
  /** What the autoscaler set last; undefined: it has set nothing yet. */
  setReplicas: number | undefined;
  tasks: readonly TaskView[];
  /** In the order of the spec's metrics. */
  metrics: readonly MetricInput[];
  /** Of one task, what utilization is a share of: its reservation, else its limit. */
  request: Readonly<{ cores: number | undefined; memoryBytes: number | undefined }>;
  /** A rolling update or rollback is under way (or paused): tasks come and go by it. */
  updating: boolean;
  /** Connections held since the last decision because the service has no task. */
  knocks: number;
}>;

export type Decision = Readonly<{
  /** What the service's replicas should be. The present number where nothing changes. */
  replicas: number;
  /** Why, whether or not anything changes. Without `inputJson`: whoever keeps the record puts it in (kept-question.ts). */
  record: ScaleRecord;
  /** For the next decision. */
  memory: ScaleMemory;
}>;

/** The one rule of scaling: pure, the same answer for the same question. */
export type Decide = (
  spec: AutoscaleSpec,
  memory: ScaleMemory,
  input: DecisionInput,
  nowMs: number,
) => Decision;
