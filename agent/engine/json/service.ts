import { ShoalError } from '../../../shared/errors.ts';
import type {
  EndpointSpec,
  PortConfig,
  Service,
  ServiceEndpoint,
  ServiceSpec,
  TaskSpec,
  UpdateConfig,
  UpdateStatus,
} from '../../../shared/gen/shoal/v1/objects.ts';
import {
  type Codec,
  int64,
  list,
  maybe,
  ratio,
  sparse,
  struct,
  text,
  textMap,
  uint32,
  uint64,
  via,
} from '../codec.ts';
import { autoscaleSpec } from './autoscale.ts';
import { metaFields, rfc3339 } from './meta.ts';
import { networkAttachmentConfig, taskSpec } from './task-spec.ts';

export const portConfig = struct<PortConfig>({
  name: ['Name', sparse(text)],
  protocol: ['Protocol', sparse(text)],
  targetPort: ['TargetPort', sparse(uint32)],
  publishedPort: ['PublishedPort', sparse(uint32)],
  publishMode: ['PublishMode', sparse(text)],
});

const endpointSpec = struct<EndpointSpec>({
  mode: ['Mode', sparse(text)],
  ports: ['Ports', sparse(list(portConfig))],
});

/** Docker's Monitor has no "not given": 0 stands for it. */
const monitor: Codec<number | undefined> = via(
  sparse(int64),
  (value) => (value === 0 ? undefined : value),
  (value) => value ?? 0,
);

const updateConfig = struct<UpdateConfig>({
  parallelism: ['Parallelism', uint64],
  delayNs: ['Delay', sparse(int64)],
  failureAction: ['FailureAction', sparse(text)],
  monitorNs: ['Monitor', monitor],
  maxFailureRatio: ['MaxFailureRatio', ratio],
  order: ['Order', text],
});

type Mode = NonNullable<ServiceSpec['mode']>;
type WireMode = {
  replicated: { replicas?: number | undefined } | undefined;
  global: object | undefined;
  replicatedJob:
    | { maxConcurrent?: number | undefined; totalCompletions?: number | undefined }
    | undefined;
  globalJob: object | undefined;
};
const MODES = ['replicated', 'global', 'replicatedJob', 'globalJob'] as const;

const mode: Codec<ServiceSpec['mode']> = via(
  struct<WireMode>({
    replicated: [
      'Replicated',
      maybe(struct<{ replicas?: number | undefined }>({ replicas: ['Replicas', maybe(uint64)] })),
    ],
    global: ['Global', maybe(struct<object>({}))],
    replicatedJob: [
      'ReplicatedJob',
      maybe(
        struct<NonNullable<WireMode['replicatedJob']>>({
          maxConcurrent: ['MaxConcurrent', maybe(uint64)],
          totalCompletions: ['TotalCompletions', maybe(uint64)],
        }),
      ),
    ],
    globalJob: ['GlobalJob', maybe(struct<object>({}))],
  }),
  (wire): Mode => {
    const given = MODES.filter((name) => wire[name] !== undefined);
    if (given.length > 1) {
      throw new ShoalError(
        'invalid-argument',
        `must specify only one service mode, not ${given.join(' and ')}`,
      );
    }
    if (wire.global !== undefined) return { $case: 'global', value: {} };
    if (wire.globalJob !== undefined) return { $case: 'globalJob', value: {} };
    if (wire.replicatedJob !== undefined) {
      return { $case: 'replicatedJob', value: wire.replicatedJob };
    }
    return { $case: 'replicated', value: wire.replicated ?? { replicas: 1 } };
  },
  (value) => ({
    replicated: undefined,
    global: undefined,
    replicatedJob: undefined,
    globalJob: undefined,
    ...(value === undefined ? {} : { [value.$case]: value.value }),
  }),
);

type WireService = Omit<ServiceSpec, 'task' | 'update' | 'rollback' | 'endpoint'> & {
  task: TaskSpec;
  update: UpdateConfig | undefined;
  rollback: UpdateConfig | undefined;
  endpoint: EndpointSpec | undefined;
  networks: TaskSpec['networks'];
};

