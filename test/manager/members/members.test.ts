import test from 'ava';
import { runMembers } from '../../../manager/members/loop.ts';
import { Members } from '../../../manager/members/members.ts';
import type { ConsensusStatus } from '../../../manager/raft/consensus.ts';
import { removeAction, updateAction } from '../../../manager/store/tables.ts';
import { isShoalError, NotLeaderError, ShoalError } from '../../../shared/errors.ts';
import { NodeRole } from '../../../shared/gen/shoal/v1/objects.ts';
import type { RaftMember } from '../../../shared/gen/shoal/v1/peer.ts';
import { silentLog } from '../../../shared/log.ts';
import { nodeFixture } from '../../support/objects.ts';
import { storeFixture } from '../../support/store.ts';

const memberOf = (nodeId: string, raftId = `raft-${nodeId}`): RaftMember => ({
  raftId,
  nodeId,
  address: `${nodeId}:2377`,
  raftAddress: `${nodeId}:7946`,
});
const asStatus = (member: RaftMember) => ({ member, learner: false, active: true, matchIndex: 0 });

async function setUp(managers: readonly string[]) {
  const fixture = await storeFixture({
    node: managers.map((id) =>
      nodeFixture({ id, spec: { role: NodeRole.MANAGER }, managerStatus: memberOf(id) }),
    ),
  });
  const { consensus } = fixture;
  const set = (members: readonly RaftMember[]) =>
    consensus.setStatus({ members: members.map(asStatus) });
  const present = () => consensus.status().members.map(({ member }) => member);
  consensus.setStatus({ raftId: 'raft-m1', leaderRaftId: 'raft-m1' });
  set(managers.map((id) => memberOf(id)));
  const done: string[] = [];
  const fail = { error: undefined as Error | undefined };
  Object.assign(consensus, {
    addMember: async (member: RaftMember) => {
      done.push(`add ${member.nodeId}`);
      set([...present(), member]);
    },
    removeMember: async (raftId: string) => {
      if (fail.error !== undefined) throw fail.error;
      done.push(`remove ${raftId}`);
      set(present().filter((member) => member.raftId !== raftId));
    },
    transferLeadership: async () => {
      done.push('transfer');
      consensus.setStatus({ isLeader: false, leaderRaftId: 'raft-m2' } as Partial<ConsensusStatus>);
    },
  });
  const members = new Members({ ...fixture, log: silentLog });
  const demote = async (id: string) => {
    const node = fixture.store.get('node', id);
    if (node?.spec === undefined) throw new Error('no node');
    const spec = { ...node.spec, role: NodeRole.WORKER };
    await fixture.writer.write([updateAction('node', { ...node, spec })]);
  };
  return { ...fixture, members, done, demote, fail };
}

const request = (nodeId: string) => ({
  raftId: '',
  nodeId,
  address: `${nodeId}:2377`,
  raftAddress: `${nodeId}:7946`,
});

test('a manager that joins gets a fresh identity and hears who the others are', async (t) => {
  const the = await setUp(['m1', 'm2']);
  const node = nodeFixture({ id: 'm3', spec: { role: NodeRole.MANAGER } });
  await the.writer.write([
    { action: { $case: 'create', value: { kind: { $case: 'node', value: node } } } },
  ]);
  const answer = await the.members.join(request('m3'));
  t.regex(answer.raftId, /^[0-9a-z]{25}$/);
  t.deepEqual(
    answer.members.map(({ nodeId }) => nodeId),
    ['m1', 'm2', 'm3'],
  );
  t.like(the.store.get('node', 'm3')?.managerStatus, {
    raftId: answer.raftId,
    address: 'm3:2377',
    raftAddress: 'm3:7946',
  });
});

test('a manager that asks again loses the identity it had: its log may be gone', async (t) => {
  const the = await setUp(['m1', 'm2']);
  const answer = await the.members.join(request('m2'));
  t.deepEqual(the.done, ['remove raft-m2', 'add m2']);
  t.is(the.store.get('node', 'm2')?.managerStatus?.raftId, answer.raftId);
});

test('a member that moved keeps its identity and tells its address; no other may speak for it', async (t) => {
  const the = await setUp(['m1', 'm2']);
  const moved = { ...request('m2'), raftId: 'raft-m2', address: 'elsewhere:2377' };
  const answer = await the.members.join(moved);
  t.is(answer.raftId, 'raft-m2');
  t.deepEqual(the.done, ['add m2'], 'nothing is removed');
  t.is(the.store.get('node', 'm2')?.managerStatus?.address, 'elsewhere:2377');
  const stranger = { ...request('m1'), raftId: 'raft-m2' };
  const refused = await t.throwsAsync(() => the.members.join(stranger));
  t.true(isShoalError(refused, 'failed-precondition'));
});

test('only a node that is meant to be a manager may join, and only at the leader', async (t) => {
  const the = await setUp(['m1', 'm2']);
  await the.demote('m2');
  const refused = await t.throwsAsync(() => the.members.join(request('m2')));
  t.true(isShoalError(refused, 'failed-precondition'));
  const unknown = await t.throwsAsync(() => the.members.join(request('who')));
  t.true(isShoalError(unknown, 'failed-precondition'));
  the.consensus.setStatus({ isLeader: false, leaderRaftId: 'raft-m2' });
  const elsewhere = await t.throwsAsync<NotLeaderError>(() => the.members.join(request('m1')));
  t.true(elsewhere instanceof NotLeaderError);
  t.is(elsewhere?.leader, 'm2');
  t.deepEqual(the.done, []);
});

test('a manager that leaves is no member, and its node no manager, any more', async (t) => {
  const the = await setUp(['m1', 'm2']);
  await the.members.leave('m2');
  t.deepEqual(the.done, ['remove raft-m2']);
  t.is(the.store.get('node', 'm2')?.managerStatus, undefined);
  await the.members.leave('m2');
  t.deepEqual(the.done, ['remove raft-m2'], 'twice is once');
});

test('a leader that leaves hands over first, and leaves the rest to its successor', async (t) => {
  const the = await setUp(['m1', 'm2']);
  await t.throwsAsync(() => the.members.leave('m1'), { instanceOf: NotLeaderError });
  t.deepEqual(the.done, ['transfer']);
});

test('the last manager has nobody to hand over to', async (t) => {
  const the = await setUp(['m1']);
  await the.members.leave('m1');
  t.deepEqual(the.done, ['remove raft-m1']);
});

test('the leader takes out members whose nodes were demoted or removed, and tries again', async (t) => {
  const the = await setUp(['m1', 'm2', 'm3']);
  const stop = new AbortController();
  const end = runMembers(the, stop.signal);
  await the.clock.advance(10_000);
  t.deepEqual(the.done, [], 'all is as it should be');
  the.fail.error = new ShoalError('failed-precondition', 'no quorum would be left');
  await the.demote('m2');
  await the.writer.write([removeAction('node', 'm3')]);
  await the.clock.advance(2_000);
  t.deepEqual(the.done, []);
  the.fail.error = undefined;
  await the.clock.advance(6_000);
  t.deepEqual(the.done.sort(), ['remove raft-m2', 'remove raft-m3']);
  t.is(the.store.get('node', 'm2')?.managerStatus, undefined);
  stop.abort();
  await end;
  t.is(the.clock.timers, 0);
});
