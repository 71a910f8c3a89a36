import test from 'ava';
import { createAction, removeAction, updateAction } from '../../../manager/store/tables.ts';
import { ListChunk, type ListRequest } from '../../../shared/gen/shoal/v1/control.ts';
import { NodeRole, NodeState, TaskState } from '../../../shared/gen/shoal/v1/objects.ts';
import { controlFixture, idOf } from '../../support/control.ts';
import {
  configFixture,
  nodeFixture,
  secretFixture,
  serviceFixture,
  taskFixture,
  taskOf,
} from '../../support/objects.ts';

const services = [
  serviceFixture({ id: 'aa1', spec: { name: 'web', labels: { tier: 'front', x: '' } } }),
  serviceFixture({ id: 'ab2', spec: { name: 'web-admin', labels: { tier: 'back' } } }),
  serviceFixture({
    id: 'b3',
    spec: { name: 'agent', mode: { $case: 'global', value: {} } },
  }),
];

const cases: [Partial<ListRequest>, string[]][] = [
  [{}, ['aa1', 'ab2', 'b3']],
  [{ ids: ['a'] }, ['aa1', 'ab2']],
  [{ ids: ['aa', 'b'] }, ['aa1', 'b3']],
  [{ names: ['web'] }, ['aa1', 'ab2']],
  [{ exactNames: ['web'] }, ['aa1']],
  [{ labels: ['tier'] }, ['aa1', 'ab2']],
  [{ labels: ['tier=back'] }, ['ab2']],
  [{ labels: ['tier=front', 'x='] }, ['aa1']],
  [{ labels: ['tier', 'tier=none'] }, []],
  [{ labels: ['constructor'] }, []],
  [{ modes: ['global'] }, ['b3']],
  [{ modes: ['replicated'], names: ['web-'] }, ['ab2']],
  [{ modes: ['replicated-job'] }, []],
];
for (const [filters, expected] of cases) {
  test(`services are listed by ${JSON.stringify(filters)}`, async (t) => {
    const { list } = await controlFixture({ service: services });
    t.deepEqual((await list('service', filters)).objects.map(idOf), expected);
  });
}

test('tasks are listed by service, node, desired state and name', async (t) => {
  const [web] = services;
  if (web === undefined) return t.fail();
  const task = [
    taskOf(web, { id: 't1', nodeId: 'n1', slot: 1 }),
    taskOf(web, { id: 't2', nodeId: 'n2', slot: 2, desiredState: TaskState.SHUTDOWN }),
    taskFixture({ id: 't3', nodeId: 'n1', serviceId: 'other' }),
  ];
  const { list } = await controlFixture({ service: services, task });
  const ids = async (filters: Partial<ListRequest>) =>
    (await list('task', filters)).objects.map(idOf);
  t.deepEqual(await ids({ serviceIds: [web.id] }), ['t1', 't2']);
  t.deepEqual(await ids({ nodeIds: ['n1'] }), ['t1', 't3']);
  t.deepEqual(await ids({ serviceIds: [web.id, web.id], nodeIds: ['n1'] }), ['t1']);
  t.deepEqual(await ids({ desiredStates: [TaskState.SHUTDOWN] }), ['t2']);
  t.deepEqual(await ids({ names: ['web.2'] }), ['t2']);
  t.deepEqual(await ids({ exactNames: ['web.1.t1'] }), ['t1']);
  t.deepEqual(await ids({ labels: ['tier=front'] }), ['t1', 't2']);
});

test('up-to-date tasks are those of the present spec, or of one that asks for the same', async (t) => {
  const service = serviceFixture({
    specVersion: 3,
    spec: {
      task: { container: { image: 'web:2' }, placement: { constraints: ['node.role==worker'] } },
    },
  });
  const made = (id: string, specVersion: number, image: string) =>
    taskOf(service, { id, specVersion, spec: { container: { image } } });
  const task = [
    made('t1', 3, 'web:2'),
    made('t2', 2, 'web:1'),
    made('t3', 2, 'web:2'), // differs by the constraint only: kept where its node meets it
    made('t4', 4, 'web:2'), // made by a leader that knows more than this replica
    taskFixture({ id: 't5', serviceId: 'gone' }),
  ];
  const { list } = await controlFixture({ service: [service], task });
  const { objects } = await list('task', { upToDate: true });
  t.deepEqual(objects.map(idOf), ['t1', 't3', 't4']);
});

test('nodes are listed by role, hostname, labels of the node and of the engine', async (t) => {
  const node = [
    nodeFixture({ id: 'n1', spec: { role: NodeRole.MANAGER, labels: { zone: 'a' } } }),
    nodeFixture({
      id: 'n2',
      description: { hostname: 'worker-2', engineLabels: { disk: 'ssd' } },
    }),
  ];
  const { list } = await controlFixture({ node });
  const ids = async (filters: Partial<ListRequest>) =>
    (await list('node', filters)).objects.map(idOf);
  t.deepEqual(await ids({ roles: [NodeRole.MANAGER] }), ['n1']);
  t.deepEqual(await ids({ names: ['worker'] }), ['n2']);
  t.deepEqual(await ids({ nodeLabels: ['zone=a'] }), ['n1']);
  t.deepEqual(await ids({ labels: ['disk'] }), ['n2']);
});

