// Goal: what ends, and what loses its host, is replaced as its policy says: when, how often, where;
// and a new leader takes the same decisions.
// Method: the real loops over the in-memory store with fake hosts and a manual clock.

import test, { type ExecutionContext } from 'ava';
import {
  createAction,
  removeAction,
  taskDesiredStateAction,
  updateAction,
} from '../../../manager/store/tables.ts';
import { type RestartPolicy, type Task, TaskState } from '../../../shared/gen/shoal/v1/objects.ts';
import { isTerminal } from '../../../shared/model/task-state.ts';
import {
  type Behaviour,
  SimulatedCluster,
  type SimulatedClusterOptions,
} from '../../support/leader.ts';
import { serviceFixture, taskSpecFixture } from '../../support/objects.ts';
import { applyDirect } from '../../support/store.ts';

const SECOND = 1_000_000_000;

async function service(
  t: ExecutionContext,
  replicas: number,
  task: Parameters<typeof taskSpecFixture>[0] = {},
  options: SimulatedClusterOptions = {},
) {
  const cluster = await SimulatedCluster.start(options);
  t.teardown(() => cluster.stopLeading());
  const id = await cluster.create(
    serviceFixture({
      spec: { mode: { $case: 'replicated', value: { replicas } }, task: taskSpecFixture(task) },
    }),
  );
  return { cluster, id };
}

const restarting = (restart: Partial<RestartPolicy>) => ({ restart });
const endsIn = (state: TaskState) => (): Partial<Behaviour> => ({
  startMs: 20,
  end: { state, afterMs: 20 },
});
const newest = (tasks: readonly Task[]) => tasks.at(-1) as Task;

async function changeLeader(cluster: SimulatedCluster): Promise<void> {
  await cluster.stopLeading();
  await cluster.run(50);
  cluster.lead();
}

test('a delay in the spec is waited for each time, also when the leader changes meanwhile', async (t) => {
  const { cluster, id } = await service(t, 1, restarting({ delayNs: 5 * SECOND }), {
    behaviour: endsIn(TaskState.FAILED),
  });
  const runningAtMs: number[] = [];
  const seen = new Set<string>();
  cluster.onStep = () => {
    for (const task of cluster.running(id)) {
      if (!seen.has(task.id)) runningAtMs.push(cluster.nowMs);
      seen.add(task.id);
    }
  };
  for (let i = 0; i < 10; i++) {
    await cluster.run(1900);
    await changeLeader(cluster);
  }
  const pauses = runningAtMs.slice(1).map((atMs, i) => atMs - (runningAtMs[i] ?? 0));
  t.true(pauses.length >= 2);
  t.true(
    pauses.every((ms) => ms >= 5000 && ms < 5300),
    pauses.join(),
  );
});

test('the next task is prepared while the delay passes', async (t) => {
  const { cluster, id } = await service(t, 1, restarting({ delayNs: 5 * SECOND }), {
    behaviour: endsIn(TaskState.FAILED),
  });
  await cluster.until(() => cluster.tasks(id).length === 2);
  await cluster.run(1000);
  t.is(newest(cluster.tasks(id)).status?.state, TaskState.READY);
  t.is(newest(cluster.tasks(id)).desiredState, TaskState.READY);
});

test('a task that cannot be prepared is tried once per delay, not faster', async (t) => {
  const { cluster, id } = await service(t, 1, restarting({ delayNs: 2 * SECOND }), {
    behaviour: () => ({ startMs: 20, end: { state: TaskState.REJECTED, afterMs: 0 } }),
  });
  const seen = new Set<string>();
  cluster.onStep = () => {
    for (const task of cluster.tasks(id)) seen.add(task.id);
  };
  await cluster.run(20_000);
  t.true(seen.size >= 8 && seen.size <= 11, `${seen.size} tasks in 20 s`);
});

test('what shall not be restarted is left, and no new leader thinks otherwise', async (t) => {
  const { cluster, id } = await service(t, 2, restarting({ condition: 'none' }), {
    behaviour: endsIn(TaskState.COMPLETE),
  });
  await cluster.run(1000);
  await changeLeader(cluster);
  await cluster.run(1000);
  t.deepEqual(
    cluster.tasks(id).map((task) => [task.slot, task.status?.state, task.desiredState]),
    [
      [1, TaskState.COMPLETE, TaskState.SHUTDOWN],
      [2, TaskState.COMPLETE, TaskState.SHUTDOWN],
    ],
  );
  cluster.behaviour = () => ({});
  await cluster.update(id, (spec) => ({
    ...spec,
    task: taskSpecFixture({ container: { image: 'web:2' }, restart: { condition: 'none' } }),
  }));
  await cluster.until(() => cluster.serving(id).length === 2);
  t.pass('an update replaces what ended');
});

test('attempts are limited, whoever leads and however short the history', async (t) => {
  const { cluster, id } = await service(t, 1, restarting({ delayNs: 0, maxAttempts: 7 }), {
    behaviour: endsIn(TaskState.FAILED),
  });
  for (let i = 0; i < 5; i++) {
    await cluster.run(130);
    await changeLeader(cluster);
  }
  await cluster.run(10_000);
  t.is(cluster.tasks(id).length, 8);
  t.true(cluster.tasks(id).every((task) => isTerminal(task.status?.state ?? 0)));
});

