// Goal: what a node is told by changes is what a complete recomputation would tell it, whatever the
// store does. Method: random transactions on a small store; after each of them a mirror per node is
// brought up to date by touched keys only, and compared with the items of an index built anew.
import test from 'ava';
import fc from 'fast-check';
import { AssignmentIndex } from '../../../manager/dispatcher/assignments.ts';
import { keyOf } from '../../../manager/dispatcher/items.ts';
import { Store } from '../../../manager/store/store.ts';
import { createAction, removeAction, updateAction } from '../../../manager/store/tables.ts';
import type { TableName, Tables } from '../../../manager/store/types.ts';
import type { AutoscaleSpec } from '../../../shared/gen/shoal/v1/autoscale.ts';
import { AssignmentChange, type AssignmentItem } from '../../../shared/gen/shoal/v1/dispatcher.ts';
import {
  type Node,
  NodeState,
  type Service,
  type Task,
  TaskState,
} from '../../../shared/gen/shoal/v1/objects.ts';
import { sameValue } from '../../../shared/model/equal.ts';
import {
  configFixture,
  networkFixture,
  nodeFixture,
  secretFixture,
  serviceFixture,
  taskFixture,
} from '../../support/objects.ts';
import { applyDirect } from '../../support/store.ts';
import type { MessageInitShape } from '../../support/types.ts';

const NODES = ['n1', 'n2', 'n3'];
const NETWORKS = ['a', 'b', 'ingress'];
const SERVICES = ['s1', 's2'];

/** Measured in other ways, and not at all. */
const AUTOSCALE = [
  { max: 3 },
  { max: 3, min: 0, metrics: [{ kind: { $case: 'requests' as const, value: { perReplica: 5 } } }] },
  { max: 3, metrics: [{ kind: { $case: 'http' as const, value: { url: 'http://x' } } }] },
  { max: 3, mode: 'off' },
];

type Mirror = Map<string, AssignmentItem>;

/** Status and version of a task are sent as they are, but a change of them alone is not told. */
function comparable(item: AssignmentItem | undefined): unknown {
  if (item?.item?.$case !== 'task') return item;
  return { ...item.item.value, status: undefined, meta: undefined };
}

function whole(index: AssignmentIndex, nodeId: string): Mirror {
  const mirror: Mirror = new Map();
  for (const key of index.keysOf(nodeId)) {
    const item = index.item(nodeId, key);
    if (item !== undefined) mirror.set(key, item);
  }
  return mirror;
}

const silent = { touch: () => undefined, touchAll: () => undefined };

const taskArbitrary = fc.record({
  id: fc.constantFrom('t1', 't2', 't3', 't4', 't5'),
  nodeId: fc.constantFrom('', ...NODES),
  serviceId: fc.constantFrom(...SERVICES),
  state: fc.constantFrom(
    TaskState.PENDING,
    TaskState.ASSIGNED,
    TaskState.RUNNING,
    TaskState.COMPLETE,
    TaskState.FAILED,
  ),
  desired: fc.constantFrom(TaskState.RUNNING, TaskState.SHUTDOWN, TaskState.REMOVE),
  healthy: fc.boolean(),
  networks: fc.subarray(NETWORKS),
  secrets: fc.subarray(['x', 'y']),
  configs: fc.subarray(['p', 'q']),
});

const stepArbitrary = fc.oneof(
  fc.record({ kind: fc.constant('task' as const), put: taskArbitrary }),
  fc.record({
    kind: fc.constant('node' as const),
    id: fc.constantFrom(...NODES),
    state: fc.constantFrom(NodeState.READY, NodeState.DOWN),
    address: fc.constantFrom('', '10.0.0.1', '10.0.0.2'),
  }),
  fc.record({
    kind: fc.constant('service' as const),
    id: fc.constantFrom(...SERVICES),
    vips: fc.subarray(NETWORKS),
    alias: fc.constantFrom('one', 'two'),
    autoscale: fc.constantFrom(undefined, ...AUTOSCALE),
  }),
  fc.record({
    kind: fc.constant('network' as const),
    id: fc.constantFrom(...NETWORKS),
    vni: fc.integer({ min: 4096, max: 4100 }),
  }),
  fc.record({
    kind: fc.constantFrom('secret' as const, 'config' as const),
    id: fc.constantFrom('x', 'y', 'p', 'q'),
    label: fc.constantFrom('1', '2'),
  }),
  fc.record({
    kind: fc.constant('remove' as const),
    table: fc.constantFrom<TableName>('task', 'service', 'network', 'secret', 'config', 'node'),
    pick: fc.nat(),
  }),
);
type Step = typeof stepArbitrary extends fc.Arbitrary<infer T> ? T : never;

