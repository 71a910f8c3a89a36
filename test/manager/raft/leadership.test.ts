import test from 'ava';
import type { Message } from '../../../manager/raft/types.ts';
import { change, Group, type Member, raftId } from './group.ts';

const between = (from: string, to: string, term = 2) => ({
  from: raftId(from),
  to: raftId(to),
  term,
});
const stored = (from: string, index: number): Message => ({
  type: 'append-reply',
  ...between(from, 'a'),
  index,
  rejected: false,
  hintIndex: 0,
  hintTerm: 0,
});
const beaten = (from: string, readSeq: number): Message => ({
  type: 'heartbeat-reply',
  ...between(from, 'a'),
  readSeq,
});
const seqOf = (messages: readonly Message[]): number =>
  Math.max(...messages.map((one) => (one.type === 'heartbeat' ? one.readSeq : 0)));

function led(voters: number): { group: Group; a: Member } {
  const group = Group.of(voters);
  return { group, a: group.elect('a') };
}

/** `d` of four is being removed: the leader knows that it is committed, and has not applied it. */
function removing(): { group: Group; a: Member } {
  const { group, a } = led(4);
  a.applies = false;
  a.core.proposeConfChange(change('remove', 'd'));
  group.settle();
  return { group, a };
}

test('what half of the members have is committed the moment that one is removed', (t) => {
  const { group, a } = removing();
  group.split('ab', 'cd');
  a.propose('x');
  group.settle();
  t.true(a.status.commit < a.status.lastIndex, 'two of four');
  a.apply();
  t.is(a.status.commit, a.status.lastIndex, 'two of three');
});

test('what half of the members confirmed is read the moment that one is removed', (t) => {
  const { a } = removing();
  a.core.readIndex(5);
  const seq = seqOf(a.run());
  a.core.step(beaten('b', seq));
  a.run();
  t.deepEqual(a.readStates, [], 'two of four');
  a.apply();
  a.run();
  t.deepEqual(a.readStates, [{ context: 5, index: a.status.commit }]);
});

test('all members are told what is committed, also those whose answers did not count', (t) => {
  const { group, a } = led(3);
  a.propose('x');
  group.run(); // entries to both are on their way
  a.core.step(stored('b', 3));
  const told = a.run().flatMap((one) => (one.type === 'append' ? [[one.to, one.commit]] : []));
  t.deepEqual(told, [
    [raftId('b'), 3],
    [raftId('c'), 3],
  ]);
});

test('a leader that ends drops its own reads: those of others are theirs to drop', (t) => {
  const { group, a } = led(3);
  a.core.readIndex(1);
  a.core.step({ type: 'read-index', ...between('b', 'a'), requestId: 2 });
  group.run();
  a.core.step({ type: 'heartbeat-reply', ...between('c', 'a', 9), readSeq: 0 });
  a.run();
  t.deepEqual(a.droppedReads, [{ context: 1, reason: 'leader-changed' }]);
});

test('an acknowledgement that comes late does not take back a later one', (t) => {
  const { a } = led(5);
  a.core.readIndex(1);
  const first = seqOf(a.run());
  a.core.readIndex(2);
  const second = seqOf(a.run());
  a.core.step(beaten('b', second));
  a.core.step(beaten('b', first));
  a.core.step(beaten('c', second));
  a.run();
  t.deepEqual(
    a.readStates.map(({ context }) => context),
    [1, 2],
  );
});

test('a snapshot that failed is followed by a probe of what was there before it, after a heartbeat', (t) => {
  const { group, a } = led(3);
  group.isolate('c');
  for (const text of ['x', 'y', 'z']) a.propose(text);
  group.settle();
  a.compact(a.status.applied);
  group.mend();
  for (const name of 'abc') group.tick(name);
  group.settle(({ type }) => type === 'snapshot');
  t.is(a.progress('c').state, 'snapshot');
  a.core.reportSnapshot(raftId('c'), false);
  t.like(a.progress('c'), { state: 'probe', match: 2, next: 3 });
  a.propose('news');
  t.false(
    a.run().some(({ to }) => to === raftId('c')),
    'nothing at once, whatever there is to tell',
  );
  a.core.step(beaten('c', 0));
  t.deepEqual(
    a.run().map(({ type }) => type),
    ['snapshot'],
  );
});

test('a transfer asks a member whose acknowledgements were lost where it is, at once', (t) => {
  const { group, a } = led(3);
  a.propose('x');
  group.settle(({ type, from }) => type === 'append-reply' && from === raftId('b'));
  t.is(a.progress('b').match, 2);
  a.core.transferLeadership(raftId('b'));
  group.settle(); // not a tick passes
  t.is(group.get('b').status.role, 'leader');
});

test('appends that overtake each other are sent ahead again after the next heartbeat', (t) => {
  const { group, a } = led(3);
  const refused = (index: number): Message => ({
    type: 'append-reply',
    ...between('c', 'a'),
    index,
    rejected: true,
    hintIndex: 2,
    hintTerm: 2,
  });
  group.isolate('c');
  for (let i = 0; i < 2; i++) {
    for (const text of ['x', 'y', 'z']) {
      a.propose(text);
      group.settle();
    }
    a.core.step(refused(a.progress('c').next - 1));
    a.run();
    a.core.step(stored('c', 2)); // the logs meet where they did
    a.run();
  }
  t.is(a.progress('c').state, 'probe');
  group.tick('a');
  a.run();
  a.core.step(stored('c', 2));
  t.is(a.progress('c').state, 'replicate');
});

test('entries of earlier terms, which a new leader could not count, are not taken off its count', (t) => {
  const limit = 100;
  const group = Group.withLogs({ a: [1, 2, 2], b: [1, 2, 2] }, { maxUncommittedBytes: limit });
  const a = group.elect('a'); // hands out the three entries that it found
  t.is(a.status.commit, 4);
  t.is(a.propose('x'.repeat(limit)).kind, 'accepted');
  t.is(a.propose('y').kind, 'dropped');
});
