/** Elections step by step, with every message in hand. */
import test from 'ava';
import { EMPTY_CONF } from '../../../../manager/raft/conf-change.ts';
import type { Message, MessageType, RaftOptions } from '../../../../manager/raft/types.ts';
import { change, Group, Member, nameOf, raftId } from '../group.ts';

const BARE: Partial<RaftOptions> = { preVote: false, checkQuorum: false };

function kinds(messages: readonly Message[]): string[] {
  return messages.map(({ type, from, to }) => `${type} ${nameOf(from)}>${nameOf(to)}`);
}

function count(group: Group, type: MessageType): number {
  return group.sent.filter((message) => message.type === type).length;
}

test('a single voter: campaign, own vote on disk, no-op on disk, commit, without one message', (t) => {
  const group = Group.of(1, BARE);
  const a = group.get('a');
  a.core.campaign();
  t.deepEqual(kinds(group.run()), []);
  t.like(a.status, { role: 'leader', term: 2, commit: 2, lastIndex: 2, leader: a.id });
  t.deepEqual(a.terms(), [2], 'after the snapshot at 1, the no-op');
});

test('a first election of three: votes, no-op, and the news that it is committed', (t) => {
  const group = Group.of(3, BARE);
  const [a, b] = [group.get('a'), group.get('b')];
  a.core.campaign();
  t.like(a.status, { role: 'candidate', term: 2, vote: a.id, leader: undefined });
  t.deepEqual(kinds(group.run()), ['vote a>b', 'vote a>c']);
  group.deliver();
  t.deepEqual(kinds(group.run()), ['vote-reply b>a', 'vote-reply c>a']);
  t.like(b.status, { role: 'follower', term: 2, vote: a.id, leader: undefined });
  group.deliver();
  t.is(a.status.role, 'leader');
  t.deepEqual(kinds(group.run()), ['append a>b', 'append a>c']);
  t.is(a.status.commit, 1);
  group.deliver();
  t.is(b.status.leader, a.id);
  t.deepEqual(kinds(group.run()), ['append-reply b>a', 'append-reply c>a']);
  group.deliver(); // both: one more append to each tells the commit
  t.is(a.status.commit, 2);
  group.settle();
  t.is(b.status.commit, 2);
  t.deepEqual(a.progress('b'), {
    id: b.id,
    learner: false,
    state: 'replicate',
    match: 2,
    next: 3,
    recentActive: true,
    inflight: 0,
  });
});

test('a learner that is a voter already and does not know it keeps the group available', (t) => {
  // c is promoted; a and b apply that, c has the entry but not the news that it is committed.
  const confState = { ...EMPTY_CONF, voters: ['a', 'b'].map(raftId), learners: [raftId('c')] };
  const snapshot = { index: 1, term: 1, confState };
  const group = new Group(
    ['a', 'b', 'c'].map((name) => new Member(name, { snapshot, options: BARE })),
  );
  const [a, b, c] = [group.elect('a'), group.get('b'), group.get('c')];
  t.is(a.core.proposeConfChange(change('add-voter', 'c')).kind, 'accepted');
  c.applies = false;
  group.settle();
  t.deepEqual([a.conf(), b.conf(), c.conf()], ['abc', 'abc', 'ab|c']);
  group.isolate('a');
  c.core.campaign();
  t.is(c.status.role, 'follower', 'it takes itself for a learner');
  b.core.campaign();
  group.settle();
  t.is(b.status.role, 'leader', 'elected by itself and c');
  t.is(b.status.commit, b.status.lastIndex, 'and c counts for commits');
  c.apply();
  t.is(c.conf(), 'abc');
});

test('pre-votes: one that is behind gets none and keeps its term, one up to date wins', (t) => {
  const group = Group.of(3, { preVote: true, checkQuorum: false });
  const a = group.elect('a');
  group.isolate('c');
  a.propose('x');
  group.settle();
  group.mend();
  const [b, c] = [group.get('b'), group.get('c')];
  c.core.campaign();
  t.like(c.status, { role: 'pre-candidate', term: 2 });
  t.deepEqual(kinds(group.run()), ['pre-vote c>a', 'pre-vote c>b']);
  group.deliver();
  const replies = group.run();
  t.true(replies.every((reply) => reply.type === 'pre-vote-reply' && !reply.granted));
  group.deliver();
  t.like(c.status, { role: 'follower', term: 2 }, 'a quorum refused: it gives up at once');
  t.is(a.status.role, 'leader');
  b.core.campaign();
  group.run();
  group.deliver();
  group.run();
  group.deliver(); // granted by the leader itself, too: only check-quorum forbids that
  t.like(b.status, { role: 'candidate', term: 3 });
  group.settle();
  t.deepEqual(group.roles(), { a: 'follower', b: 'leader', c: 'follower' });
});