function put<K extends TableName>(store: Store, table: K, object: Tables[K]) {
  const present = store.get(table, object.id);
  if (present === undefined) return createAction(table, object);
  return updateAction(table, { ...object, meta: present.meta });
}

function actionOf(store: Store, step: Step) {
  switch (step.kind) {
    case 'task': {
      const { put: want } = step;
      const present = store.get('task', want.id);
      // The store holds tasks to moving forward and staying on their node.
      const state = Math.max(want.state, present?.status?.state ?? 0) as TaskState;
      const desiredState = Math.max(want.desired, present?.desiredState ?? 0) as TaskState;
      const task = taskFixture({
        id: want.id,
        nodeId: present?.nodeId || want.nodeId,
        serviceId: want.serviceId,
        serviceName: want.serviceId,
        desiredState,
        status: { state, healthy: want.healthy },
        networks: want.networks.map((networkId) => ({
          networkId,
          addresses: [`10.0.0.${want.id.slice(1)}/24`],
        })),
        spec: {
          container: {
            image: 'web:1',
            secrets: want.secrets.map((secretId) => ({ secretId })),
            configs: want.configs.map((configId) => ({ configId })),
          },
        },
      });
      return put(store, 'task', task);
    }
    case 'node': {
      const description = { hostname: step.id, dataPathAddress: step.address, overlayMtu: 1450 };
      return put(
        store,
        'node',
        nodeFixture({ id: step.id, description, status: { state: step.state } }),
      );
    }
    case 'service': {
      const endpoint = {
        ports: [{ protocol: 'tcp', targetPort: 80, publishedPort: 8080, publishMode: 'ingress' }],
        virtualIps: step.vips.map((networkId) => ({ networkId, address: '10.0.0.99/24' })),
      };
      const spec = {
        name: step.id,
        task: { networks: [{ target: 'a', aliases: [step.alias] }] },
        ...(step.autoscale && { autoscale: step.autoscale }),
      };
      return put(store, 'service', serviceFixture({ id: step.id, endpoint, spec }));
    }
    case 'network': {
      const spec = { name: step.id, driver: 'overlay', ingress: step.id === 'ingress' };
      return put(store, 'network', networkFixture({ id: step.id, vni: step.vni, spec }));
    }
    case 'secret':
    case 'config': {
      const spec = { name: step.id, labels: { v: step.label }, data: Buffer.from('d') };
      if (step.kind === 'secret') return put(store, 'secret', secretFixture({ id: step.id, spec }));
      return put(store, 'config', configFixture({ id: step.id, spec }));
    }
    case 'remove': {
      const all = [...store.all(step.table)];
      const victim = all[step.pick % Math.max(1, all.length)];
      return victim === undefined ? undefined : removeAction(step.table, victim.id);
    }
  }
}

test('what a node is told by changes is what a complete set would say', (t) => {
  const rounds = fc.array(fc.array(stepArbitrary, { minLength: 1, maxLength: 4 }), {
    maxLength: 25,
  });
  fc.assert(
    fc.property(rounds, (steps) => {
      const store = new Store();
      const touched = new Map(NODES.map((id) => [id, new Set<string>()]));
      const index = new AssignmentIndex(store, {
        touch: (nodeId, key) => touched.get(nodeId)?.add(key),
        touchAll: (key) => {
          for (const keys of touched.values()) keys.add(key);
        },
      });
      store.onCommit((batch) => index.apply(batch));
      const mirrors = new Map(NODES.map((id): [string, Mirror] => [id, new Map()]));
      for (const round of steps) {
        const byObject = new Map<string, ReturnType<typeof actionOf>>();
        for (const step of round) {
          const action = actionOf(store, step);
          const value = action?.action?.value as { kind?: { value?: { id: string } }; id?: string };
          // One change per object and transaction, as the store wants it.
          if (action !== undefined) byObject.set(value.kind?.value?.id ?? value.id ?? '', action);
        }
        applyDirect(
          store,
          [...byObject.values()].filter((action) => action !== undefined),
        );
        for (const [nodeId, keys] of touched) {
          const mirror = mirrors.get(nodeId) ?? new Map();
          for (const key of keys) {
            const item = index.item(nodeId, key);
            if (item === undefined) mirror.delete(key);
            else mirror.set(key, item);
          }
          keys.clear();
          const fresh = whole(new AssignmentIndex(store, silent), nodeId);
          t.deepEqual([...mirror.keys()].sort(), [...fresh.keys()].sort());
          for (const [key, item] of fresh) {
            t.deepEqual(comparable(mirror.get(key)), comparable(item), key);
            const bytes = index.encodedChange(nodeId, key) ?? new Uint8Array();
            const item2 = AssignmentChange.decode(bytes).item;
            // What was encoded for another session, or before, must not be what was.
            t.true(sameValue(comparable(item2), comparable(item)), `${key} is encoded as it is`);
          }
          t.deepEqual(new Map([...whole(index, nodeId)].sort()), new Map([...fresh].sort()));
        }
      }
    }),
    { numRuns: 150, seed: 7 },
  );
  t.pass();
});

