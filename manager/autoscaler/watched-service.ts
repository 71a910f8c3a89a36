import type {
  AutoscaleSpec,
  ScaleMemory,
  ScaleRecord,
} from '../../shared/gen/shoal/v1/autoscale.ts';
import type { Autoscaling, Resources, Service } from '../../shared/gen/shoal/v1/objects.ts';
import {
  type FilledAutoscaleSpec,
  METRIC_WINDOW_MS,
  metricName,
  withAutoscaleDefaults,
} from '../../shared/model/autoscale.ts';
import { sameValue } from '../../shared/model/equal.ts';
import { replicasOf } from '../../shared/model/replicas.ts';
import { NANO_CPUS_PER_CPU, nsToMs } from '../../shared/model/units.ts';
import { resumeMemory } from './memory.ts';
import { isActive, signalOf } from './scaling.ts';
import type { Signal, Windows } from './signals.ts';
import type { OutsideMetric, OutsideReader } from './sources.ts';
import type { DecisionInput, MetricInput } from './types.ts';
import { type Moment, WatchedTasks } from './watched-tasks.ts';

/** Where the value of a metric comes from. */
type Origin =
  | Readonly<{ kind: 'signal'; signal: Signal }>
  | Readonly<{ kind: 'outside'; wanted: OutsideMetric }>;

/** More are not needed to know that somebody waits. */
const MOST_KNOCKS = 1_000_000;
const NOT_READ: MetricInput = { kind: 'value', value: { stable: undefined, fast: undefined } };

/** All that the leader knows of one service that is scaled. */
export class WatchedService {
  readonly id: string;
  readonly tasks = new WatchedTasks();
  /** As the store has it; undefined: nothing was recorded yet. */
  stored: Autoscaling | undefined;
  /** Of the next decision. */
  memory: ScaleMemory;
  /** Connections held since the last decision. */
  knocks = 0;
  /** Of the last decision, worth keeping or not, without what it was made from. */
  last: ScaleRecord | undefined;
  /** Since when decisions have the reason they have now, monotonic. */
  reasonSinceMs = 0;
  #service: Service;
  #spec: AutoscaleSpec;
  #rules: FilledAutoscaleSpec;
  #origins: readonly Origin[];
  #windows: Windows;
  #request: DecisionInput['request'];

  constructor(
    service: Service,
    spec: AutoscaleSpec,
    stored: Autoscaling | undefined,
    { nowMs }: Moment,
  ) {
    this.id = service.id;
    this.stored = stored;
    this.#service = service;
    this.memory = resumeMemory(stored?.memory, this.replicas, nowMs);
    this.#spec = spec;
    this.#rules = withAutoscaleDefaults(spec);
    this.#windows = windowsOf(this.#rules);
    this.#origins = this.#rules.metrics.map((metric) => originOf(service.id, metric));
    this.#request = requestOf(service);
  }

  get service(): Service {
    return this.#service;
  }

  /** As it is in force, without defaults. */
  get spec(): AutoscaleSpec {
    return this.#spec;
  }

  get isActive(): boolean {
    return isActive(this.#spec);
  }

  get replicas(): number {
    return replicasOf(this.#service.spec) ?? 0;
  }

  /** Whoever only recommends has no count of its own that another one could be compared with. */
  get setReplicas(): number | undefined {
    return this.isActive ? this.stored?.setReplicas : undefined;
  }

  /** What the next leader would begin with, and since when. */
  get handed(): Readonly<{ memory: ScaleMemory | undefined; atMs: number }> {
    return { memory: this.stored?.memory, atMs: this.stored?.meta?.updatedAtMs ?? 0 };
  }

  get isUpdating(): boolean {
    const state = this.#service.updateStatus?.state ?? '';
    return UPDATING.has(state);
  }

  /** True when other values outside of the cluster are needed now. */
  changed(service: Service, spec: AutoscaleSpec): boolean {
    const before = this.#service.spec;
    this.#service = service;
    if (service.spec === before) return false;
    this.#request = requestOf(service);
    if (sameValue(spec, this.#spec)) return false;
    this.#spec = spec;
    this.#rules = withAutoscaleDefaults(spec);
    this.#windows = windowsOf(this.#rules);
    this.#origins = this.#rules.metrics.map((metric) => originOf(this.id, metric));
    return true;
  }

  *outside(): Generator<OutsideMetric> {
    for (const origin of this.#origins) if (origin.kind === 'outside') yield origin.wanted;
  }

  knocked(connections: number): void {
    this.knocks = Math.min(MOST_KNOCKS, this.knocks + connections);
  }

  input(reader: Pick<OutsideReader, 'latest'>, monotonicMs: number): DecisionInput {
    const metrics = this.#origins.map(
      (origin): MetricInput =>
        origin.kind === 'signal'
          ? this.tasks.metric(origin.signal, this.#windows, monotonicMs)
          : (reader.latest(origin.wanted.key) ?? NOT_READ),
    );
    return {
      replicas: this.replicas,
      setReplicas: this.setReplicas,
      tasks: this.tasks.views(),
      metrics,
      request: this.#request,
      updating: this.isUpdating,
      knocks: this.knocks,
    };
  }
}

/** Docker's words; also of an update that was stopped half-way: its tasks are of two kinds. */
const UPDATING: ReadonlySet<string> = new Set([
  'updating',
  'paused',
  'rollback_started',
  'rollback_paused',
]);

function originOf(serviceId: string, metric: FilledAutoscaleSpec['metrics'][number]): Origin {
  const signal = signalOf(metric);
  if (signal !== undefined) return { kind: 'signal', signal };
  return { kind: 'outside', wanted: { key: `${serviceId}/${metricName(metric)}`, metric } };
}

function windowsOf({ fast }: FilledAutoscaleSpec): Windows {
  return {
    stableMs: METRIC_WINDOW_MS,
    fastMs: Math.min(METRIC_WINDOW_MS, nsToMs(fast.windowNs)),
  };
}

/** Of one task: what it reserves, else what it may use. */
function requestOf(service: Service): DecisionInput['request'] {
  const { reservations, limits } = service.spec?.task?.resources ?? {};
  const first = (read: (resources: Resources) => number): number | undefined =>
    (reservations && read(reservations)) || (limits && read(limits)) || undefined;
  const nanoCpus = first((resources) => resources.nanoCpus);
  return {
    cores: nanoCpus === undefined ? undefined : nanoCpus / NANO_CPUS_PER_CPU,
    memoryBytes: first((resources) => resources.memoryBytes),
  };
}
