import test from 'ava';
import type { AppendRequest, Message, RaftOptions } from '../../../manager/raft/types.ts';
import { bytes, entry, Group, raftId } from './group.ts';

const BARE = { preVote: false, checkQuorum: false };

/** A leader `a` of three whose members all replicate, with nothing on its way. */
function steady(options: Partial<RaftOptions> = {}) {
  const group = Group.of(3, options);
  const a = group.elect('a');
  group.pass(2);
  return { group, a };
}

function appendsTo(name: string, messages: readonly Message[]): AppendRequest[] {
  return messages.filter((m): m is AppendRequest => m.type === 'append' && m.to === raftId(name));
}

test('a proposal is committed by a majority and applied everywhere in order', (t) => {
  const { group, a } = steady();
  t.deepEqual(a.propose('x', 'y'), { kind: 'accepted', term: 2, first: 3, last: 4 });
  a.propose('z');
  group.settle();
  for (const member of group.members.values()) t.deepEqual(member.appliedTexts(), ['x', 'y', 'z']);
});

test('all proposals of one turn travel in one append for each member, and in one write', (t) => {
  const { a } = steady();
  for (let i = 0; i < 50; i++) a.propose(`w${i}`);
  const ready = a.core.ready();
  t.is(ready.entries.length, 50);
  t.deepEqual(
    ready.messages.map((m) => [m.type, m.to]),
    [
      ['append', raftId('b')],
      ['append', raftId('c')],
    ],
  );
});

test("a leader's appends leave before its own sync, its own copy counts only after", (t) => {
  const group = Group.of(2);
  const a = group.elect('a');
  group.pass(2);
  a.propose('x');
  const ready = a.core.ready();
  const [append] = ready.messages;
  t.is(append?.type, 'append');
  group.get('b').core.step(append as Message);
  for (const reply of group.get('b').run()) a.core.step(reply);
  t.is(a.status.commit, 2, 'b has it, but a does not yet');
  a.carryOut(ready);
  t.is(a.status.commit, 3);
});

test('a follower acknowledges only what is on its disk', (t) => {
  const { group, a } = steady();
  a.propose('x');
  const [append] = appendsTo('b', a.run());
  const b = group.get('b');
  b.core.step(append as Message);
  const ready = b.core.ready();
  t.deepEqual(ready.messages, []);
  t.true(ready.mustSync);
  t.like(ready.messagesAfterSync[0], { type: 'append-reply', rejected: false, index: 3 });
});

test('proposals elsewhere than at the leader are dropped', (t) => {
  const { group } = steady();
  t.deepEqual(group.get('b').propose('x'), { kind: 'dropped', reason: 'not-leader' });
});

