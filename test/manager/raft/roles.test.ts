import test from 'ava';
import { change, Group, raftId } from './group.ts';

const BARE = { preVote: false, checkQuorum: false };
const LEASE = { checkQuorum: true, readMode: 'lease' } as const;

const between = (from: string, to: string, term: number) => ({
  from: raftId(from),
  to: raftId(to),
  term,
});

test('the first answer of a voter stands, whatever comes after it in the same term', (t) => {
  const a = Group.of(5, BARE).get('a');
  a.core.campaign();
  a.run();
  const answer = (from: string, granted: boolean) => {
    const known = { granted, commit: 0, commitTerm: 0 };
    a.core.step({ type: 'vote-reply', ...between(from, 'a', 2), ...known });
  };
  answer('b', true);
  answer('b', false);
  t.is(a.status.role, 'candidate');
  answer('c', true);
  t.is(a.status.role, 'leader');
});

test('a leader that steps down waits a whole timeout before it stands again', (t) => {
  const group = Group.of(3, BARE);
  const a = group.get('a');
  a.core.campaign();
  group.run();
  group.tick('a', 9); // its votes are long on their way
  group.settle();
  t.is(a.status.role, 'leader');
  a.core.step({ type: 'heartbeat-reply', ...between('c', 'a', 9), readSeq: 0 });
  t.like(a.status, { role: 'follower', term: 9 });
  group.tick('a', 9);
  t.like(a.status, { role: 'follower', term: 9 });
  group.tick('a', 10);
  t.is(a.status.role, 'candidate');
});

test('with leases nobody is made to stand while another may be reading on its promise', (t) => {
  const group = Group.of(3, LEASE);
  const b = group.get('b');
  b.core.campaign();
  t.is(b.status.role, 'follower', 'it has just started, and may have promised before');
  group.tick('b', 9);
  b.core.campaign();
  t.is(b.status.role, 'follower');
  group.tick('b');
  b.core.campaign();
  t.is(b.status.role, 'pre-candidate');
  const heard = Group.of(3, LEASE);
  for (const name of 'abc') heard.tick(name, 10);
  heard.elect('a');
  const follower = heard.get('b');
  follower.core.campaign();
  t.is(follower.status.role, 'follower');
});

test('an order to stand makes no candidate of a member that may not stand', (t) => {
  const group = Group.of(3, BARE);
  const a = group.elect('a');
  a.core.proposeConfChange(change('add-learner', 'c'));
  group.settle();
  const [b, c] = [group.get('b'), group.get('c')];
  t.is(c.conf(), 'ab|c');
  c.core.step({ type: 'timeout-now', ...between('a', 'c', 2) });
  t.is(c.status.role, 'follower', 'a learner');
  b.applies = false;
  a.core.proposeConfChange(change('add-voter', 'c'));
  group.settle();
  b.core.step({ type: 'timeout-now', ...between('a', 'b', 2) });
  t.is(b.status.role, 'follower', 'the change is not applied');
  b.apply();
  b.core.step({ type: 'timeout-now', ...between('a', 'b', 2) });
  t.is(b.status.role, 'candidate');
});

test('a vote is of one term: a newer term begins without one, on disk as well', (t) => {
  const group = Group.of(3, BARE);
  group.elect('a');
  const b = group.get('b');
  t.is(b.hardState.vote, raftId('a'));
  b.core.step({ type: 'heartbeat', ...between('c', 'b', 7), commit: 0, readSeq: 0 });
  b.run();
  t.is(b.status.vote, undefined);
  t.like(b.hardState, { term: 7, vote: undefined });
});

test('what was asked of a leader is over with its term, though the same member leads the next', (t) => {
  const group = Group.of(3, BARE);
  group.elect('a');
  const b = group.get('b');
  b.core.readIndex(7);
  b.run();
  b.core.step({ type: 'heartbeat', ...between('a', 'b', 3), commit: 0, readSeq: 0 });
  b.run();
  t.deepEqual(b.droppedReads, [{ context: 7, reason: 'leader-changed' }]);
});

