import { NotLeaderError } from '../../shared/errors.ts';
import type { ScaleRecord } from '../../shared/gen/shoal/v1/autoscale.ts';
import type {
  GetAutoscalingRequest,
  GetAutoscalingResponse,
  ScaleReplay,
  ServiceAutoscaling,
} from '../../shared/gen/shoal/v1/control.ts';
import type { Autoscaling, Service } from '../../shared/gen/shoal/v1/objects.ts';
import type { SampleBatch } from '../../shared/gen/shoal/v1/peer.ts';
import { replicasOf } from '../../shared/model/replicas.ts';
import { find } from '../control/find.ts';
import { type LeaderDeps, runLeaderLoop } from '../loop.ts';
import { AutoscaleLoop } from './loop.ts';
import { type Replayed, replay } from './replay.ts';
import type { OutsideReader } from './sources.ts';
import type { Decide } from './types.ts';
import type { WatchedService } from './watched-service.ts';

export type AutoscalerDeps = LeaderDeps &
  Readonly<{
    decide: Decide;
    /** For one time of leadership; closed at its end. */
    openOutside: () => OutsideReader;
  }>;

/** The autoscaler of the manager that leads. What it knows of the load lives as long as the leadership. */
export class Autoscaler {
  readonly #deps: AutoscalerDeps;
  #loop: AutoscaleLoop | undefined;

  constructor(deps: AutoscalerDeps) {
    this.#deps = deps;
  }

  /** A leader loop: from the beginning of leadership to its end. */
  async run(signal: AbortSignal): Promise<void> {
    const outside = this.#deps.openOutside();
    const loop = new AutoscaleLoop({ ...this.#deps, outside });
    this.#loop = loop;
    try {
      await runLeaderLoop(this.#deps, loop, signal);
    } finally {
      this.#loop = undefined;
      await outside.close();
    }
  }

  /** What agents measured. Throws NotLeaderError while this manager is not at it. */
  report(batch: SampleBatch): void {
    this.#leading().report(batch);
  }

  /**
   * How services follow their load. Those that are not scaled are told of without a spec when they are asked for by
   * name, with what was recorded while they were. Throws ShoalError `not-found`, `invalid-argument`, and NotLeaderError as `report` does.
   */
  describe(request: GetAutoscalingRequest): GetAutoscalingResponse {
    const loop = this.#leading();
    const { store } = this.#deps;
    const asked =
      request.services.length > 0
        ? request.services.map((reference) => find(store, 'service', reference))
        : [...loop.ids()].flatMap((id) => store.get('service', id) ?? []).sort(byName);
    const detail: Detail = { ...request, isOverview: request.services.length === 0 };
    return {
      services: asked.map((service) => {
        const watched = loop.service(service.id);
        const stored =
          watched === undefined ? store.get('autoscaling', service.id) : watched.stored;
        return { ...describe(service, watched), ...history(stored, detail) };
      }),
    };
  }

  #leading(): AutoscaleLoop {
    if (this.#loop === undefined) throw new NotLeaderError(undefined);
    return this.#loop;
  }
}

type Detail = Pick<GetAutoscalingRequest, 'records' | 'replay'> &
  Readonly<{
    /** Of all services: an answer must stay below what one message may hold. */
    isOverview: boolean;
  }>;

/** Of each service, in an overview. */
const OVERVIEW_RECORDS = 5;

function describe(
  service: Service,
  watched: WatchedService | undefined,
): Omit<ServiceAutoscaling, 'records' | 'replayed'> {
  const common = {
    serviceId: service.id,
    serviceName: service.spec?.name ?? '',
    replicas: replicasOf(service.spec) ?? 0,
  };
  if (watched === undefined) {
    return { ...common, spec: undefined, readyTasks: 0, setByHand: false };
  }
  const { spec, replicas, setReplicas, tasks, last } = watched;
  return {
    ...common,
    spec,
    readyTasks: tasks.ready,
    ...(last === undefined ? {} : { last }),
    setByHand: setReplicas !== undefined && setReplicas !== replicas,
  };
}

function history(
  stored: Autoscaling | undefined,
  { records, replay: withReplay, isOverview }: Detail,
): Pick<ServiceAutoscaling, 'records' | 'replayed'> {
  const kept = records ? (stored?.records ?? []) : [];
  const told = isOverview ? kept.slice(-OVERVIEW_RECORDS).map(withoutQuestion) : kept;
  return { records: told, replayed: withReplay ? replay(undefined, told).map(asReplay) : [] };
}

function withoutQuestion(record: ScaleRecord): ScaleRecord {
  return { ...record, inputJson: '' };
}

function asReplay({ again, differs }: Replayed): ScaleReplay {
  return again === undefined ? { differs: [] } : { again, differs: [...differs] };
}

function byName(a: Service, b: Service): number {
  return (a.spec?.name ?? '') < (b.spec?.name ?? '') ? -1 : 1;
}