// Figure 7: the logs that a leader of term 8 can find.
const FIGURE_7 = {
  leader: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6],
  others: {
    'lacks the last entry': [1, 1, 1, 4, 4, 5, 5, 6, 6],
    'lacks much': [1, 1, 1, 4],
    'has one entry more': [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    'has entries of a term the leader never saw': [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    'has too few and too many of a term': [1, 1, 1, 4, 4, 4, 4],
    'has two terms that nobody committed': [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
  },
};
for (const [what, log] of Object.entries(FIGURE_7.others)) {
  test(`figure 7: a follower that ${what} ends with the leader's log`, (t) => {
    const group = Group.withLogs({ a: FIGURE_7.leader, b: log, c: FIGURE_7.leader }, BARE);
    const a = group.get('a');
    // Terms up to 7 are taken: a leads term 8, elected by c.
    group.isolate('b');
    while (a.status.term < 8) {
      a.core.campaign();
      group.settle(({ type, term }) => type === 'vote' && term < 8);
    }
    t.is(a.status.role, 'leader');
    group.mend();
    group.pass(5);
    t.deepEqual(group.get('b').terms(), [...FIGURE_7.leader, 8]);
    t.deepEqual(group.get('b').applied, a.applied);
  });
}

test('a rejection skips a whole term at a time', (t) => {
  const own = [1, ...Array.from({ length: 50 }, () => 2)];
  const other = [1, ...Array.from({ length: 30 }, () => 1)];
  const group = Group.withLogs({ a: own, b: other, c: own }, BARE);
  group.get('a').core.campaign();
  group.settle();
  group.pass(2);
  t.deepEqual(group.get('b').terms(), [...own, 3]);
  const rejections = group.sent.filter((m) => m.type === 'append-reply' && m.rejected);
  t.true(rejections.length <= 2, `${rejections.length} rejections for 50 entries`);
});

test('figure 8: entries of an older term are not committed by counting copies', (t) => {
  // (c) of the figure: a leads term 4 with an entry of term 2 that a majority holds.
  const group = Group.withLogs({ a: [1, 2], b: [1, 2], c: [1, 2], d: [1], e: [1, 3] }, BARE);
  const a = group.get('a');
  group.isolate('e');
  while (a.status.role !== 'leader' || a.status.term < 4) {
    a.core.campaign();
    group.run();
    // Votes go through, appends with entries of the new term do not.
    group.settle((m) => (m.type === 'vote' && m.term < 4) || m.type === 'append');
  }
  const [append] = a.core.hasReady() ? [] : appendsTo('b', group.sent).slice(-1);
  t.is(append?.term, 4);
  for (const name of ['b', 'c']) {
    a.core.step({
      type: 'append-reply',
      from: raftId(name),
      to: a.id,
      term: 4,
      index: 2,
      rejected: false,
      hintIndex: 0,
      hintTerm: 0,
    });
  }
  group.run();
  t.is(a.status.commit, 0, 'three of five hold entry 2, and e could still replace it');
  for (const name of ['b', 'c']) {
    a.core.step({
      type: 'append-reply',
      from: raftId(name),
      to: a.id,
      term: 4,
      index: 3,
      rejected: false,
      hintIndex: 0,
      hintTerm: 0,
    });
  }
  group.run();
  t.is(a.status.commit, 3, 'with an entry of its own term, all before it is');
});

test('a commit index beyond an append does not commit what the append did not touch', (t) => {
  const group = Group.withLogs({ a: [1], b: [1, 1, 1] }, BARE);
  const b = group.get('b');
  b.core.step({
    type: 'append',
    from: raftId('a'),
    to: b.id,
    term: 2,
    prevIndex: 1,
    prevTerm: 1,
    commit: 3,
    entries: [entry(2, 1)],
  });
  b.run();
  t.is(b.status.commit, 2, 'its third entry may be another one than the committed');
});

test('an append that is overtaken is answered with the commit index', (t) => {
  const { group, a } = steady();
  a.propose('x', 'y', 'z');
  const [old] = appendsTo('b', a.run());
  group.pass(2);
  const b = group.get('b');
  for (const copy of [old, old]) b.core.step(copy as Message);
  group.pass(2);
  b.core.step({ ...(old as AppendRequest), prevIndex: 1, prevTerm: 1, entries: [entry(2, 1)] });
  t.like(b.run()[0], { rejected: false, index: b.status.commit });
});

test('a probed member gets one append at a time, until it answers or a heartbeat comes back', (t) => {
  const { group, a } = steady();
  a.core.reportUnreachable(raftId('b'));
  a.propose('1');
  t.is(appendsTo('b', a.run()).length, 1);
  for (const text of ['2', '3']) {
    a.propose(text);
    t.is(appendsTo('b', a.run()).length, 0);
  }
  a.core.step({ type: 'heartbeat-reply', from: raftId('b'), to: a.id, term: 2, readSeq: 0 });
  const [probe, second] = appendsTo('b', a.run());
  t.is(probe?.entries.length, 3);
  t.is(second, undefined);
  group.pass(3);
  t.is(a.status.progress.find(({ id }) => id === raftId('b'))?.state, 'replicate');
});

test('the window is limited in appends', (t) => {
  const { group, a } = steady({ maxInflightMessages: 3, maxMessageBytes: 1 });
  a.propose('1', '2', '3', '4', '5', '6', '7');
  t.is(appendsTo('b', a.run()).length, 3);
  group.settle();
  t.is(appendsTo('b', a.run()).length, 0);
  group.pass(3);
  t.is(group.get('b').appliedTexts().length, 7);
});

test('the window is limited in bytes, but one append always goes', (t) => {
  const { group, a } = steady({ maxInflightBytes: 100, maxMessageBytes: 1 });
  a.propose('x'.repeat(500), 'y'.repeat(60), 'z'.repeat(60));
  t.is(appendsTo('b', a.run()).length, 1);
  group.pass(4);
  t.is(group.get('b').appliedTexts().length, 3);
});

test('a window that was lost whole is noticed by the next heartbeat', (t) => {
  const { group, a } = steady({ maxInflightMessages: 4, maxMessageBytes: 1 });
  a.propose('1', '2', '3', '4', '5', '6');
  group.run();
  group.deliver(({ to }) => to === raftId('b')); // the whole window of b, and nothing else
  group.settle();
  t.is(a.status.progress.find(({ id }) => id === raftId('b'))?.inflight, 4);
  const before = group.sent.length;
  group.pass(3);
  t.deepEqual(group.get('b').appliedTexts(), ['1', '2', '3', '4', '5', '6']);
  const [first] = appendsTo('b', group.sent.slice(before));
  t.deepEqual(first?.entries, [], 'an empty append asks where b is');
});

test('an append is limited in bytes, with at least one entry', (t) => {
  const { a } = steady({ maxMessageBytes: 100 });
  a.propose('x'.repeat(30), 'x'.repeat(30), 'x'.repeat(900), 'x');
  t.deepEqual(
    appendsTo('b', a.run()).map(({ entries }) => entries.length),
    [1, 1, 1, 1],
  );
});

test('payload that no quorum has yet is limited; empty entries and a first big one pass', (t) => {
  const { group, a } = steady({ maxUncommittedBytes: 100 });
  group.isolate('a');
  t.is(a.core.propose([bytes('x'.repeat(400))]).kind, 'accepted');
  t.deepEqual(a.propose('y'), { kind: 'dropped', reason: 'uncommitted-limit' });
  t.is(a.core.propose([new Uint8Array(0)]).kind, 'accepted');
  group.mend();
  group.pass(3);
  t.is(a.propose('y').kind, 'accepted', 'room again once it is committed');
});

test('a leader with an uncommitted tail of older terms starts counting from nothing', (t) => {
  const group = Group.withLogs(
    { a: [1, 1], b: [1, 1], c: [1, 1] },
    { ...BARE, maxUncommittedBytes: 10 },
  );
  const a = group.elect('a');
  t.is(a.propose('x'.repeat(9)).kind, 'accepted');
  t.is(a.propose('x'.repeat(9)).kind, 'dropped');
  group.pass(3);
  t.is(a.propose('x'.repeat(9)).kind, 'accepted');
});

test('what is handed out for applying is limited until it is reported', (t) => {
  const { group, a } = steady({ maxApplyingBytes: 50 });
  const b = group.get('b');
  b.applies = false;
  a.propose('1', '2', '3', '4', '5');
  group.pass(3);
  t.is(b.toApply.length, 2);
  b.apply();
  b.run();
  t.is(b.toApply.length, 2);
});

test('a follower whose disk was wiped stops itself, and harms nobody', (t) => {
  const { group, a } = steady();
  a.propose('x');
  group.pass(2);
  const wiped = Group.of(3).get('b');
  group.members.set(wiped.id, wiped);
  a.core.tick();
  const heartbeat = a.run().find(({ type, to }) => type === 'heartbeat' && to === wiped.id);
  t.throws(() => wiped.core.step(heartbeat as Message), {
    message: /acknowledged entries are lost/,
  });
});

test('an acknowledgement of entries that the leader never had is ignored', (t) => {
  const { a } = steady();
  a.core.step({
    type: 'append-reply',
    from: raftId('b'),
    to: a.id,
    term: 2,
    index: 99,
    rejected: false,
    hintIndex: 0,
    hintTerm: 0,
  });
  t.is(a.status.progress.find(({ id }) => id === raftId('b'))?.match, 2);
});

test('appends and heartbeats of an old leader are answered with the new term', (t) => {
  const { group, a } = steady();
  group.isolate('a');
  group.get('b').core.campaign();
  group.pass(40);
  t.is(group.get('b').status.role === 'leader' || group.get('c').status.role === 'leader', true);
  const stale: Message = {
    type: 'heartbeat',
    from: a.id,
    to: raftId('b'),
    term: 2,
    commit: 0,
    readSeq: 0,
  };
  group.get('b').core.step(stale);
  const [answer] = group.get('b').run();
  t.is(answer?.type, 'append-reply');
  t.true((answer?.term ?? 0) > 2);
  a.core.step(answer as Message);
  t.is(a.status.role, 'follower');
});

test('ready() and advance() take turns', (t) => {
  const { a } = steady();
  t.throws(() => a.core.advance(), { message: /without an outstanding/ });
  a.propose('x');
  const ready = a.core.ready();
  t.false(a.core.hasReady());
  t.throws(() => a.core.ready(), { message: /before advance/ });
  a.carryOut(ready);
  t.notThrows(() => a.run());
});

test('a moved commit index alone needs no sync', (t) => {
  const { group, a } = steady();
  a.propose('x');
  group.run();
  group.deliver();
  group.run();
  group.deliver();
  const ready = a.core.ready();
  t.like(ready, { mustSync: false, hardState: { commit: 3 } });
  t.is(ready.committedEntries.length, 1);
});

test('messages meant for somebody else are not taken in', (t) => {
  const { a } = steady();
  a.core.step({ type: 'timeout-now', from: raftId('b'), to: raftId('c'), term: 99 });
  t.is(a.status.term, 2);
});
