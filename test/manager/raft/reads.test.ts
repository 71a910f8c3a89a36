import test from 'ava';
import { ForwardedReads, ReadQueue } from '../../../manager/raft/read-index.ts';
import type { Message, RaftOptions } from '../../../manager/raft/types.ts';
import { change, Group, Member, raftId } from './group.ts';

function led(options: Partial<RaftOptions> = {}) {
  const group = Group.of(3, options);
  const a = group.elect('a');
  group.pass(2);
  return { group, a };
}

const LEASE: Partial<RaftOptions> = { readMode: 'lease' };

/** With leases nobody may stand right after the start. */
function ledByLease() {
  const group = Group.of(3, LEASE);
  group.pass(10);
  const a = group.elect('a');
  group.pass(2);
  return { group, a };
}

test('a read is answered with the commit index once a quorum has confirmed the leader', (t) => {
  const { group, a } = led();
  a.core.readIndex(7);
  const sent = a.run();
  t.deepEqual(
    sent.map(({ type }) => type),
    ['heartbeat', 'heartbeat'],
  );
  t.deepEqual(a.readStates, []);
  group.deliver();
  for (const message of sent) group.members.get(message.to)?.core.step(message);
  group.settle();
  t.deepEqual(a.readStates, [{ context: 7, index: 2 }]);
});

test('reads of one turn share one round', (t) => {
  const { a } = led();
  for (let i = 0; i < 20; i++) a.core.readIndex(i);
  t.is(a.run().length, 2);
});

test('an answer to an earlier heartbeat confirms no later read', (t) => {
  const { a } = led();
  a.core.readIndex(1);
  const [old] = a.run();
  const reply: Message = {
    type: 'heartbeat-reply',
    from: raftId('b'),
    to: a.id,
    term: 2,
    readSeq: old?.type === 'heartbeat' ? old.readSeq : -1,
  };
  // The process stands still; the reader tries again under the same context.
  a.core.readIndex(1);
  a.run();
  a.core.step(reply);
  a.run();
  t.is(a.readStates.length, 1, 'the first try alone');
});

test('a leader that was deposed without knowing answers nothing', (t) => {
  const { group, a } = led();
  group.isolate('a');
  group.get('b').core.campaign();
  group.pass(30, () => false);
  a.core.readIndex(1);
  group.settle();
  t.deepEqual(a.readStates, []);
});

test('on losing leadership all pending reads are dropped', (t) => {
  const { group, a } = led();
  group.isolate('a');
  a.core.readIndex(1);
  a.core.readIndex(2);
  for (let i = 0; i < 20; i++) group.tick('a');
  group.settle();
  t.deepEqual(a.readStates, []);
  t.deepEqual(a.droppedReads, [
    { context: 1, reason: 'leader-changed' },
    { context: 2, reason: 'leader-changed' },
  ]);
});

test('a new leader answers no read before it has committed an entry of its term', (t) => {
  const group = Group.of(3);
  const a = group.get('a');
  a.core.campaign();
  group.settle(({ type }) => type === 'append');
  t.is(a.status.role, 'leader');
  a.core.readIndex(1);
  group.pass(2, ({ type }) => type === 'append');
  t.deepEqual(a.readStates, []);
  group.pass(2);
  t.deepEqual(a.readStates, [{ context: 1, index: 2 }]);
});

test('a single voter answers its own reads at once', (t) => {
  const group = Group.of(1);
  const a = group.elect('a');
  a.core.readIndex(3);
  a.run();
  t.deepEqual(a.readStates, [{ context: 3, index: 2 }]);
});

test("a follower's read goes to the leader and comes back", (t) => {
  const { group } = led();
  const b = group.get('b');
  b.core.readIndex(9);
  group.settle();
  t.deepEqual(b.readStates, [{ context: 9, index: 2 }]);
});

test('a read without a leader is dropped at once, one without an answer in time', (t) => {
  const b = Group.of(3).get('b');
  b.core.readIndex(1);
  b.run();
  t.deepEqual(b.droppedReads, [{ context: 1, reason: 'no-leader' }]);
  const { group } = led();
  const c = group.get('c');
  c.core.readIndex(2);
  group.pass(10, ({ type }) => type === 'read-index');
  t.deepEqual(c.droppedReads, [{ context: 2, reason: 'timed-out' }]);
});

test("a follower's pending reads are dropped when leadership moves", (t) => {
  const { group, a } = led();
  const c = group.get('c');
  c.core.readIndex(1);
  c.run();
  a.core.transferLeadership(raftId('b'));
  group.settle(({ type }) => type === 'read-index');
  t.deepEqual(c.droppedReads, [{ context: 1, reason: 'leader-changed' }]);
});