function indexOf(objects: {
  nodes?: Node[];
  tasks?: Task[];
  services?: Service[];
  network?: Parameters<typeof networkFixture>[0];
}) {
  const store = new Store();
  const touches: string[] = [];
  const network = networkFixture({ id: 'net', ...objects.network });
  applyDirect(store, [
    createAction('network', network),
    ...(objects.nodes ?? []).map((node) => createAction('node', node)),
    ...(objects.services ?? []).map((service) => createAction('service', service)),
    ...(objects.tasks ?? []).map((task) => createAction('task', task)),
  ]);
  const index = new AssignmentIndex(store, {
    touch: (nodeId, key) => touches.push(`${nodeId} ${key}`),
    touchAll: (key) => touches.push(`* ${key}`),
  });
  store.onCommit((batch) => index.apply(batch));
  return { store, index, touches };
}

function running(fields: Parameters<typeof taskFixture>[0]): Task {
  return taskFixture({
    serviceName: 'web',
    serviceId: 'svc',
    status: { state: TaskState.RUNNING, healthy: true },
    networks: [{ networkId: 'net', addresses: ['10.0.0.5/24'] }],
    ...fields,
  });
}

const READINESS: readonly [string, Partial<Task>, NodeState, boolean | undefined][] = [
  ['runs and is healthy', {}, NodeState.READY, true],
  ['is on a node not heard of yet', {}, NodeState.UNKNOWN, true],
  ['is on a node that is down', {}, NodeState.DOWN, false],
  ['shall stop', { desiredState: TaskState.SHUTDOWN }, NodeState.READY, false],
  ['shall be removed', { desiredState: TaskState.REMOVE }, NodeState.READY, false],
];
for (const [what, fields, state, ready] of READINESS) {
  test(`an endpoint whose task ${what} has ready ${ready}`, (t) => {
    const { index } = indexOf({
      nodes: [nodeFixture({ id: 'n1', status: { state } })],
      tasks: [running({ id: 't1', nodeId: 'n1', ...fields })],
    });
    const item = index.item('n1', keyOf.endpoint('net', 't1'));
    t.is(item?.item?.$case === 'endpoint' ? item.item.value.ready : undefined, ready);
  });
}

for (const state of [TaskState.ASSIGNED, TaskState.STARTING, TaskState.RUNNING]) {
  test(`an unhealthy or unstarted task in state ${state} keeps its endpoint, not ready`, (t) => {
    const { index } = indexOf({
      nodes: [nodeFixture({ id: 'n1' })],
      tasks: [running({ id: 't1', nodeId: 'n1', status: { state, healthy: false } })],
    });
    t.deepEqual(index.item('n1', 'endpoint/net/t1')?.item?.value, {
      networkId: 'net',
      taskId: 't1',
      serviceId: 'svc',
      nodeId: 'n1',
      address: '10.0.0.5',
      name: 'web.1.t1',
      ready: false,
    });
  });
}

test('a task that has ended stays known to its node without what it needed; one not assigned yet is nobody’s business', (t) => {
  const { index } = indexOf({
    nodes: [nodeFixture({ id: 'n1' })],
    tasks: [
      running({
        id: 't1',
        nodeId: 'n1',
        networks: [{ networkId: 'net', addresses: ['10.0.0.5/24'], aliases: [] }],
        status: { state: TaskState.FAILED },
      }),
      running({ id: 't2', nodeId: 'n1', slot: 0, status: { state: TaskState.PENDING } }),
    ],
  });
  t.deepEqual([...whole(index, 'n1').keys()], ['task/t1']);
});

