// Goal: rolling updates keep to their policy (how many at once, order, what happens on failure) and
// go on under another leader.
// Method: the real loops over the in-memory store with fake hosts and a manual clock; invariants are
// checked after each 10 ms.

import test, { type ExecutionContext } from 'ava';
import {
  type ServiceSpec,
  type Task,
  TaskState,
  type UpdateConfig,
} from '../../../shared/gen/shoal/v1/objects.ts';
import { SimulatedCluster } from '../../support/leader.ts';
import { serviceFixture, taskSpecFixture } from '../../support/objects.ts';

const replicas = (count: number) => ({
  mode: { $case: 'replicated' as const, value: { replicas: count } },
});
const withImage = (image: string) => (spec: ServiceSpec) => ({
  ...spec,
  task: taskSpecFixture({ container: { image } }),
});
const updateConfig = (fields: Partial<UpdateConfig>): UpdateConfig => ({
  parallelism: 1,
  delayNs: 0,
  failureAction: '',
  monitorNs: 1_000_000_000,
  maxFailureRatio: 0,
  order: '',
  ...fields,
});
const imageOf = (task: Task) => task.spec?.container?.image;
const failsWithImage = (image: string) => (task: Task) =>
  imageOf(task) === image ? { end: { state: TaskState.FAILED, afterMs: 100 } } : {};

async function running(
  t: ExecutionContext,
  count: number,
  update: Partial<UpdateConfig>,
  spec: Partial<ServiceSpec> = {},
) {
  const cluster = await SimulatedCluster.start();
  t.teardown(() => cluster.stopLeading());
  const id = await cluster.create(
    serviceFixture({ spec: { ...replicas(count), update: updateConfig(update), ...spec } }),
  );
  await cluster.until(() => cluster.serving(id).length === count);
  const stateOf = () => cluster.service(id).updateStatus?.state;
  return { cluster, id, stateOf };
}

test('stop-first takes no more tasks away at once than its parallelism', async (t) => {
  const { cluster, id, stateOf } = await running(t, 8, { parallelism: 2 });
  let fewest = 8;
  let most = 0;
  cluster.onStep = () => {
    fewest = Math.min(fewest, cluster.serving(id).length);
    most = Math.max(most, cluster.running(id).length);
  };
  await cluster.update(id, withImage('web:2'));
  await cluster.until(() => stateOf() === 'completed');
  t.is(fewest, 6);
  t.is(most, 8);
  t.true(cluster.serving(id).every((task) => imageOf(task) === 'web:2'));
  t.is(cluster.service(id).updateStatus?.message, 'update completed');
});

test('start-first never has fewer tasks serving than replicas', async (t) => {
  const { cluster, id, stateOf } = await running(t, 5, { parallelism: 2, order: 'start-first' });
  let most = 0;
  cluster.onStep = () => {
    t.true(cluster.serving(id).length >= 5);
    most = Math.max(most, cluster.running(id).length);
  };
  await cluster.update(id, withImage('web:2'));
  await cluster.until(() => stateOf() === 'completed');
  t.true(most > 5 && most <= 9, `${most} running at most`);
  await cluster.run(500);
  t.is(cluster.running(id).length, 5);
  t.true(cluster.serving(id).every((task) => imageOf(task) === 'web:2'));
});

test('parallelism 0 updates all at once', async (t) => {
  const { cluster, id, stateOf } = await running(t, 6, { parallelism: 0 });
  let fewest = 6;
  cluster.onStep = () => {
    fewest = Math.min(fewest, cluster.serving(id).length);
  };
  await cluster.update(id, withImage('web:2'));
  await cluster.until(() => stateOf() === 'completed');
  t.is(fewest, 0);
});

test('the delay passes between a slot and the next one', async (t) => {
  const { cluster, id, stateOf } = await running(t, 3, { delayNs: 10_000_000_000 });
  await cluster.update(id, withImage('web:2'));
  const startMs = cluster.nowMs;
  await cluster.until(() => stateOf() === 'completed');
  const tookMs = cluster.nowMs - startMs;
  t.true(tookMs > 20_000 && tookMs < 32_000, `${tookMs} ms`);
});

test('a failing update pauses with the other tasks untouched, and a new one goes on', async (t) => {
  const { cluster, id, stateOf } = await running(t, 4, { delayNs: 500_000_000 });
  cluster.behaviour = failsWithImage('web:bad');
  await cluster.update(id, withImage('web:bad'));
  await cluster.until(() => stateOf() === 'paused');
  const message = cluster.service(id).updateStatus?.message ?? '';
  t.regex(message, /^update paused due to failure or early termination of task [0-9a-z]{25}$/);
  await cluster.run(20_000);
  t.is(cluster.serving(id).filter((task) => imageOf(task) === 'web:1').length, 3);
  await cluster.update(id, withImage('web:3'));
  await cluster.until(() => stateOf() === 'completed');
  t.is(cluster.serving(id).filter((task) => imageOf(task) === 'web:3').length, 4);
});

