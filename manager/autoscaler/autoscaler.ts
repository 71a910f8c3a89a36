import { NotLeaderError } from '../../shared/errors.ts';
import type {
  GetAutoscalingRequest,
  GetAutoscalingResponse,
  ScaleReplay,
  ServiceAutoscaling,
} from '../../shared/gen/shoal/v1/control.ts';
import type { Service } from '../../shared/gen/shoal/v1/objects.ts';
import type { SampleBatch } from '../../shared/gen/shoal/v1/peer.ts';
import { find } from '../control/find.ts';
import { type LeaderDeps, runLeaderLoop } from '../loop.ts';
import { AutoscaleLoop } from './loop.ts';
import { type Replayed, replay } from './replay.ts';
import { replicasOf } from './scaling.ts';
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
   * name. Throws ShoalError `not-found`, `invalid-argument`, and NotLeaderError as `report` does.
   */
  describe(request: GetAutoscalingRequest): GetAutoscalingResponse {
    const loop = this.#leading();
    const { store } = this.#deps;
    const asked =
      request.services.length > 0
        ? request.services.map((reference) => find(store, 'service', reference))
        : [...loop.ids()].flatMap((id) => store.get('service', id) ?? []).sort(byName);
    return {
      services: asked.map((service) => describe(service, loop.service(service.id), request)),
    };
  }

  #leading(): AutoscaleLoop {
    if (this.#loop === undefined) throw new NotLeaderError(undefined);
    return this.#loop;
  }
}

function describe(
  service: Service,
  watched: WatchedService | undefined,
  { records, replay: withReplay }: GetAutoscalingRequest,
): ServiceAutoscaling {
  const common = {
    serviceId: service.id,
    serviceName: service.spec?.name ?? '',
    replicas: replicasOf(service),
  };
  if (watched === undefined) {
    const nothing = { readyTasks: 0, records: [], setByHand: false, replayed: [] };
    return { ...common, spec: undefined, ...nothing };
  }
  const { spec, replicas, setReplicas, tasks, last, stored } = watched;
  const told = records ? (stored?.records ?? []) : [];
  return {
    ...common,
    spec,
    readyTasks: tasks.ready,
    ...(last === undefined ? {} : { last }),
    records: told,
    setByHand: setReplicas !== undefined && setReplicas !== replicas,
    replayed: withReplay ? replay(undefined, told).map(asReplay) : [],
  };
}

function asReplay({ again, differs }: Replayed): ScaleReplay {
  return again === undefined ? { differs: [] } : { again, differs: [...differs] };
}

function byName(a: Service, b: Service): number {
  return (a.spec?.name ?? '') < (b.spec?.name ?? '') ? -1 : 1;
}
