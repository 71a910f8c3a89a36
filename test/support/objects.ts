// Whole objects with sensible defaults; `fields` replaces any of them (nested objects are merged
// with the generated defaults, not with the fixture's).

import {
  Cluster,
  Config,
  Network,
  Node,
  NodeAvailability,
  NodeRole,
  NodeState,
  Secret,
  Service,
  type ServiceSpec,
  Task,
  TaskSpec,
  TaskState,
} from '../../shared/gen/shoal/v1/objects.ts';
import type { MessageInitShape } from './types.ts';

let counter = 0;

/** A fresh id of 25 characters; `hint` makes failures readable. */
export function fixtureId(hint = 'x'): string {
  counter += 1;
  const tail = counter.toString(36);
  return (hint.replaceAll(/[^0-9a-z]/g, '') + '0'.repeat(25)).slice(0, 25 - tail.length) + tail;
}

/** A ready, active worker with 4 CPUs and 8 GiB. */
export function nodeFixture(fields: Partial<MessageInitShape<typeof Node>> = {}): Node {
  const id = fields.id ?? fixtureId('node');
  return Node.fromPartial({
    id,
    meta: {},
    spec: { role: NodeRole.WORKER, availability: NodeAvailability.ACTIVE },
    description: {
      hostname: `host-${id.slice(-4)}`,
      platform: { architecture: 'x86_64', os: 'linux' },
      resources: { nanoCpus: 4_000_000_000, memoryBytes: 8 * 1024 ** 3 },
      engineVersion: '28.2.2',
      plugins: ['Network/overlay', 'Volume/local', 'Log/json-file'],
      dataPathAddress: '10.0.0.1',
      overlayMtu: 1450,
    },
    status: { state: NodeState.READY, address: '10.0.0.1' },
    certificateRole: NodeRole.WORKER,
    ...fields,
  });
}

export function taskSpecFixture(fields: Partial<MessageInitShape<typeof TaskSpec>> = {}): TaskSpec {
  return TaskSpec.fromPartial({ container: { image: 'web:1' }, ...fields });
}

/** A replicated service of one replica; `spec` is merged into the fixture's. */
export function serviceFixture(
  fields: Omit<Partial<MessageInitShape<typeof Service>>, 'spec'> & {
    spec?: Partial<MessageInitShape<typeof ServiceSpec>>;
  } = {},
): Service {
  const id = fields.id ?? fixtureId('service');
  const { spec, ...rest } = fields;
  return Service.fromPartial({
    id,
    meta: {},
    ...rest,
    spec: {
      name: `service-${id.slice(-4)}`,
      task: taskSpecFixture(),
      mode: { $case: 'replicated', value: { replicas: 1 } },
      ...spec,
    },
  });
}

/** A task that runs on no node yet: NEW, wanted RUNNING, slot 1. */
export function taskFixture(fields: Partial<MessageInitShape<typeof Task>> = {}): Task {
  return Task.fromPartial({
    id: fixtureId('task'),
    meta: {},
    spec: taskSpecFixture(),
    slot: 1,
    desiredState: TaskState.RUNNING,
    status: { state: TaskState.NEW },
    ...fields,
  });
}

/** A task of this service, made from its present spec. */
export function taskOf(
  service: Service,
  fields: Partial<MessageInitShape<typeof Task>> = {},
): Task {
  return taskFixture({
    spec: service.spec?.task ?? taskSpecFixture(),
    specVersion: service.specVersion,
    serviceId: service.id,
    serviceName: service.spec?.name ?? '',
    serviceLabels: service.spec?.labels ?? {},
    ...fields,
  });
}

export function networkFixture(fields: Partial<MessageInitShape<typeof Network>> = {}): Network {
  const id = fields.id ?? fixtureId('network');
  return Network.fromPartial({
    id,
    meta: {},
    spec: { name: `network-${id.slice(-4)}`, driver: 'overlay' },
    ...fields,
  });
}

export function secretFixture(fields: Partial<MessageInitShape<typeof Secret>> = {}): Secret {
  const id = fields.id ?? fixtureId('secret');
  return Secret.fromPartial({
    id,
    meta: {},
    spec: { name: `secret-${id.slice(-4)}`, data: Buffer.from('hush') },
    ...fields,
  });
}

export function configFixture(fields: Partial<MessageInitShape<typeof Config>> = {}): Config {
  const id = fields.id ?? fixtureId('config');
  return Config.fromPartial({
    id,
    meta: {},
    spec: { name: `config-${id.slice(-4)}`, data: Buffer.from('key = value') },
    ...fields,
  });
}

/** Swarm's defaults: pool 10.0.0.0/8 cut in /24, VXLAN port 4789, five tasks of history. */
export function clusterFixture(fields: Partial<MessageInitShape<typeof Cluster>> = {}): Cluster {
  return Cluster.fromPartial({
    id: fixtureId('cluster'),
    meta: {},
    spec: {
      name: 'default',
      taskHistoryLimit: 5,
      dispatcherHeartbeatNs: 1_000_000_000,
      nodeCertExpiryNs: 2160 * 3600 * 1_000_000_000,
    },
    rootCa: { certificatePem: 'CERT', keyPem: 'KEY', workerSecret: 'w', managerSecret: 'm' },
    defaultAddressPools: ['10.0.0.0/8'],
    subnetSize: 24,
    dataPathPort: 4789,
    ...fields,
  });
}