test('a status that only repeats what the node said is not sent back to it', (t) => {
  const task = running({ id: 't1', nodeId: 'n1' });
  const { store, touches } = indexOf({ nodes: [nodeFixture({ id: 'n1' })], tasks: [task] });
  const stored = store.get('task', 't1');
  if (stored === undefined) throw new Error('no task');
  applyDirect(store, [
    updateAction('task', {
      ...stored,
      status: { ...running({}).status, message: 'still going' } as Task['status'],
    }),
  ]);
  t.deepEqual(touches, []);
});

test('a node sees the secrets of its own tasks and of no others', (t) => {
  const { store, index } = indexOf({
    nodes: [nodeFixture({ id: 'n1' }), nodeFixture({ id: 'n2' })],
    tasks: [
      running({
        id: 't1',
        nodeId: 'n1',
        spec: { container: { image: 'i', secrets: [{ secretId: 'mine' }] } },
      }),
      running({ id: 't2', nodeId: 'n2' }),
    ],
  });
  applyDirect(store, [createAction('secret', secretFixture({ id: 'mine' }))]);
  t.is(index.item('n1', 'secret/mine')?.item?.$case, 'secret');
  t.is(index.item('n2', 'secret/mine'), undefined);
  t.is(index.encodedChange('n2', 'secret/mine'), undefined);
  t.is(index.item('n2', 'task/t1'), undefined);
  t.false([...index.keysOf('n2')].includes('secret/mine'));
});

test('every node follows the ingress network, and only there a VIP has ports', (t) => {
  const ports = [
    { name: '', protocol: 'tcp', targetPort: 80, publishedPort: 30001, publishMode: 'ingress' },
    { name: '', protocol: 'tcp', targetPort: 81, publishedPort: 0, publishMode: 'ingress' },
    { name: '', protocol: 'tcp', targetPort: 82, publishedPort: 82, publishMode: 'host' },
  ];
  const service = serviceFixture({
    id: 'svc',
    spec: { name: 'web' },
    endpoint: { ports, virtualIps: [{ networkId: 'net', address: '10.0.0.2/24' }] },
  });
  const ingress = indexOf({
    network: { spec: { name: 'ingress', driver: 'overlay', ingress: true } },
    nodes: [nodeFixture({ id: 'n1' }), nodeFixture({ id: 'n2' })],
    services: [service],
    tasks: [running({ id: 't1', nodeId: 'n1' })],
  });
  t.deepEqual(
    [...whole(ingress.index, 'n2').keys()].sort(),
    ['endpoint/net/t1', 'host/n1', 'host/n2', 'network/net', 'vip/net/svc'].sort(),
  );
  t.like(ingress.index.item('n2', 'vip/net/svc')?.item?.value, {
    address: '10.0.0.2',
    ports: [ports[0]],
  });
  const plain = indexOf({
    nodes: [nodeFixture({ id: 'n1' })],
    services: [service],
    tasks: [running({ id: 't1', nodeId: 'n1' })],
  });
  t.like(plain.index.item('n1', 'vip/net/svc')?.item?.value, { ports: [] });
});

test('a change of one task touches one key for each node on its network', (t) => {
  const nodes = ['n1', 'n2', 'n3'].map((id) => nodeFixture({ id }));
  const tasks = Array.from({ length: 60 }, (_, i) =>
    running({ id: `t${i}`, nodeId: `n${(i % 2) + 1}` }),
  );
  const { store, touches } = indexOf({ nodes, tasks });
  const stored = store.get('task', 't0');
  if (stored === undefined) throw new Error('no task');
  applyDirect(store, [updateAction('task', { ...stored, desiredState: TaskState.SHUTDOWN })]);
  t.deepEqual(touches.sort(), ['n1 endpoint/net/t0', 'n1 task/t0', 'n2 endpoint/net/t0']);
});