test('reads beyond the limit are dropped, at the leader and at a follower', (t) => {
  const { group, a } = led({ maxPendingReads: 2 });
  group.isolate('a');
  for (const member of [a, group.get('b')]) {
    for (let i = 1; i <= 3; i++) {
      member.core.readIndex(i);
      member.run(); // those of an earlier round count as well
    }
    t.deepEqual(member.droppedReads, [{ context: 3, reason: 'too-many' }]);
  }
});

test('a leased leader answers at once, and no longer when its heartbeats go unanswered', (t) => {
  const { group, a } = ledByLease();
  a.core.readIndex(1);
  t.deepEqual(a.run(), []);
  t.is(a.readStates.length, 1);
  group.isolate('a');
  for (let i = 0; i < 8; i++) group.tick('a');
  a.run();
  t.is(a.status.role, 'leader', 'the check of the quorum has not come yet');
  a.core.readIndex(2);
  a.run();
  t.is(a.readStates.length, 1, 'the lease is over before any other can be elected');
});

test('a lease counts from when a heartbeat was sent, not from when its answer came', (t) => {
  const { group, a } = ledByLease();
  group.isolate('a');
  group.tick('a');
  const beats = a.run().filter(({ type }) => type === 'heartbeat');
  for (let i = 0; i < 8; i++) group.tick('a');
  a.run();
  for (const beat of beats) {
    group.members.get(beat.to)?.core.step(beat);
    for (const reply of group.members.get(beat.to)?.run() ?? []) a.core.step(reply);
  }
  a.core.readIndex(1);
  a.run();
  t.deepEqual(a.readStates, []);
});

test('a leader that told another to stand gives its lease up for good', (t) => {
  const { group, a } = ledByLease();
  group.cut.add(`${a.id}>${raftId('b')}`);
  a.core.transferLeadership(raftId('b'));
  group.settle();
  a.core.readIndex(1);
  const sent = a.run();
  t.deepEqual(a.readStates, []);
  t.true(
    sent.some(({ type }) => type === 'heartbeat'),
    'by a round instead',
  );
});

test('with leases, a voter that has just started votes for nobody: it may have promised', (t) => {
  const { group } = ledByLease();
  const b = group.get('b').restarted();
  t.is(b.status.role, 'follower');
  const leased = Group.of(3, LEASE).get('b');
  leased.core.step({
    type: 'vote',
    from: raftId('c'),
    to: leased.id,
    term: 9,
    lastIndex: 99,
    lastTerm: 8,
    transfer: false,
  });
  t.deepEqual(leased.run(), []);
  for (let i = 0; i < 10; i++) leased.core.tick();
  leased.core.campaign();
  t.is(leased.status.role, 'pre-candidate');
});

test('ReadQueue binds each batch to a position of its own', (t) => {
  const queue = new ReadQueue(10);
  queue.add({ from: raftId('a'), key: 1 });
  queue.startRound(5);
  queue.add({ from: raftId('a'), key: 2 });
  t.deepEqual(
    queue.takeConfirmed(1).map(({ key, index }) => [key, index]),
    [[1, 5]],
  );
  t.deepEqual(queue.takeConfirmed(99), []);
  queue.startRound(6);
  t.deepEqual(queue.takeConfirmed(1), []);
  t.deepEqual(
    queue.takeConfirmed(2).map(({ key, index }) => [key, index]),
    [[2, 6]],
  );
});

test('ForwardedReads gives each request a fresh id, and expires them in order', (t) => {
  const reads = new ForwardedReads(1_000, 2, 3);
  t.is(reads.add(7), 1_000);
  reads.tick();
  t.is(reads.add(7), 1_001);
  t.is(reads.add(7), undefined);
  t.is(reads.take(1_001), 7);
  t.is(reads.take(1_001), undefined);
  reads.tick();
  t.deepEqual(reads.tick(), [7]);
  t.deepEqual(reads.drain(), []);
});

test('a learner reads through the leader, and counts for no confirmation', (t) => {
  const { group, a } = led();
  const d = group.add(new Member('d', {}));
  a.core.proposeConfChange(change('add-learner', 'd'));
  group.pass(4);
  d.core.readIndex(1);
  group.settle();
  t.deepEqual(d.readStates, [{ context: 1, index: a.status.commit }]);
  group.split('bc', 'ad');
  d.core.readIndex(2);
  group.settle();
  t.is(d.readStates.length, 1, 'a and d are no quorum');
});

test('a retry gets a position and a request id of its own, above all before', (t) => {
  const { group } = led();
  const b = group.get('b');
  const ids: number[] = [];
  for (let i = 0; i < 3; i++) {
    b.core.readIndex(7);
    for (const message of b.run()) if (message.type === 'read-index') ids.push(message.requestId);
  }
  t.is(new Set(ids).size, 3);
  t.deepEqual(
    [...ids].sort((x, y) => x - y),
    ids,
  );
});