test('who learns from a vote that a change of members is committed does not go on counting votes', (t) => {
  const group = Group.of(3, BARE);
  const a = group.elect('a');
  const [b, c] = [group.get('b'), group.get('c')];
  a.core.proposeConfChange(change('add-voter', 'd'));
  // c gets the entry, and not the news that it is committed.
  group.settle((message) => message.type === 'append' && message.to === c.id && message.commit > 2);
  t.deepEqual([b.conf(), c.conf()], ['abcd', 'abc']);
  group.isolate('a');
  c.core.campaign();
  group.run();
  group.deliver();
  group.run();
  group.deliver();
  t.is(c.status.role, 'follower', 'two of three would have been a majority before the change');
  group.settle();
  t.is(c.conf(), 'abcd');
});

test('a leader commits by counting alone, whatever a late vote tells of older terms', (t) => {
  const group = Group.withLogs({ a: [1, 2], b: [1], c: [1, 2] }, BARE);
  const a = group.get('a');
  a.core.campaign();
  a.run();
  const vote = { type: 'vote-reply', granted: true } as const;
  const term = a.status.term;
  a.core.step({ ...vote, ...between('b', 'a', term), commit: 0, commitTerm: 0 });
  t.is(a.status.role, 'leader');
  a.core.step({ ...vote, ...between('c', 'a', term), commit: 2, commitTerm: 2 });
  t.like(a.status, { role: 'leader', commit: 0 });
});

test('a leader that was elected late keeps its lease from the first moment', (t) => {
  const group = Group.of(3, { preVote: false });
  const late = group.get('c');
  late.core.campaign();
  group.run();
  const { term } = late.status;
  group.tick('c', 10); // as long as the lease, and shorter than the timeout that it drew
  t.like(late.status, { role: 'candidate', term });
  group.settle();
  t.is(late.status.role, 'leader');
  const log = { lastIndex: 99, lastTerm: 99, transfer: false };
  late.core.step({ type: 'vote', ...between('b', 'c', term + 5), ...log });
  t.like(late.status, { role: 'leader', term });
});

test('a transfer ends with the acknowledgement that was missing, not with the next heartbeat', (t) => {
  const group = Group.of(3);
  const a = group.elect('a');
  group.isolate('b');
  a.propose('x');
  group.settle();
  group.mend();
  a.core.transferLeadership(raftId('b'));
  group.settle(); // not a tick passes
  t.deepEqual(group.roles(), { a: 'follower', b: 'leader', c: 'follower' });
});

test('changes of members count against the limit of what is not committed, and are taken off again', (t) => {
  const limit = 100;
  const group = Group.of(3, { maxUncommittedBytes: limit });
  const a = group.elect('a');
  const isFullAfter = (length: number) => {
    const accepted = a.propose('x'.repeat(length)).kind === 'accepted';
    const more = a.propose('y');
    const another = a.core.proposeConfChange(change('add-learner', 'e'));
    group.settle();
    return accepted && [more, another].every(({ kind }) => kind === 'dropped');
  };
  t.true(isFullAfter(limit));
  a.core.proposeConfChange(change('add-learner', 'd'));
  group.settle();
  t.true(isFullAfter(limit));
  const changes = [change('remove', 'd'), change('remove', 'c')];
  a.core.proposeConfChange({ kind: 'enter-joint', changes, autoLeave: true });
  group.settle();
  t.is(a.conf(), 'ab', 'left by itself');
  t.true(isFullAfter(limit));
});

test('a term is on disk before anybody is told that this member is in it', (t) => {
  const b = Group.of(3, BARE).get('b');
  b.core.step({ type: 'heartbeat', ...between('c', 'b', 7), commit: 0, readSeq: 1 });
  const ready = b.core.ready();
  t.like(ready.hardState, { term: 7 });
  t.true(ready.mustSync);
  t.deepEqual(ready.messages, []);
  t.deepEqual(
    ready.messagesAfterSync.map(({ type }) => type),
    ['heartbeat-reply'],
  );
});
