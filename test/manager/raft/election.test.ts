import test from 'ava';
import { EMPTY_CONF } from '../../../manager/raft/conf-change.ts';
import type { Message, VoteRequest } from '../../../manager/raft/types.ts';
import { change, Group, logOf, Member, raftId } from './group.ts';

const BARE = { preVote: false, checkQuorum: false };

function voteRequest(from: string, to: string, over: Partial<VoteRequest> = {}): VoteRequest {
  return {
    type: 'vote',
    from: raftId(from),
    to: raftId(to),
    term: 5,
    lastIndex: 100,
    lastTerm: 4,
    transfer: false,
    ...over,
  };
}

test('a single voter leads once its vote is on disk, and commits once its entry is', (t) => {
  const a = Group.of(1).get('a');
  a.core.campaign();
  const candidacy = a.core.ready();
  t.is(a.status.role, 'candidate');
  t.like(candidacy, { mustSync: true, hardState: { term: 2, vote: raftId('a') } });
  a.carryOut(candidacy);
  t.is(a.status.role, 'leader');
  const noOp = a.core.ready();
  t.is(noOp.entries.length, 1);
  t.is(a.status.commit, 1, 'not before its own disk has it: there is nobody else');
  t.deepEqual(noOp.committedEntries, []);
  a.carryOut(noOp);
  t.is(a.status.commit, 2);
});

test('a timeout elects one leader, whose no-op is committed everywhere', (t) => {
  const group = Group.of(3);
  group.pass(25);
  const leaders = [...group.members.values()].filter(({ status }) => status.role === 'leader');
  t.is(leaders.length, 1);
  for (const { status } of group.members.values()) {
    t.is(status.leader, leaders[0]?.id);
    t.is(status.commit, status.lastIndex);
    t.true(status.commit >= 2);
  }
});

test('timeouts are drawn from [T, 2T-1] and differ from draw to draw', (t) => {
  const member = Group.of(3, BARE).get('a');
  const seen = new Set<number>();
  for (let campaign = 0; campaign < 200; campaign++) {
    const { term } = member.status;
    let ticks = 0;
    while (member.status.term === term) {
      member.core.tick();
      ticks++;
    }
    seen.add(ticks);
    member.run();
  }
  t.deepEqual(
    [...seen].sort((x, y) => x - y),
    [10, 11, 12, 13, 14, 15, 16, 17, 18, 19],
  );
});

test('a vote and its answer leave only after the vote is on disk', (t) => {
  const b = Group.of(3, BARE).get('b');
  b.core.step(voteRequest('a', 'b'));
  const ready = b.core.ready();
  t.like(ready, { mustSync: true, hardState: { term: 5, vote: raftId('a') } });
  t.deepEqual(ready.messages, []);
  t.like(ready.messagesAfterSync[0], { type: 'vote-reply', granted: true, term: 5 });
});

test('a vote survives a restart', (t) => {
  const b = Group.of(3, BARE).get('b');
  b.core.step(voteRequest('a', 'b'));
  b.run();
  const again = b.restarted();
  again.core.step(voteRequest('c', 'b'));
  t.like(again.run()[0], { granted: false });
  again.core.step(voteRequest('a', 'b'));
  t.like(again.run()[0], { granted: true });
});

test('a vote granted restarts the timer, a vote refused does not', (t) => {
  for (const [lastTerm, granted] of [
    [4, true],
    [0, false],
  ] as const) {
    const b = Group.of(3, BARE).get('b');
    for (let i = 0; i < 9; i++) b.core.tick();
    b.core.step(voteRequest('a', 'b', { lastTerm }));
    t.like(b.run()[0], { granted });
    t.is(b.status.ticksSinceLeader, granted ? 0 : 9);
  }
});

test('a member that was cut off comes back without unseating anyone', (t) => {
  const group = Group.of(3);
  const a = group.elect('a');
  const { term } = a.status;
  group.isolate('c');
  group.pass(100);
  t.is(group.get('c').status.term, term, 'pre-votes do not raise the term');
  group.mend();
  group.pass(30);
  t.deepEqual(group.roles(), { a: 'leader', b: 'follower', c: 'follower' });
  t.is(a.status.term, term);
});