test('a filter that a kind does not know is refused', async (t) => {
  const { list } = await controlFixture();
  await t.throwsAsync(list('service', { nodeIds: ['n1'] }), {
    message: "invalid filter 'nodeIds': it is for task, not for service",
  });
  await t.throwsAsync(list('node', { upToDate: true }), {
    message: "invalid filter 'upToDate': it is for task, not for node",
  });
});

test('service status counts what runs and what shall, and not what a dead host reported', async (t) => {
  const replicated = serviceFixture({
    id: 's1',
    spec: { mode: { $case: 'replicated', value: { replicas: 4 } } },
  });
  const global = serviceFixture({ id: 's2', spec: { mode: { $case: 'global', value: {} } } });
  const node = [
    nodeFixture({ id: 'up' }),
    nodeFixture({ id: 'down', status: { state: NodeState.DOWN } }),
  ];
  const running = { status: { state: TaskState.RUNNING }, nodeId: 'up' };
  const task = [
    taskOf(replicated, running),
    taskOf(replicated, { ...running, desiredState: TaskState.SHUTDOWN }),
    taskOf(replicated, { ...running, nodeId: 'down' }),
    taskOf(replicated, { status: { state: TaskState.PREPARING }, nodeId: 'up' }),
    taskOf(global, running),
    taskOf(global, { status: { state: TaskState.COMPLETE }, nodeId: 'up' }),
  ];
  const { list } = await controlFixture({ service: [replicated, global], node, task });
  const { serviceStatus } = await list('service', { withStatus: true });
  t.deepEqual(serviceStatus, [
    { runningTasks: 1, desiredTasks: 4, completedTasks: 0 },
    { runningTasks: 1, desiredTasks: 2, completedTasks: 1 },
  ]);
  t.deepEqual((await list('service')).serviceStatus, []);
});

test('a list of 1,000 services with their counts is one pass, in chunks below the limit', async (t) => {
  const { list, chunks, writer, store } = await controlFixture();
  for (let i = 0; i < 10; i++) {
    const actions = Array.from({ length: 100 }, (_, j) => {
      const spec = { name: `s${i}-${j}`, labels: { text: 'x'.repeat(1000) } };
      return createAction('service', serviceFixture({ spec }));
    });
    await writer.write(actions);
  }
  const result = await list('service', { withStatus: true });
  t.is(result.objects.length, 1000);
  t.is(result.index, store.index);
  const messages = [...(await chunks('service', { withStatus: true }))];
  t.true(messages.length > 1);
  for (const bytes of messages) {
    t.true(bytes.length < 600 * 1024);
    const chunk = ListChunk.decode(bytes);
    t.is(chunk.serviceStatus.length, chunk.objects.length);
    t.is(chunk.index, result.index);
  }
  t.deepEqual(
    messages.flatMap((bytes) => ListChunk.decode(bytes).objects),
    result.objects,
  );
});

test('an empty list is one chunk, which tells the index; a large object has its own', async (t) => {
  const { chunks } = await controlFixture({
    config: ['c1', 'c2', 'c3'].map((id) =>
      configFixture({ id, spec: { name: id, data: Buffer.alloc(id === 'c2' ? 900_000 : 10) } }),
    ),
    secret: [secretFixture()],
  });
  t.deepEqual(
    [...(await chunks('service'))].map((bytes) => ListChunk.decode(bytes)),
    [{ objects: [], serviceStatus: [], index: 6 }],
  );
  t.deepEqual(
    [...(await chunks('config'))].map((bytes) => ListChunk.decode(bytes).objects.map(idOf)),
    [['c1'], ['c2'], ['c3']],
  );
});

test('a list that was encoded before shows what has changed since, and no secrets', async (t) => {
  const { chunks, writer, store } = await controlFixture({ service: services });
  const shown = async () =>
    [...(await chunks('service'))].flatMap((bytes) =>
      ListChunk.decode(bytes).objects.map((object) => {
        if (object.kind?.$case !== 'service') return t.fail();
        const { id, spec } = object.kind.value;
        return [id, spec?.labels.tier, spec?.task?.container?.registryAuth];
      }),
    );
  const before = await shown();
  t.deepEqual(await shown(), before);
  const web = store.get('service', 'aa1');
  if (web?.spec === undefined) return t.fail();
  const { spec } = serviceFixture({
    spec: { name: 'web', labels: { tier: 'new' }, task: { container: { registryAuth: 'key' } } },
  });
  await writer.write([updateAction('service', { ...web, spec }), removeAction('service', 'ab2')]);
  t.deepEqual(await shown(), [
    ['aa1', 'new', ''],
    ['b3', undefined, before[2]?.[2]],
  ]);
});
