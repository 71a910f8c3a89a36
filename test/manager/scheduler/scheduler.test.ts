import test from 'ava';
import { runScheduler } from '../../../manager/scheduler/runner.ts';
import {
  createAction,
  taskDesiredStateAction,
  taskStatusAction,
  updateAction,
} from '../../../manager/store/tables.ts';
import {
  NodeAvailability,
  NodeState,
  type Service,
  type Task,
  TaskState,
} from '../../../shared/gen/shoal/v1/objects.ts';
import { silentLog } from '../../../shared/log.ts';
import { nodeFixture, serviceFixture, taskOf, taskSpecFixture } from '../../support/objects.ts';
import { storeFixture } from '../../support/store.ts';

const pending = (service: Service, fields: object = {}) =>
  taskOf(service, {
    status: { state: TaskState.PENDING, message: 'pending task scheduling' },
    ...fields,
  });
const nodes = (count: number) =>
  Array.from({ length: count }, (_, i) => nodeFixture({ id: `n${i}` }));

async function scheduling(objects: Parameters<typeof storeFixture>[0]) {
  const fixture = await storeFixture(objects);
  const { store, writer, clock, random } = fixture;
  const stop = new AbortController();
  const ended = runScheduler({ store, writer, clock, random, log: silentLog }, stop.signal);
  return {
    ...fixture,
    rest: () => clock.advance(100),
    task: (id: string) => store.get('task', id) as Task,
    report: (id: string, state: TaskState) => {
      const status = store.get('task', id)?.status;
      return writer.write(status ? [taskStatusAction(id, { ...status, state })] : []);
    },
    stop: async () => {
      stop.abort();
      await ended;
    },
  };
}

test('pending tasks are assigned in one entry, others are left alone', async (t) => {
  const service = serviceFixture();
  const waiting = [1, 2, 3].map((slot) => pending(service, { slot }));
  const fresh = taskOf(service, { slot: 4 });
  const stopped = pending(service, { slot: 5, desiredState: TaskState.SHUTDOWN });
  const { rest, task, stop, consensus } = await scheduling({
    node: nodes(3),
    task: [...waiting, fresh, stopped],
  });
  const before = consensus.entries.length;
  await rest();
  t.is(consensus.entries.length - before, 1);
  t.deepEqual(
    waiting.map(({ id }) => task(id).nodeId),
    ['n0', 'n1', 'n2'],
  );
  const { status } = task(waiting[0]?.id ?? '');
  t.is(status?.state, TaskState.ASSIGNED);
  t.is(status?.message, 'scheduler assigned task to node');
  t.deepEqual([task(fresh.id).nodeId, task(stopped.id).nodeId], ['', '']);
  await stop();
});

test('tasks that come later see what earlier ones took, until those end', async (t) => {
  const spec = {
    task: taskSpecFixture({ resources: { reservations: { memoryBytes: 5 * 1024 ** 3 } } }),
  };
  const service = serviceFixture({ spec });
  const [one, two] = [pending(service, { slot: 1 }), pending(service, { slot: 2 })];
  const { rest, task, stop, writer, report } = await scheduling({ node: nodes(1), task: [one] });
  await rest();
  await writer.write([createAction('task', two)]);
  await rest();
  t.is(task(two.id).status?.err, 'no suitable node (insufficient resources on 1 node)');
  await writer.write([taskDesiredStateAction(one.id, TaskState.SHUTDOWN)]);
  await rest();
  t.is(task(two.id).nodeId, '', 'a task that is stopping still takes its memory');
  await report(one.id, TaskState.SHUTDOWN);
  await rest();
  t.is(task(two.id).nodeId, 'n0');
  t.is(task(two.id).status?.err, '');
  await stop();
});