test('followers() names the nodes that are shown a network’s endpoints', (t) => {
  const store = new Store();
  const on = (id: string, nodeId: string, networkIds: readonly string[]) =>
    taskFixture({
      id,
      nodeId,
      status: { state: TaskState.RUNNING },
      networks: networkIds.map((networkId) => ({ networkId, addresses: ['10.0.0.2/24'] })),
    });
  const mesh = networkFixture({ id: 'ingress' });
  const { spec } = mesh;
  applyDirect(store, [
    ...NODES.map((id) => createAction('node', nodeFixture({ id }))),
    createAction('network', networkFixture({ id: 'a' })),
    createAction('network', { ...mesh, spec: spec && { ...spec, ingress: true } }),
    createAction('task', on('t1', 'n1', ['a'])),
    createAction('task', on('t2', 'n2', ['b'])),
  ]);
  const index = new AssignmentIndex(store, silent);
  t.deepEqual([...index.followers(['a'])], ['n1']);
  t.deepEqual([...index.followers(['a', 'b'])].sort(), ['n1', 'n2']);
  t.deepEqual([...index.followers(['nobody'])], []);
  t.deepEqual([...index.followers(['a', 'ingress'])].sort(), NODES, 'all serve published ports');
});

test('the nodes of a service that follows its load measure what its metrics need', (t) => {
  const service = serviceFixture({ id: 'svc', spec: { name: 'web' } });
  const tasks = [running({ id: 't1', nodeId: 'n1' }), running({ id: 't2', nodeId: 'n2' })];
  const { store, index, touches } = indexOf({ services: [service], tasks });
  const scale = (autoscale: MessageInitShape<typeof AutoscaleSpec> | undefined) => {
    touches.length = 0;
    const { id } = service;
    const spec = { name: 'web', ...(autoscale && { autoscale }) };
    applyDirect(store, [put(store, 'service', serviceFixture({ id, spec }))]);
  };
  const item = (nodeId: string) => index.item(nodeId, 'sampling/svc')?.item?.value;
  scale({ max: 3, mode: 'recommend' });
  t.deepEqual(touches, ['n1 sampling/svc', 'n2 sampling/svc']);
  t.deepEqual(item('n1'), { serviceId: 'svc', resources: true, requests: false });
  t.is(item('n3'), undefined);
  scale({ max: 3, metrics: [{ kind: { $case: 'connections', value: { perReplica: 5 } } }] });
  t.deepEqual(touches, ['n1 sampling/svc', 'n2 sampling/svc']);
  t.deepEqual(item('n2'), { serviceId: 'svc', resources: false, requests: true });
  touches.length = 0;
  const ended = { state: TaskState.COMPLETE, healthy: false };
  const stored = store.get('task', 't1');
  applyDirect(store, [put(store, 'task', running({ ...stored, status: ended }))]);
  t.true(touches.includes('n1 sampling/svc'));
  t.is(item('n1'), undefined);
  scale(undefined);
  t.deepEqual(touches, ['n2 sampling/svc']);
  t.is(item('n2'), undefined);
});

test('connections are held for a service that may go to none, as long as it may', (t) => {
  const service = (autoscale: MessageInitShape<typeof AutoscaleSpec> | undefined) =>
    serviceFixture({
      id: 'svc',
      endpoint: { virtualIps: [{ networkId: 'net', address: '10.0.0.2/24' }] },
      spec: { name: 'web', ...(autoscale && { autoscale }) },
    });
  const { store, index, touches } = indexOf({
    services: [service(undefined)],
    tasks: [running({ id: 't1', nodeId: 'n1' })],
  });
  const after = (autoscale: MessageInitShape<typeof AutoscaleSpec> | undefined) => {
    touches.length = 0;
    applyDirect(store, [put(store, 'service', service(autoscale))]);
    const item = index.item('n1', 'vip/net/svc')?.item;
    const hold = item?.$case === 'vip' ? item.value.hold : undefined;
    return { hold, isTold: touches.includes('n1 vip/net/svc') };
  };
  t.deepEqual(after({ max: 3, min: 0 }), { hold: true, isTold: true });
  t.deepEqual(after({ max: 4, min: 0 }), { hold: true, isTold: false });
  t.deepEqual(after({ max: 4, min: 1 }), { hold: false, isTold: true });
  t.deepEqual(after({ max: 4, min: 0, mode: 'recommend' }), { hold: false, isTold: false });
  t.deepEqual(after({ max: 4, min: 0, mode: 'active' }), { hold: true, isTold: true });
  t.deepEqual(after(undefined), { hold: false, isTold: true });
});