test('without pre-vote, a candidate of a higher term is ignored while the leader is heard', (t) => {
  const group = Group.of(3, { preVote: false });
  const a = group.elect('a');
  const b = group.get('b');
  b.core.step(voteRequest('c', 'b', { term: 9 }));
  t.deepEqual(b.run(), []);
  t.is(b.status.term, a.status.term);
  for (let i = 0; i < 10; i++) b.core.tick();
  b.core.step(voteRequest('c', 'b', { term: 9 }));
  t.like(b.run().at(-1), { type: 'vote-reply', granted: true });
});

test('a candidate of a higher term that is stuck pulls the leader up, and the group goes on', (t) => {
  const group = Group.of(3, { preVote: false });
  group.elect('a');
  group.isolate('c');
  group.pass(60);
  const stuck = group.get('c').status.term;
  t.true(stuck > group.get('a').status.term);
  group.mend();
  group.pass(60);
  const [leader] = [...group.members.values()].filter(({ status }) => status.role === 'leader');
  t.true((leader?.status.term ?? 0) > stuck);
  t.is(group.get('c').status.leader, leader?.id);
});

test('a pre-candidate behind gets no pre-votes, one up to date does', (t) => {
  const group = Group.withLogs({ a: [1, 1, 1], b: [1, 1, 1], c: [1, 1] });
  group.get('c').core.campaign();
  group.settle();
  t.deepEqual(group.roles(), { a: 'follower', b: 'follower', c: 'follower' });
  t.is(group.get('c').status.term, 1);
  group.elect('b');
});

test('pre-votes of an older campaign do not count for the next', (t) => {
  const a = Group.withLogs({ a: [1], b: [1], c: [1] }).get('a');
  a.core.campaign();
  a.run();
  const reply = {
    type: 'pre-vote-reply',
    from: raftId('b'),
    to: raftId('a'),
    granted: true,
    commit: 0,
    commitTerm: 0,
  } as const;
  a.core.step({ ...reply, term: 1 });
  a.core.step({ ...reply, term: 3 });
  t.is(a.status.role, 'pre-candidate');
  a.core.step({ ...reply, term: 2 });
  t.is(a.status.role, 'candidate');
});

test('a leader without a quorum steps down within two election timeouts', (t) => {
  const group = Group.of(3);
  const a = group.elect('a');
  group.isolate('a');
  for (let i = 0; i < 20 && a.status.role === 'leader'; i++) group.tick('a');
  t.is(a.status.role, 'follower');
  t.is(a.status.leader, undefined);
});

test('a leader that hears a quorum stays, though one member is gone', (t) => {
  const group = Group.of(3);
  group.elect('a');
  group.isolate('c');
  group.pass(100);
  t.is(group.get('a').status.role, 'leader');
});

test('learners do not stand, but vote when asked: they may be voters and not know it yet', (t) => {
  const confState = { ...EMPTY_CONF, voters: [raftId('a')], learners: [raftId('b')] };
  const learner = new Member('b', { confState, entries: logOf(1) });
  for (let i = 0; i < 50; i++) learner.core.tick();
  t.is(learner.status.role, 'follower');
  learner.run();
  learner.core.step(voteRequest('a', 'b'));
  t.like(learner.run()[0], { type: 'vote-reply', granted: true });
});

test('a learner that lost its leader does not go on refusing others in its name', (t) => {
  const confState = { ...EMPTY_CONF, voters: [raftId('a')], learners: [raftId('b')] };
  const learner = new Member('b', { confState, entries: logOf(1) });
  learner.core.step({
    type: 'heartbeat',
    from: raftId('a'),
    to: learner.id,
    term: 1,
    commit: 0,
    readSeq: 0,
  });
  learner.run();
  for (let tick = 1; tick <= 100; tick++) {
    learner.core.tick();
    learner.core.step(voteRequest('a', 'b', { type: 'pre-vote' }));
    const [answer] = learner.run();
    if (tick < 10) t.is(answer, undefined);
    if (tick >= 19) t.like(answer, { granted: true });
  }
  t.is(learner.status.leader, undefined);
});