test('a failing update rolls back by itself when it may', async (t) => {
  const { cluster, id, stateOf } = await running(t, 4, { failureAction: 'rollback' });
  cluster.behaviour = failsWithImage('web:bad');
  await cluster.update(id, withImage('web:bad'));
  await cluster.until(() => stateOf() === 'rollback_started');
  t.regex(cluster.service(id).updateStatus?.message ?? '', /^update rolled back due to failure/);
  await cluster.until(() => stateOf() === 'rollback_completed');
  t.is(cluster.serving(id).filter((task) => imageOf(task) === 'web:1').length, 4);
  t.is(cluster.service(id).previousSpec, undefined);
});

test('an update that may fail goes on past failures', async (t) => {
  const { cluster, id, stateOf } = await running(t, 3, { failureAction: 'continue' });
  cluster.behaviour = failsWithImage('web:bad');
  await cluster.update(id, withImage('web:bad'));
  await cluster.until(() => stateOf() === 'completed');
  t.is(
    cluster
      .tasks(id)
      .filter((task) => imageOf(task) === 'web:1' && task.desiredState <= TaskState.RUNNING).length,
    0,
  );
});

test('one failure in four is within a ratio of a quarter', async (t) => {
  const { cluster, id, stateOf } = await running(t, 4, { maxFailureRatio: 0.25 });
  let failed: string | undefined;
  cluster.behaviour = (task) => {
    if (imageOf(task) !== 'web:2') return {};
    failed ??= task.id;
    return failed === task.id ? { end: { state: TaskState.FAILED, afterMs: 50 } } : {};
  };
  await cluster.update(id, withImage('web:2'));
  await cluster.until(() => stateOf() === 'completed' || stateOf() === 'paused');
  t.is(stateOf(), 'completed');
  t.is(cluster.serving(id).length, 4);
});

test('a task that failed long after it came up is no failure of the update', async (t) => {
  const { cluster, id, stateOf } = await running(t, 3, { delayNs: 5_000_000_000 });
  let failed: string | undefined;
  cluster.behaviour = (task) => {
    if (imageOf(task) !== 'web:2') return {};
    failed ??= task.id;
    return failed === task.id ? { end: { state: TaskState.FAILED, afterMs: 4000 } } : {};
  };
  await cluster.update(id, withImage('web:2'));
  await cluster.until(() => stateOf() === 'completed' || stateOf() === 'paused');
  t.is(stateOf(), 'completed');
});

test('an update says which task it waits for, and why', async (t) => {
  const { cluster, id, stateOf } = await running(t, 2, {});
  await cluster.update(id, (spec) => ({
    ...spec,
    task: taskSpecFixture({
      container: { image: 'web:2' },
      placement: { constraints: ['node.labels.zone==b'] },
    }),
  }));
  await cluster.run(3000);
  t.is(stateOf(), 'updating');
  const name = cluster.service(id).spec?.name;
  t.is(
    cluster.service(id).updateStatus?.message,
    `update in progress; waiting for task ${name}.1: no suitable node (scheduling constraints not satisfied on 3 nodes)`,
  );
  t.is(cluster.serving(id).length, 1);
  for (const node of cluster.nodes) {
    await cluster.changeNode(node.id, (current) => ({
      ...current,
      spec: { name: '', role: 0, availability: 0, ...current.spec, labels: { zone: 'b' } },
    }));
  }
  await cluster.until(() => stateOf() === 'completed');
  t.is(cluster.service(id).updateStatus?.message, 'update completed');
});

test('new constraints keep the tasks whose nodes meet them', async (t) => {
  const { cluster, id, stateOf } = await running(t, 3, {});
  const before = new Set(cluster.serving(id).map((task) => task.id));
  const [first] = cluster.nodes;
  await cluster.update(id, (spec) => ({
    ...spec,
    task: taskSpecFixture({
      container: { image: 'web:1' },
      placement: { constraints: [`node.id!=${first?.id}`] },
    }),
  }));
  await cluster.until(() => stateOf() === 'completed');
  const after = cluster.serving(id);
  t.is(after.filter((task) => before.has(task.id)).length, 2);
  t.is(after.length, 3);
  t.false(after.some((task) => task.nodeId === first?.id));
});

