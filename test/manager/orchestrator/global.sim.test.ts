// Goal: global services have one task on each node that may have one.
// Method: the real loops over the in-memory store with fake hosts and a manual clock.

import test from 'ava';
import { createAction, removeAction } from '../../../manager/store/tables.ts';
import {
  NodeAvailability,
  type ServiceSpec,
  TaskState,
} from '../../../shared/gen/shoal/v1/objects.ts';
import { SimulatedCluster } from '../../support/leader.ts';
import { nodeFixture, serviceFixture, taskSpecFixture } from '../../support/objects.ts';

const global = { mode: { $case: 'global' as const, value: {} } };
const nodesOf = (cluster: SimulatedCluster, id: string) =>
  cluster
    .serving(id)
    .map((task) => task.nodeId)
    .sort();

test('each node gets a task, also one that joins later', async (t) => {
  const cluster = await SimulatedCluster.start();
  const id = await cluster.create(serviceFixture({ spec: global }));
  await cluster.until(() => cluster.serving(id).length === 3);
  t.deepEqual(
    nodesOf(cluster, id),
    cluster.nodes.map((node) => node.id),
  );
  t.true(cluster.tasks(id).every((task) => task.slot === 0));
  await cluster.fixture.writer.write([createAction('node', nodeFixture())]);
  await cluster.until(() => cluster.serving(id).length === 4);
  await cluster.stopLeading();
});

test('tasks leave nodes that are drained or no longer meet the constraints, and come back', async (t) => {
  const cluster = await SimulatedCluster.start();
  const spec = {
    ...global,
    task: taskSpecFixture({ placement: { constraints: ['node.labels.off!=yes'] } }),
  };
  const id = await cluster.create(serviceFixture({ spec }));
  await cluster.until(() => cluster.serving(id).length === 3);
  const [first, second, third] = cluster.nodes.map((node) => node.id);
  const change = (nodeId: string | undefined, availability: NodeAvailability, off: string) =>
    cluster.changeNode(nodeId ?? '', (node) => ({
      ...node,
      spec: { name: '', role: 0, ...node.spec, availability, labels: { off } },
    }));
  await change(first, NodeAvailability.DRAIN, '');
  await change(second, NodeAvailability.ACTIVE, 'yes');
  await cluster.until(() => cluster.running(id).length === 1);
  t.deepEqual(nodesOf(cluster, id), [third]);
  await change(first, NodeAvailability.PAUSE, '');
  await change(second, NodeAvailability.ACTIVE, 'no');
  await cluster.run(1000);
  t.deepEqual(nodesOf(cluster, id), [second, third], 'a paused node gets no new task');
  await change(first, NodeAvailability.ACTIVE, '');
  await cluster.until(() => cluster.serving(id).length === 3);
  await cluster.stopLeading();
});

test('the task of a node that is down is given up, and there is a new one when it is back', async (t) => {
  const cluster = await SimulatedCluster.start();
  const id = await cluster.create(serviceFixture({ spec: global }));
  await cluster.until(() => cluster.serving(id).length === 3);
  const nodeId = cluster.nodes[0]?.id ?? '';
  await cluster.down(nodeId);
  await cluster.run(500);
  t.is(cluster.tasks(id).filter((task) => task.desiredState === TaskState.RUNNING).length, 2);
  await cluster.up(nodeId);
  await cluster.until(() => cluster.serving(id).length === 3);
  await cluster.run(500);
  t.is(cluster.running(id).length, 3);
  await cluster.stopLeading();
});

test('nothing is left of a node that was removed', async (t) => {
  const cluster = await SimulatedCluster.start();
  const id = await cluster.create(serviceFixture({ spec: global }));
  await cluster.until(() => cluster.serving(id).length === 3);
  const nodeId = cluster.nodes[0]?.id ?? '';
  await cluster.down(nodeId);
  await cluster.fixture.writer.write([removeAction('node', nodeId)]);
  await cluster.run(500);
  t.is(cluster.tasks(id).filter((task) => task.nodeId === nodeId).length, 0);
  t.is(cluster.serving(id).length, 2);
  await cluster.stopLeading();
});

test('a rolling update goes from node to node', async (t) => {
  const cluster = await SimulatedCluster.start();
  const id = await cluster.create(serviceFixture({ spec: global }));
  await cluster.until(() => cluster.serving(id).length === 3);
  let fewest = 3;
  cluster.onStep = () => {
    fewest = Math.min(fewest, cluster.serving(id).length);
  };
  await cluster.update(id, (spec: ServiceSpec) => ({
    ...spec,
    task: taskSpecFixture({ container: { image: 'web:2' } }),
  }));
  await cluster.until(() => cluster.service(id).updateStatus?.state === 'completed');
  t.is(fewest, 2);
  t.deepEqual(
    nodesOf(cluster, id),
    cluster.nodes.map((node) => node.id),
  );
  t.true(cluster.serving(id).every((task) => task.spec?.container?.image === 'web:2'));
  await cluster.stopLeading();
});