test('a node without any state waits, however long', (t) => {
  const fresh = new Member('x', {});
  for (let i = 0; i < 100; i++) fresh.core.tick();
  fresh.core.campaign();
  t.deepEqual(fresh.run(), []);
  t.is(fresh.status.role, 'follower');
});

test('nobody stands with a committed change of members unapplied', (t) => {
  const group = Group.of(3);
  group.elect('a');
  const b = group.get('b');
  b.applies = false;
  group.get('a').core.proposeConfChange(change('add-learner', 'd'));
  group.pass(2);
  t.is(b.toApply.at(-1)?.type, 'conf-change');
  b.core.campaign();
  t.is(b.status.role, 'follower');
  b.apply();
  b.core.campaign();
  t.is(b.status.role, 'pre-candidate');
});

test('two leaders in one term end the node that sees them', (t) => {
  const group = Group.of(3);
  const a = group.elect('a');
  const heartbeat: Message = {
    type: 'heartbeat',
    from: raftId('c'),
    to: raftId('a'),
    term: a.status.term,
    commit: 0,
    readSeq: 0,
  };
  t.throws(() => a.core.step(heartbeat), { message: /two leaders in term/ });
  const b = group.get('b');
  t.throws(() => b.core.step({ ...heartbeat, to: b.id }), { message: /two leaders in term/ });
});

test('votes tell what is committed: a removed member with the longer log blocks nobody', (t) => {
  // a led, removed itself with b's help, and holds one entry more; b has not heard of the commit.
  const group = Group.of(2, BARE);
  const a = group.elect('a');
  a.core.proposeConfChange(change('remove', 'a'));
  group.run();
  group.deliver(); // to b
  group.run();
  a.core.propose([new Uint8Array(1)]);
  group.deliver(); // b's acknowledgement: committed, and applied by a alone
  group.cut.add(`${raftId('a')}>${raftId('b')}`);
  group.settle();
  t.is(a.status.role, 'follower');
  const b = group.get('b');
  t.true(a.status.lastIndex > b.status.lastIndex);
  t.true(a.status.commit > b.status.commit);
  group.mend();
  b.core.campaign();
  group.settle();
  t.is(b.status.commit, a.status.commit);
  t.deepEqual(b.status.confState.voters, [raftId('b')]);
  b.core.campaign();
  group.settle();
  t.is(b.status.role, 'leader');
});

test('options that cannot work are refused', (t) => {
  t.throws(() => Group.of(1, { electionTicks: 1 }), { instanceOf: RangeError });
  t.throws(() => Group.of(1, { readMode: 'lease', checkQuorum: false }), {
    instanceOf: RangeError,
  });
});

test('a stored term below that of the log is a loss, not a start', (t) => {
  const hardState = { term: 1, vote: undefined, commit: 0 };
  t.throws(() => new Member('a', { entries: logOf(1, 2), hardState }), {
    message: /after the stored term/,
  });
});

test('what a voter of an older term knows to be committed is learnt from its refusal', (t) => {
  const group = Group.of(3);
  const a = group.elect('a');
  group.pass(2);
  a.propose('x');
  group.settle(({ type }) => type === 'append-reply');
  const b = group.get('b');
  t.is(b.status.lastIndex, 3);
  t.is(b.status.commit, 2);
  b.core.step(voteRequest('c', 'b', { term: 9, transfer: true, lastTerm: 1 }));
  b.run();
  t.is(b.status.term, 9);
  const refusal = { from: raftId('c'), to: b.id, term: 2, granted: false } as const;
  b.core.step({ type: 'pre-vote-reply', ...refusal, commit: 3, commitTerm: 1 });
  t.is(b.status.commit, 2, 'that is another entry');
  b.core.step({ type: 'pre-vote-reply', ...refusal, commit: 3, commitTerm: 2 });
  t.is(b.status.commit, 3);
});
