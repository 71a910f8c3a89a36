/** Disks that take their time: a `Ready` is on its way to the disk while messages come in. */
import test from 'ava';
import type { Entry, Message, RaftOptions } from '../../../../manager/raft/types.ts';
import { entry, Group, Member, raftId } from '../group.ts';

const BARE: Partial<RaftOptions> = { preVote: false, checkQuorum: false };

function append(to: Member, term: number, prev: [number, number], entries: Entry[], commit = 0) {
  const [prevIndex, prevTerm] = prev;
  const from = raftId(`l${term}`); // each term has a leader of its own
  return { type: 'append', from, to: to.id, term, prevIndex, prevTerm, commit, entries } as const;
}

test('a leader goes on while its disk writes: followers commit, it counts itself later', (t) => {
  const group = Group.of(3, BARE);
  const a = group.elect('a');
  group.pass(2);
  a.propose('1');
  const writing = a.core.ready();
  for (const message of writing.messages) group.members.get(message.to)?.core.step(message);
  a.propose('2'); // taken in, written with the next
  for (const name of 'bc') for (const reply of group.get(name).run()) a.core.step(reply);
  t.is(a.status.commit, 3, 'b and c are a majority without it');
  t.false(a.core.hasReady(), 'one at a time');
  t.deepEqual(writing.committedEntries, []);
  a.carryOut(writing);
  t.is(a.progress('a').match, 3);
  const next = a.core.ready();
  t.like(next.entries, [{ index: 4 }]);
  t.like(next.committedEntries, [{ index: 3 }], 'durable here by now: it may be applied');
  a.carryOut(next);
});

test('what is committed elsewhere is not applied here before it is on this disk', (t) => {
  const group = Group.of(3, BARE);
  const a = group.elect('a');
  group.pass(2);
  a.propose('1');
  group.run();
  const b = group.get('b');
  const [toB] = group.sent.filter((m) => m.type === 'append' && m.to === b.id).slice(-1);
  b.core.step({ ...(toB as Message & { type: 'append' }), commit: 3 });
  const writing = b.core.ready();
  t.is(writing.hardState?.commit, 3);
  t.deepEqual(writing.committedEntries, []);
  b.carryOut(writing);
  t.like(b.core.ready().committedEntries, [{ index: 3 }]);
});

test('three terms write one index while the first write is under way: only the last one counts', (t) => {
  const b = new Member('b', {
    options: BARE,
    confState: {
      voters: ['b', 'x', 'y'].map(raftId),
      learners: [],
      votersOutgoing: [],
      learnersNext: [],
      autoLeave: false,
    },
    entries: [entry(1, 1)],
    hardState: { term: 1, vote: undefined, commit: 1 },
  });
  b.core.step(append(b, 1, [1, 1], [entry(2, 1, 'first')], 1));
  const first = b.core.ready();
  b.core.step(append(b, 2, [1, 1], [entry(2, 2, 'second')], 1));
  b.core.step(append(b, 3, [1, 1], [entry(2, 3, 'third')], 1));
  const sent = b.carryOut(first);
  t.like(sent, [{ type: 'append-reply', term: 1, index: 2 }], 'true of the leader of term 1');
  t.is(b.log.term(2), 1, 'on disk is what the first one wrote');
  const second = b.core.ready();
  t.like(second.entries, [{ index: 2, term: 3 }], 'the finished write made nothing stable of it');
  t.is(second.hardState?.term, 3);
  b.carryOut(second);
  t.deepEqual(b.terms(), [1, 3]);
  // The same term again at the same index, after another in between: the ABA.
  b.core.step(append(b, 4, [1, 1], [entry(2, 4, 'a')], 1));
  const slow = b.core.ready();
  b.core.step(append(b, 5, [1, 1], [entry(2, 5, 'b'), entry(3, 5, 'b')], 1));
  b.carryOut(slow);
  b.run();
  t.deepEqual(b.terms(), [1, 5, 5]);
  t.is(b.status.commit, 1);
});

test('entries replaced in the turn that they came in: the old answer leaves, for the old term', (t) => {
  const group = Group.withLogs({ b: [1], x: [1], y: [1], z: [1], w: [1] }, BARE);
  const b = group.get('b');
  b.core.step(append(b, 1, [1, 1], [entry(2, 1), entry(3, 1)]));
  b.core.step(append(b, 2, [1, 1], [entry(2, 2)]));
  const ready = b.core.ready();
  t.like(ready.entries, [{ index: 2, term: 2 }]);
  t.like(ready.messagesAfterSync, [
    { type: 'append-reply', term: 1, index: 3 },
    { type: 'append-reply', term: 2, index: 2 },
  ]);
  b.carryOut(ready);
  t.deepEqual(b.terms(), [1, 2]);
});

test('an acknowledgement of an older leader is not taken for one of the new leader', (t) => {
  const group = Group.of(3, BARE);
  const a = group.elect('a');
  group.pass(2);
  a.propose('x');
  const toB = a.run().find((m) => m.type === 'append' && m.to === raftId('b'));
  const b = group.get('b');
  b.core.step(toB as Message);
  const writing = b.core.ready();
  // b moves on to term 3, elected there by c, before its disk is done.
  const c = group.get('c');
  c.core.campaign();
  const request = c.run().find((m) => m.to === b.id);
  b.core.step(request as Message);
  const late = b.carryOut(writing);
  t.like(late, [{ type: 'append-reply', term: 2 }]);
  for (const message of late) c.core.step({ ...message, to: c.id });
  t.is(c.status.role, 'candidate');
  t.like(b.run(), [{ type: 'vote-reply', granted: false, term: 3 }], 'c lacks the entry');
});

test('a vote of one term on its way to the disk does not count in the next', (t) => {
  const a = Group.of(3, BARE).get('a');
  a.core.campaign();
  const first = a.core.ready();
  a.core.campaign();
  a.carryOut(first);
  t.like(a.status, { role: 'candidate', term: 3 });
  const grant = { type: 'vote-reply', to: a.id, granted: true, commit: 0, commitTerm: 0 } as const;
  a.core.step({ ...grant, from: raftId('b'), term: 2 });
  t.is(a.status.role, 'candidate');
  a.core.step({ ...grant, from: raftId('b'), term: 3 });
  t.is(a.status.role, 'candidate', 'its own vote of term 3 is not on disk yet');
  a.run();
  t.is(a.status.role, 'leader');
});