test('with check-quorum no pre-vote is granted while a leader is heard, unless a quorum gave it up', (t) => {
  const group = Group.of(3);
  group.elect('a');
  const [b, c] = [group.get('b'), group.get('c')];
  c.core.campaign();
  group.settle();
  t.is(c.status.role, 'pre-candidate', 'ignored by both: not even refused');
  t.is(count(group, 'pre-vote-reply'), 2, 'those of the first election');
  b.core.campaign(); // now two of three know no leader any more
  group.settle();
  const leader = group.leader();
  t.is(leader, b, 'elected by itself and c, although a lives');
  t.is(leader.status.term, 3);
  t.is(group.get('a').status.role, 'follower');
});

test('check-quorum: votes are withheld within the lease, and a leader alone steps down', (t) => {
  const group = Group.of(3, { preVote: false });
  const a = group.elect('a');
  const b = group.get('b');
  group.isolate('a');
  // One election timeout in which everything was heard at its start, one in which nothing was.
  group.tick('a', 10);
  t.is(a.status.role, 'leader');
  group.tick('a', 9);
  t.is(a.status.role, 'leader');
  group.tick('a');
  t.like(a.status, { role: 'follower', term: 2, leader: undefined });
  // The others' clocks stood still: they still follow a, and refuse c by not answering.
  group.get('c').core.campaign();
  group.settle();
  t.is(group.get('c').status.role, 'candidate');
  t.like(b.status, { term: 2, leader: a.id });
  group.tick('b', 10);
  group.get('c').core.campaign();
  group.settle();
  t.like(group.get('c').status, { role: 'leader', term: 4 });
  t.is(b.status.leader, raftId('c'));
});

test('forgetting a leader: nothing on leader and candidate, all but the timer on the others', (t) => {
  const group = Group.of(3, BARE);
  const a = group.elect('a');
  group.add(new Member('d', { options: BARE }));
  a.core.proposeConfChange(change('add-learner', 'd'));
  group.pass(4);
  a.core.forgetLeader();
  t.like(a.status, { role: 'leader', leader: a.id });
  for (const name of ['b', 'd']) {
    const member = group.get(name);
    group.tick(name, 5);
    member.core.forgetLeader();
    t.like(member.status, { role: 'follower', leader: undefined, term: 2, ticksSinceLeader: 5 });
    member.core.forgetLeader();
    t.is(member.status.leader, undefined, 'twice is as once');
  }
  group.pass(1);
  t.is(group.get('b').status.leader, a.id, 'the next heartbeat brings it back');
  t.is(group.get('d').status.leader, a.id);
  const b = group.get('b');
  b.core.campaign();
  b.core.forgetLeader();
  t.like(b.status, { role: 'candidate', term: 3 });
});

test('forgetting a leader frees pre-votes, for an up-to-date log alone', (t) => {
  const group = Group.of(3);
  const a = group.elect('a');
  const [b, c] = [group.get('b'), group.get('c')];
  group.isolate('c');
  a.propose('x');
  group.pass(1);
  group.mend();
  b.core.forgetLeader();
  c.core.campaign();
  group.settle(({ from, to }) => from === a.id || to === a.id);
  t.not(c.status.role, 'leader');
  t.is(b.status.term, 2, 'a stale log gets nothing, whatever is forgotten');
  group.pass(3);
  t.is(b.status.leader, a.id);
  t.is(c.status.commit, a.status.commit);
  c.core.campaign();
  group.settle();
  t.is(group.leader(), a, 'b follows a, so c is ignored');
  b.core.forgetLeader();
  c.core.campaign();
  group.settle();
  t.is(group.leader(), c);
  t.is(a.status.role, 'follower');
});

test('with leases a leader cannot be forgotten: somebody may be reading on that promise', (t) => {
  const group = Group.of(3, { readMode: 'lease' });
  group.pass(10);
  const a = group.elect('a');
  group.pass(2);
  const b = group.get('b');
  b.core.forgetLeader();
  t.is(b.status.leader, a.id);
  group.get('c').core.campaign();
  group.settle();
  t.is(group.leader(), a);
});