test('a history of one keeps no ended task once there is another one', async (t) => {
  const { cluster, id } = await service(t, 1);
  await cluster.until(() => cluster.serving(id).length === 1);
  const stored = cluster.fixture.store.cluster();
  const spec = stored?.spec;
  if (stored && spec) {
    const limited = { ...stored, spec: { ...spec, taskHistoryLimit: 1 } };
    await cluster.fixture.writer.write([updateAction('cluster', limited)]);
  }
  const first = cluster.serving(id)[0]?.id;
  cluster.behaviour = (task) =>
    task.id === first ? { end: { state: TaskState.FAILED, afterMs: 0 } } : {};
  await cluster.run(2000);
  t.is(cluster.tasks(id).length, 1);
  t.not(cluster.serving(id)[0]?.id, first);
});

test('a removed host has its tasks replaced at once, and they are orphaned', async (t) => {
  const { cluster, id } = await service(t, 3);
  await cluster.until(() => cluster.serving(id).length === 3);
  const nodeId = cluster.nodes[0]?.id ?? '';
  await cluster.fixture.writer.write([removeAction('node', nodeId)]);
  await cluster.run(150);
  t.is(cluster.serving(id).length, 3);
  const lost = cluster.tasks(id).filter((task) => task.nodeId === nodeId);
  t.deepEqual(
    lost.map((task) => [task.status?.state, task.desiredState]),
    [[TaskState.ORPHANED, TaskState.SHUTDOWN]],
  );
});

test('the tasks of a host that is down are kept in mind for a day', async (t) => {
  const { cluster, id } = await service(t, 3);
  await cluster.until(() => cluster.serving(id).length === 3);
  const nodeId = cluster.nodes[0]?.id ?? '';
  await cluster.down(nodeId);
  await cluster.run(1000);
  const lost = () => cluster.tasks(id).filter((task) => task.nodeId === nodeId);
  t.deepEqual(
    lost().map((task) => task.status?.state),
    [TaskState.RUNNING],
  );
  await cluster.fixture.clock.advance(24 * 3600_000);
  t.deepEqual(
    lost().map((task) => task.status?.state),
    [TaskState.ORPHANED],
  );
});

test('tasks leave a host that no longer meets their constraints', async (t) => {
  const { cluster, id } = await service(t, 3, {
    placement: { constraints: ['node.labels.off!=yes'] },
  });
  await cluster.until(() => cluster.serving(id).length === 3);
  const nodeId = cluster.nodes[0]?.id ?? '';
  await cluster.changeNode(nodeId, (node) => ({
    ...node,
    spec: { name: '', role: 0, availability: 0, ...node.spec, labels: { off: 'yes' } },
  }));
  await cluster.run(1000);
  t.is(cluster.serving(id).length, 3);
  t.false(cluster.serving(id).some((task) => task.nodeId === nodeId));
  t.is(cluster.service(id).updateStatus, undefined, 'no update is made of it');
});

test('when most hosts vanish together, only one of them is given up at once', async (t) => {
  const { cluster, id } = await service(t, 20, {}, { nodes: 10 });
  await cluster.until(() => cluster.serving(id).length === 20);
  const lost = cluster.nodes.slice(0, 7);
  const updates = lost.map(({ id: nodeId }) => {
    const node = cluster.fixture.store.get('node', nodeId);
    const status = { state: 1 as const, message: '', address: '' };
    return updateAction('node', { ...(node ?? lost[0]), status } as NonNullable<typeof node>);
  });
  await cluster.fixture.writer.write(updates);
  const replaced = () =>
    cluster.tasks(id).filter((task) => task.desiredState === TaskState.SHUTDOWN).length;
  await cluster.run(5000);
  t.is(replaced(), 2);
  await cluster.run(10_000);
  t.is(replaced(), 4);
  for (const { id: nodeId } of lost.slice(0, 5)) await cluster.up(nodeId);
  await cluster.run(1000);
  t.is(cluster.serving(id).length, 20);
  t.true(replaced() <= 8, 'hosts that are back keep what was not replaced');
});

test('a task that does not stop holds its successor up for a minute at most', async (t) => {
  const { cluster, id } = await service(t, 1);
  await cluster.until(() => cluster.serving(id).length === 1);
  cluster.behaviour = () => ({ stopMs: 1e9 });
  await cluster.update(id, (spec) => ({
    ...spec,
    task: taskSpecFixture({ container: { image: 'web:2' } }),
  }));
  await cluster.run(58_000);
  t.is(cluster.serving(id).length, 0);
  await cluster.run(4000);
  t.is(cluster.serving(id).length, 1);
});

test('a leader whose clock is behind does not wait for the time of another one', async (t) => {
  const { cluster, id } = await service(t, 1, restarting({ delayNs: 5 * SECOND }));
  await cluster.until(() => cluster.serving(id).length === 1);
  const failing = cluster.serving(id)[0] as Task;
  // As a leader wrote it whose clock is an hour ahead.
  const future = cluster.nowMs + 3600_000;
  const { store } = cluster.fixture;
  await cluster.stopLeading();
  const actions = [
    taskDesiredStateAction(failing.id, TaskState.SHUTDOWN),
    createAction('task', {
      ...failing,
      id: 'successor'.padEnd(25, '0'),
      nodeId: '',
      networks: [],
      desiredState: TaskState.READY,
      startNotBeforeMs: future + 5000,
      status: { ...(failing.status as NonNullable<Task['status']>), state: TaskState.NEW },
    }),
  ];
  applyDirect(store, actions, { atMs: future });
  cluster.fixture.consensus.setStatus({ commitIndex: store.index, appliedIndex: store.index });
  cluster.lead();
  await cluster.run(2000);
  t.is(cluster.serving(id).length, 1);
});