test('an update that changes no task completes at once and touches none', async (t) => {
  const { cluster, id } = await running(t, 3, {});
  const before = cluster.tasks(id).map((task) => task.id);
  await cluster.update(id, (spec) => ({ ...spec, labels: { owner: 'me' } }));
  await cluster.run(1000);
  t.deepEqual(
    cluster.tasks(id).map((task) => task.id),
    before,
  );
});

for (let seed = 1; seed <= 6; seed++) {
  test(`an update goes on under one leader after the other, seed ${seed}`, async (t) => {
    const order = seed % 2 === 0 ? 'stop-first' : 'start-first';
    const { cluster, id, stateOf } = await running(t, 6, { parallelism: 2, order });
    let fewest = 6;
    cluster.onStep = () => {
      fewest = Math.min(fewest, cluster.serving(id).length);
    };
    await cluster.update(id, withImage('web:2'));
    for (let change = 0; change < 5; change++) {
      await cluster.run(37 * seed + 50 * change);
      await cluster.stopLeading();
      await cluster.run(100);
      cluster.lead();
    }
    await cluster.until(() => stateOf() === 'completed');
    t.true(fewest >= (order === 'stop-first' ? 4 : 6), `${fewest} serving`);
    await cluster.run(1000);
    t.is(cluster.running(id).length, 6);
    t.true(cluster.serving(id).every((task) => imageOf(task) === 'web:2'));
  });
}

test('an update in the middle of another one takes over', async (t) => {
  const { cluster, id, stateOf } = await running(t, 6, { parallelism: 2 });
  let fewest = 6;
  cluster.onStep = () => {
    fewest = Math.min(fewest, cluster.serving(id).length);
  };
  await cluster.update(id, withImage('web:2'));
  await cluster.run(130);
  await cluster.update(id, withImage('web:3'));
  await cluster.run(90);
  await cluster.update(id, withImage('web:4'));
  await cluster.until(() => stateOf() === 'completed');
  t.is(cluster.serving(id).filter((task) => imageOf(task) === 'web:4').length, 6);
  t.true(fewest >= 4, `${fewest} serving`);
});

test('the last task is watched as well before an update is called complete', async (t) => {
  const { cluster, id, stateOf } = await running(t, 2, { monitorNs: 3_000_000_000 });
  cluster.behaviour = (task) =>
    imageOf(task) === 'web:2' && task.slot === 2
      ? { end: { state: TaskState.FAILED, afterMs: 2500 } }
      : {};
  await cluster.update(id, withImage('web:2'));
  await cluster.until(() => stateOf() === 'completed' || stateOf() === 'paused');
  t.is(stateOf(), 'paused');
});

test('a new leader keeps to the delay after a task that came up before it led', async (t) => {
  const { cluster, id } = await running(t, 3, { delayNs: 10_000_000_000 });
  await cluster.update(id, withImage('web:2'));
  await cluster.until(() => cluster.serving(id).some((task) => imageOf(task) === 'web:2'));
  for (let change = 0; change < 4; change++) {
    await cluster.run(2000);
    await cluster.stopLeading();
    cluster.lead();
  }
  t.is(cluster.serving(id).filter((task) => imageOf(task) === 'web:1').length, 2);
});

test('an old task that ends while its successor starts is not restarted', async (t) => {
  const { cluster, id, stateOf } = await running(t, 1, { order: 'start-first' });
  cluster.behaviour = (task) =>
    imageOf(task) === 'web:1'
      ? { end: { state: TaskState.FAILED, afterMs: 100 } }
      : { startMs: 2000 };
  await cluster.update(id, withImage('web:2'));
  await cluster.until(() => stateOf() === 'completed');
  t.is(cluster.tasks(id).length, 2);
});

test('a new task that fails start-first leaves the old one alone once the update is paused', async (t) => {
  const { cluster, id, stateOf } = await running(t, 1, { order: 'start-first' });
  const [old] = cluster.serving(id);
  cluster.behaviour = (task) =>
    imageOf(task) === 'web:bad' ? { end: { state: TaskState.REJECTED, afterMs: 0 } } : {};
  await cluster.update(id, withImage('web:bad'));
  await cluster.until(() => stateOf() === 'paused');
  await cluster.run(1000);
  const count = cluster.tasks(id).length;
  await cluster.run(60_000);
  t.deepEqual(
    cluster.serving(id).map((task) => task.id),
    [old?.id],
  );
  t.is(cluster.tasks(id).length, count, 'nothing is tried any more');
});
