// Goal: services converge and stay converged under a leader that is fed by fake hosts.
// Method: the real allocator, orchestrator and scheduler over the in-memory store, a manual clock.

import test from 'ava';
import { NodeAvailability, TaskState } from '../../../shared/gen/shoal/v1/objects.ts';
import { SimulatedCluster } from '../../support/leader.ts';
import { serviceFixture } from '../../support/objects.ts';

const replicas = (count: number) => ({
  mode: { $case: 'replicated' as const, value: { replicas: count } },
});

test('a service of five replicas runs on three nodes, two at most on each', async (t) => {
  const cluster = await SimulatedCluster.start();
  const id = await cluster.create(serviceFixture({ spec: replicas(5) }));
  await cluster.until(() => cluster.serving(id).length === 5);
  const perNode = Map.groupBy(cluster.serving(id), (task) => task.nodeId);
  t.deepEqual([...perNode.values()].map((list) => list.length).sort(), [1, 2, 2]);
  t.deepEqual(
    cluster.tasks(id).map((task) => task.slot),
    [1, 2, 3, 4, 5],
  );
  await cluster.stopLeading();
});

test('creating and removing 100 tasks takes a handful of entries', async (t) => {
  const cluster = await SimulatedCluster.start();
  const { entries } = cluster.fixture.consensus;
  const id = await cluster.create(serviceFixture({ spec: replicas(100) }));
  const before = entries.length;
  await cluster.fixture.clock.advance(100); // without hosts: the leader's own writes only
  t.is(entries.length - before, 3); // created, allocated, assigned
  await cluster.until(() => cluster.serving(id).length === 100);
  const { writer } = cluster.fixture;
  await writer.write([{ action: { $case: 'remove', value: { kind: 'service', id, version: 0 } } }]);
  const removing = entries.length;
  await cluster.fixture.clock.advance(100);
  t.is(entries.length - removing, 1);
  await cluster.until(() => cluster.tasks(id).length === 0);
  await cluster.stopLeading();
});

test('scaling down takes tasks away where most are, scaling up fills the numbers that are free', async (t) => {
  const cluster = await SimulatedCluster.start();
  const id = await cluster.create(serviceFixture({ spec: replicas(6) }));
  await cluster.until(() => cluster.serving(id).length === 6);
  await cluster.update(id, (spec) => ({ ...spec, ...replicas(3) }));
  await cluster.until(() => cluster.tasks(id).length === 3);
  t.is(new Set(cluster.serving(id).map((task) => task.nodeId)).size, 3);
  await cluster.update(id, (spec) => ({ ...spec, ...replicas(5) }));
  await cluster.until(() => cluster.serving(id).length === 5);
  t.deepEqual(
    cluster.tasks(id).map((task) => task.slot),
    [1, 2, 3, 4, 5],
  );
  await cluster.stopLeading();
});

test('a node that goes down has its tasks replaced at once, and stops its own when it is back', async (t) => {
  const cluster = await SimulatedCluster.start();
  const id = await cluster.create(serviceFixture({ spec: replicas(6) }));
  await cluster.until(() => cluster.serving(id).length === 6);
  const [node] = cluster.nodes;
  await cluster.down(node?.id ?? '');
  const downAtMs = cluster.nowMs;
  await cluster.until(() => cluster.serving(id).length === 6);
  t.true(cluster.nowMs - downAtMs <= 150, 'no restart delay is waited for');
  await cluster.up(node?.id ?? '');
  await cluster.run(1000);
  t.is(cluster.running(id).length, 6);
  await cluster.stopLeading();
});

test('a drained node is left, a paused one is not', async (t) => {
  const cluster = await SimulatedCluster.start();
  const id = await cluster.create(serviceFixture({ spec: replicas(6) }));
  await cluster.until(() => cluster.serving(id).length === 6);
  const [first, second] = cluster.nodes.map((node) => node.id);
  const set = (nodeId: string | undefined, availability: NodeAvailability) =>
    cluster.changeNode(nodeId ?? '', (node) => ({
      ...node,
      spec: { name: '', labels: {}, role: 0, ...node.spec, availability },
    }));
  await set(first, NodeAvailability.PAUSE);
  await cluster.run(1000);
  t.is(cluster.serving(id).filter((task) => task.nodeId === first).length, 2);
  await set(second, NodeAvailability.DRAIN);
  await cluster.run(1000);
  t.is(cluster.serving(id).length, 6);
  t.is(cluster.serving(id).filter((task) => task.nodeId === second).length, 0);
  t.is(cluster.serving(id).filter((task) => task.nodeId === first).length, 2);
  await cluster.stopLeading();
});

test('tasks that fail come back after growing pauses, and the history stays short', async (t) => {
  const cluster = await SimulatedCluster.start({
    behaviour: () => ({ startMs: 20, end: { state: TaskState.FAILED, afterMs: 20 } }),
  });
  const id = await cluster.create(serviceFixture({ spec: replicas(1) }));
  const madeAtMs: number[] = [];
  const seen = new Set<string>();
  cluster.onStep = () => {
    for (const task of cluster.tasks(id)) {
      if (!seen.has(task.id)) madeAtMs.push(task.startNotBeforeMs || cluster.nowMs);
      seen.add(task.id);
    }
    t.true(cluster.tasks(id).length <= 6);
  };
  await cluster.run(120_000);
  const pauses = madeAtMs.slice(1).map((atMs, i) => atMs - (madeAtMs[i] ?? 0));
  const seconds = pauses.slice(0, 6).map((ms) => Math.round(ms / 100) / 10);
  t.deepEqual(seconds, [0.2, 1, 5, 10, 30, 30]);
  await cluster.stopLeading();
});