/** The whole spec. Networks on the service itself are the form before API 1.44; they move to the task. */
export const serviceSpec: Codec<ServiceSpec> = via(
  struct<WireService>({
    name: ['Name', text],
    labels: ['Labels', textMap],
    task: ['TaskTemplate', taskSpec],
    mode: ['Mode', mode],
    update: ['UpdateConfig', maybe(updateConfig)],
    rollback: ['RollbackConfig', maybe(updateConfig)],
    networks: ['Networks', sparse(list(networkAttachmentConfig))],
    endpoint: ['EndpointSpec', maybe(endpointSpec)],
    autoscale: ['Autoscale', maybe(autoscaleSpec)],
  }),
  ({ networks, task, ...rest }) => ({
    ...rest,
    task: task.networks.length === 0 ? { ...task, networks } : task,
  }),
  ({ name, labels, task, mode, update, rollback, endpoint, autoscale }) => ({
    name,
    labels,
    task: task ?? taskSpec.decode(undefined, ''),
    mode,
    update,
    rollback,
    endpoint,
    autoscale,
    networks: [],
  }),
);

const SECOND_NS = 1_000_000_000;

/** Fills what the operator left out with the values that hold then: for `inspect`, not for storing. */
export function withDefaults(spec: ServiceSpec): ServiceSpec {
  const isJob = spec.mode?.$case === 'replicatedJob' || spec.mode?.$case === 'globalJob';
  const task = spec.task ?? taskSpec.decode(undefined, '');
  const container = task.container;
  const filled: ServiceSpec = {
    ...spec,
    task: {
      ...task,
      container: container && {
        ...container,
        stopGracePeriodNs: container.stopGracePeriodNs ?? 10 * SECOND_NS,
        dns: container.dns ?? { nameservers: [], search: [], options: [] },
      },
      restart: {
        condition: task.restart?.condition || (isJob ? 'on-failure' : 'any'),
        delayNs: task.restart?.delayNs ?? 5 * SECOND_NS,
        maxAttempts: task.restart?.maxAttempts ?? 0,
        windowNs: task.restart?.windowNs,
      },
      resources: task.resources ?? { limits: undefined, reservations: undefined },
      placement: task.placement ?? {
        constraints: [],
        spreadOver: [],
        maxReplicasPerNode: 0,
        platforms: [],
      },
    },
    endpoint: { mode: spec.endpoint?.mode || 'vip', ports: spec.endpoint?.ports ?? [] },
  };
  if (isJob) return filled; // a job is never rolled
  return { ...filled, update: filledUpdate(spec.update), rollback: filledUpdate(spec.rollback) };
}

function filledUpdate(config: UpdateConfig | undefined): UpdateConfig {
  return {
    parallelism: config?.parallelism ?? 1,
    delayNs: config?.delayNs ?? 0,
    failureAction: config?.failureAction || 'pause',
    monitorNs: config?.monitorNs ?? 5 * SECOND_NS,
    maxFailureRatio: config?.maxFailureRatio ?? 0,
    order: config?.order || 'stop-first',
  };
}

/** A service as `GET /services/{id}` shows it. */
export function serviceJson(service: Service, insertDefaults = false): Record<string, unknown> {
  const spec = service.spec ?? serviceSpec.decode(undefined, '');
  return {
    ...metaFields(service),
    Spec: serviceSpec.encode(insertDefaults ? withDefaults(spec) : spec),
    ...(service.previousSpec && { PreviousSpec: serviceSpec.encode(service.previousSpec) }),
    Endpoint: endpointJson(service.endpoint, spec.endpoint),
    ...(service.updateStatus && { UpdateStatus: updateStatusJson(service.updateStatus) }),
    // Not an object of its own in Docker's API, so that clients that know it can say why.
    ...(service.allocationError !== '' && { AllocationError: service.allocationError }),
  };
}

function endpointJson(endpoint: ServiceEndpoint | undefined, spec: EndpointSpec | undefined) {
  return {
    Spec: spec === undefined ? {} : endpointSpec.encode(spec),
    ...(endpoint &&
      endpoint.ports.length > 0 && { Ports: endpoint.ports.map((p) => portConfig.encode(p)) }),
    ...(endpoint &&
      endpoint.virtualIps.length > 0 && {
        VirtualIPs: endpoint.virtualIps.map(({ networkId, address }) => ({
          NetworkID: networkId,
          ...(address !== '' && { Addr: address }),
        })),
      }),
  };
}

function updateStatusJson(status: UpdateStatus) {
  return {
    State: status.state,
    ...(status.startedAtMs > 0 && { StartedAt: rfc3339(status.startedAtMs) }),
    ...(status.completedAtMs > 0 && { CompletedAt: rfc3339(status.completedAtMs) }),
    Message: status.message,
  };
}
