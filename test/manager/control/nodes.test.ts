import test from 'ava';
import type { ConsensusStatus } from '../../../manager/raft/consensus.ts';
import {
  NodeAvailability,
  NodeRole,
  NodeState,
  type StoreObject,
  TaskState,
} from '../../../shared/gen/shoal/v1/objects.ts';
import { controlFixture } from '../../support/control.ts';
import { nodeFixture, taskFixture } from '../../support/objects.ts';

const manager = (raftId: string, id: string) =>
  nodeFixture({
    id,
    spec: { role: NodeRole.MANAGER },
    managerStatus: { raftId, address: `${id}:2377`, raftAddress: `${id}:7946` },
    certificateRole: NodeRole.MANAGER,
  });
const members = (...ids: [raftId: string, nodeId: string, active: boolean][]) =>
  ids.map(([raftId, nodeId, active]) => ({
    member: { raftId, nodeId, address: '', raftAddress: '' },
    learner: false,
    active,
    matchIndex: 0,
  })) satisfies ConsensusStatus['members'];
const asNode = ({ kind }: StoreObject) => (kind?.$case === 'node' ? kind.value : undefined);

test('availability and labels of a node change with its version', async (t) => {
  const node = nodeFixture();
  const { updateObject, store } = await controlFixture({ node: [node] });
  const version = () => store.get('node', node.id)?.meta?.version ?? 0;
  const spec = { availability: NodeAvailability.DRAIN, labels: { zone: 'b' } };
  await updateObject('node', node.id, version(), { spec });
  t.like(store.get('node', node.id)?.spec, spec);
  await t.throwsAsync(updateObject('node', node.id, version() - 1, { spec }), {
    message: 'update out of sequence',
  });
  await t.throwsAsync(updateObject('node', node.id, version(), { spec: { availability: 7 } }), {
    message: 'availability 7 is unknown: expected active (0), pause (1) or drain (2)',
  });
  await t.throwsAsync(updateObject('node', node.id, version(), { spec: { labels: { '': 'x' } } }), {
    message: 'labels: a label needs a key before its value',
  });
});

test('the last manager is not demoted, also when two demotions come at once', async (t) => {
  const nodes = [manager('1', 'm1'), manager('2', 'm2')];
  const { updateObject, store, consensus } = await controlFixture({ node: nodes });
  consensus.setStatus({ members: members(['1', 'm1', true], ['2', 'm2', true]) });
  const demote = (id: string) =>
    updateObject('node', id, store.get('node', id)?.meta?.version ?? 0, {
      spec: { role: NodeRole.WORKER },
    });
  const outcomes = await Promise.allSettled([demote('m1'), demote('m2')]);
  t.is(outcomes.filter(({ status }) => status === 'fulfilled').length, 1);
  const [last] = [...store.all('node')].filter(({ spec }) => spec?.role === NodeRole.MANAGER);
  await t.throwsAsync(demote(last?.id ?? ''), {
    message: 'attempting to demote the last manager of the swarm',
  });
});

test('a demotion that would leave no quorum of managers alive is refused', async (t) => {
  const nodes = [manager('1', 'm1'), manager('2', 'm2'), manager('3', 'm3')];
  const { updateObject, store, consensus } = await controlFixture({ node: nodes });
  const demote = (id: string) =>
    updateObject('node', id, store.get('node', id)?.meta?.version ?? 0, {
      spec: { role: NodeRole.WORKER },
    });
  consensus.setStatus({
    members: members(['1', 'm1', true], ['2', 'm2', true], ['3', 'm3', false]),
  });
  await t.throwsAsync(demote('m2'), { message: /^can't remove member from the raft/ });
  await t.notThrowsAsync(demote('m3'), 'the dead one may go');
});

test('a manager, or a node that is up, is not removed', async (t) => {
  const up = nodeFixture();
  const { remove, store } = await controlFixture({ node: [up, manager('1', 'm1')] });
  await t.throwsAsync(remove('node', 'm1', true), {
    message:
      'node m1 is a cluster manager and is a member of the raft cluster. It must be demoted to worker before removal',
  });
  await t.throwsAsync(remove('node', up.id), {
    message: `node ${up.id} is not down and can't be removed`,
  });
  await remove('node', up.id, true);
  t.is(store.get('node', up.id), undefined);
});

test('the tasks of a removed node are orphaned, those that had ended are left as they were', async (t) => {
  const node = nodeFixture({ status: { state: NodeState.DOWN } });
  const at = (state: TaskState) => taskFixture({ nodeId: node.id, status: { state } });
  const [running, failed] = [at(TaskState.RUNNING), at(TaskState.FAILED)];
  const { remove, store } = await controlFixture({ node: [node], task: [running, failed] });
  await remove('node', node.id);
  t.is(store.get('task', running.id)?.status?.state, TaskState.ORPHANED);
  t.is(store.get('task', failed.id)?.status?.state, TaskState.FAILED);
});

test('a node removed with more tasks than one transaction holds goes with all of them', async (t) => {
  const node = nodeFixture({ status: { state: NodeState.DOWN } });
  const { remove, store, writer } = await controlFixture({ node: [node] });
  const tasks = Array.from({ length: 1500 }, () => taskFixture({ nodeId: node.id }));
  for (const task of tasks) {
    await writer.write([
      { action: { $case: 'create', value: { kind: { $case: 'task', value: task } } } },
    ]);
  }
  await remove('node', node.id);
  const states = new Set([...store.tasksOfNode(node.id)].map(({ status }) => status?.state));
  t.deepEqual([...states], [TaskState.ORPHANED]);
});

test('nodes are shown with who leads and who is reachable', async (t) => {
  const nodes = ['1', '2', '3'].map((raftId) => manager(raftId, `m${raftId}`));
  const { list, consensus } = await controlFixture({ node: [...nodes, nodeFixture()] });
  const three = members(['1', 'm1', true], ['2', 'm2', true], ['3', 'm3', false]);
  consensus.setStatus({ leaderRaftId: '1', members: three });
  const shown = async () =>
    (await list('node', { ids: ['m'] })).objects.map((object) => {
      const { leader, reachable } = asNode(object)?.managerStatus ?? {};
      return [leader, reachable];
    });
  t.deepEqual(await shown(), [
    [true, true],
    [false, true],
    [false, false],
  ]);
  // A follower hears the leader only; of the others it knows what their agents' sessions say.
  const heard = members(['1', 'm1', true], ['2', 'm2', true], ['3', 'm3', false]);
  consensus.setStatus({ isLeader: false, members: heard });
  t.deepEqual((await shown())[2], [false, true]);
});