test('why a task waits is written once, and again only when the reason changed', async (t) => {
  const service = serviceFixture();
  const one = pending(service);
  const down = nodeFixture({ id: 'a', status: { state: NodeState.DOWN, address: '' } });
  const { rest, task, stop, writer, consensus, clock } = await scheduling({
    node: [down],
    task: [one],
  });
  await rest();
  t.is(task(one.id).status?.err, 'no suitable node (1 node not available for new tasks)');
  const before = consensus.entries.length;
  await clock.advance(10_000);
  t.is(consensus.entries.length, before);
  const other = nodeFixture({ id: 'b', spec: { role: 0, availability: NodeAvailability.PAUSE } });
  await writer.write([createAction('node', other)]);
  await clock.advance(2000);
  t.is(task(one.id).status?.err, 'no suitable node (2 nodes not available for new tasks)');
  t.is(consensus.entries.length, before + 2);
  const spec = { name: '', labels: {}, role: 0 as const, availability: NodeAvailability.ACTIVE };
  const stored = { ...other, meta: { version: before + 1, createdAtMs: 0, updatedAtMs: 0 }, spec };
  await writer.write([updateAction('node', stored)]);
  await rest();
  t.is(task(one.id).nodeId, 'b');
  await stop();
});

test('tasks bound to a node wait for that node', async (t) => {
  const service = serviceFixture({ spec: { mode: { $case: 'global', value: {} } } });
  const tasks = ['n0', 'n1'].map((nodeId) => pending(service, { slot: 0, nodeId }));
  const down = nodeFixture({ id: 'n1', status: { state: NodeState.DOWN, address: '' } });
  const { rest, task, stop, store, writer } = await scheduling({
    node: [nodeFixture({ id: 'n0' }), down],
    task: tasks,
  });
  await rest();
  const states = () => tasks.map(({ id }) => task(id).status?.state);
  t.deepEqual(states(), [TaskState.ASSIGNED, TaskState.PENDING]);
  const node = store.get('node', 'n1');
  const status = { state: NodeState.READY, message: '', address: '' };
  if (node) await writer.write([updateAction('node', { ...node, status })]);
  await rest();
  t.deepEqual(states(), [TaskState.ASSIGNED, TaskState.ASSIGNED]);
  await stop();
});

test('a node where tasks of a version failed five times gets them last', async (t) => {
  const service = serviceFixture();
  const failed = Array.from({ length: 5 }, () =>
    taskOf(service, {
      nodeId: 'n0',
      status: { state: TaskState.FAILED, atMs: Date.UTC(2026, 0, 1) },
    }),
  );
  const first = [1, 2].map((slot) => pending(service, { slot }));
  const { rest, task, stop, writer, clock } = await scheduling({
    node: nodes(2),
    task: [...failed, ...first],
  });
  await rest();
  t.deepEqual(
    first.map(({ id }) => task(id).nodeId),
    ['n1', 'n1'],
  );
  await clock.advance(5 * 60_000);
  const later = pending(service, { slot: 3 });
  await writer.write([createAction('task', later)]);
  await rest();
  t.is(task(later.id).nodeId, 'n0', 'forgotten after five minutes');
  await stop();
});

test('a round is a slice: thousands of tasks of one service are all assigned, evenly', async (t) => {
  const service = serviceFixture();
  const tasks = Array.from({ length: 6000 }, (_, i) => pending(service, { slot: i + 1 }));
  const fixture = await scheduling({ node: nodes(4) });
  for (let at = 0; at < tasks.length; at += 1000) {
    const batch = tasks.slice(at, at + 1000);
    await fixture.writer.write(batch.map((task) => createAction('task', task)));
  }
  await fixture.clock.advance(1000);
  const counts = Map.groupBy(tasks, ({ id }) => fixture.task(id).nodeId);
  t.deepEqual(
    [...counts.values()].map((list) => list.length),
    [1500, 1500, 1500, 1500],
  );
  await fixture.stop();
});

test('tasks that nobody can place are all told why, also beyond a slice', async (t) => {
  const service = serviceFixture({
    spec: { task: taskSpecFixture({ placement: { constraints: ['node.labels.zone==b'] } }) },
  });
  const tasks = Array.from({ length: 6000 }, (_, i) => pending(service, { slot: i + 1 }));
  const fixture = await scheduling({ node: nodes(1) });
  for (let at = 0; at < tasks.length; at += 1000) {
    const batch = tasks.slice(at, at + 1000);
    await fixture.writer.write(batch.map((task) => createAction('task', task)));
  }
  await fixture.clock.advance(1000);
  const err = 'no suitable node (scheduling constraints not satisfied on 1 node)';
  t.true(tasks.every(({ id }) => fixture.task(id).status?.err === err));
  await fixture.stop();
});
