/** Changes of members step by step: simple ones, joint ones, and leaders that remove themselves. */
import test from 'ava';
import { decodeConfChange } from '../../../../manager/raft/conf-codec.ts';
import type {
  ConfChange,
  EnterJoint,
  Message,
  RaftOptions,
} from '../../../../manager/raft/types.ts';
import { change, Group, Member, raftId } from '../group.ts';

const BARE: Partial<RaftOptions> = { preVote: false, checkQuorum: false };

function enter(autoLeave: boolean, ...changes: ConfChange[]): EnterJoint {
  return { kind: 'enter-joint', changes, autoLeave };
}

/** Voters `a`, ..., led by `a`, and newcomers without any state. */
function led(voters: number, newcomers = '', options = BARE) {
  const group = Group.of(voters, options);
  const a = group.elect('a');
  for (const name of newcomers) group.add(new Member(name, { options }));
  group.pass(2);
  return { group, a };
}

/** Joint between a, b, c and a, d, e; nobody leaves it unasked. */
function halfway(options: Partial<RaftOptions>) {
  const { group, a } = led(3, 'de', options);
  const made = enter(
    false,
    change('remove', 'b'),
    change('remove', 'c'),
    change('add-voter', 'd'),
    change('add-voter', 'e'),
  );
  a.core.proposeConfChange(made);
  group.pass(6);
  if (a.conf() !== 'ade&abc') throw new Error(`not joint: ${a.conf()}`);
  return { group, a };
}

/** Kinds of the changes that a member applied, in order. */
function transitions(member: Member): string[] {
  return member.applied
    .filter(({ type }) => type === 'conf-change')
    .map(({ data }) => decodeConfChange(data).kind);
}

test('one voter added to a single one: it is sent the snapshot first, then counts', (t) => {
  const { group, a } = led(1, 'b');
  t.is(a.core.proposeConfChange(change('add-voter', 'b')).kind, 'accepted');
  a.run(); // alone, it commits and applies at once
  t.is(a.conf(), 'ab');
  t.like(a.progress('b'), { state: 'probe', match: 0, next: 4 });
  a.propose('x');
  a.run();
  t.is(a.status.commit, 3, 'now b is needed');
  group.pass(4);
  const b = group.get('b');
  t.is(b.installed.length, 1);
  t.is(b.conf(), 'ab');
  t.like(a.progress('b'), { state: 'replicate', match: 4 });
  t.deepEqual(b.appliedTexts(), ['x']);
});

test('one voter added by way of a joint configuration, left when told to', (t) => {
  const { group, a } = led(1, 'b');
  a.core.proposeConfChange(enter(false, change('add-voter', 'b')));
  group.pass(4);
  t.is(a.conf(), 'ab&a');
  t.is(group.get('b').conf(), 'ab&a');
  group.pass(20);
  t.is(a.conf(), 'ab&a', 'nobody leaves it unasked');
  t.is(a.core.proposeConfChange({ kind: 'leave-joint' }).kind, 'accepted');
  group.settle();
  t.is(a.conf(), 'ab');
  t.is(group.get('b').conf(), 'ab');
  t.like(a.core.proposeConfChange({ kind: 'leave-joint' }), { reason: 'invalid-conf-change' });
});

test('while joint, both halves are asked for every commit', (t) => {
  const { group, a } = halfway(BARE);
  const committedWithout = (cut: string) => {
    group.mend();
    group.pass(2);
    group.split(cut, 'abcde'.replaceAll(new RegExp(`[${cut}]`, 'g'), ''));
    const index = a.status.lastIndex + 1;
    a.propose(cut);
    group.settle();
    return a.status.commit >= index;
  };
  t.false(committedWithout('de'), 'the old half alone is not enough');
  t.false(committedWithout('bc'), 'nor is the new one');
  t.true(committedWithout('ce'), 'one of each is');
  group.mend();
  group.pass(3);
  t.is(a.status.commit, a.status.lastIndex);
});

test('while joint, both halves are asked for every election', (t) => {
  const { group } = halfway(BARE);
  group.isolate('a');
  const [b, d] = [group.get('b'), group.get('d')];
  const tries = (member: Member, lost: string) => {
    member.core.campaign();
    group.settle(({ from, to }) => [from, to].some((id) => lost.includes(id.slice(-1))));
    return member.status.role === 'leader';
  };
  t.false(tries(b, 'de'), 'b and c are the old majority');
  t.false(tries(d, 'bc'), 'd and e are the new one');
  t.false(tries(d, 'e'), 'b, c and d are the old majority and a third of the new one');
  t.true(tries(d, ''), 'd and e, b and c');
});

for (const [heard, lost] of [
  ['the old', 'de'],
  ['the new', 'bc'],
]) {
  test(`while joint, a leader that hears ${heard} half alone steps down, and confirms no read`, (t) => {
    const { group, a } = halfway({});
    group.split(lost ?? '', 'abcde'.replaceAll(new RegExp(`[${lost}]`, 'g'), ''));
    a.core.readIndex(1);
    group.settle();
    t.deepEqual(a.readStates, []);
    group.pass(20);
    t.is(a.status.role, 'follower');
    t.deepEqual(a.droppedReads, [{ context: 1, reason: 'leader-changed' }]);
  });
}

test('while joint, a leader that hears one member of each half stays and serves reads', (t) => {
  const { group, a } = halfway({});
  group.split('ce', 'abd');
  group.pass(30);
  t.is(a.status.role, 'leader');
  a.core.readIndex(1);
  group.settle();
  t.is(a.readStates.length, 1);
});

test('a new leader commits its no-op before it leaves the configuration that it found', (t) => {
  const { group, a } = led(3, 'd');
  a.core.proposeConfChange(enter(true, change('remove', 'c'), change('add-voter', 'd')));
  const leaves = (message: Message) =>
    message.type === 'append' &&
    message.entries.some(
      ({ type, data }) => type === 'conf-change' && decodeConfChange(data).kind === 'leave-joint',
    );
  group.pass(6, leaves); // the order to leave reaches nobody, but for the commit of what is before
  const b = group.get('b');
  t.is(b.conf(), 'abd&abc auto');
  group.isolate('a');
  b.core.campaign();
  group.settle(({ type }) => type === 'append');
  t.is(b.status.role, 'leader');
  const noOp = b.status.lastIndex;
  t.true(b.status.commit < noOp);
  group.settle();
  group.pass(3);
  t.is(b.status.lastIndex, noOp + 1, 'then it leaves');
  group.mend();
  group.pass(10);
  for (const name of 'abd') t.is(group.get(name).conf(), 'abd');
});

test('two voters added at once: joint, and left by itself', (t) => {
  const { group, a } = led(1, 'bc');
  a.core.proposeConfChange(enter(true, change('add-voter', 'b'), change('add-voter', 'c')));
  a.run();
  t.is(a.conf(), 'abc&a auto');
  t.is(a.status.lastIndex, 4, 'leaving is proposed at once, as soon as it is applied');
  t.is(a.status.commit, 3, 'and needs the new majority');
  group.pass(5);
  for (const name of 'abc') t.is(group.get(name).conf(), 'abc');
  t.deepEqual(transitions(a), ['enter-joint', 'leave-joint']);
});

test('a joint configuration is left once, whatever is asked meanwhile', (t) => {
  const { group, a } = led(1, 'bcd');
  a.core.proposeConfChange(enter(true, change('add-voter', 'b'), change('add-voter', 'c')));
  a.run();
  t.is(a.conf(), 'abc&a auto');
  for (const asked of [
    { kind: 'leave-joint' } as const,
    change('add-voter', 'd'),
    enter(true, change('add-voter', 'd')),
  ]) {
    t.like(a.core.proposeConfChange(asked), { reason: 'conf-change-pending' });
  }
  group.pass(20);
  t.deepEqual(transitions(a), ['enter-joint', 'leave-joint']);
  t.is(
    a.core.proposeConfChange(enter(true, change('remove', 'b'), change('remove', 'c'))).kind,
    'accepted',
  );
  group.pass(5);
  t.is(a.conf(), 'a');
  t.deepEqual(transitions(a), ['enter-joint', 'leave-joint', 'enter-joint', 'leave-joint']);
});

test('a change while joint is refused, even when nothing is pending', (t) => {
  const { group, a } = led(1, 'bc');
  a.core.proposeConfChange(enter(false, change('add-voter', 'b')));
  group.pass(4);
  t.like(a.core.proposeConfChange(change('add-voter', 'c')), { reason: 'in-joint' });
  t.like(a.core.proposeConfChange(enter(true, change('add-voter', 'c'))), { reason: 'in-joint' });
  t.is(a.conf(), 'ab&a');
});

test('a leader that falls while joint: its successor leaves the configuration, once', (t) => {
  const { group, a } = led(3, 'd');
  a.core.proposeConfChange(enter(true, change('remove', 'c'), change('add-voter', 'd')));
  const leaves = () => a.status.lastIndex;
  const before = leaves();
  // a commits and applies the change, and falls before anybody has its order to leave.
  for (let i = 0; i < 50 && leaves() === before; i++) {
    group.settle(({ type }) => type === 'append' && leaves() > before);
    if (leaves() === before) group.tick('a');
  }
  t.is(a.conf(), 'abd&abc auto');
  group.isolate('a');
  const b = group.get('b');
  b.core.campaign();
  group.pass(5);
  b.core.campaign();
  group.pass(5);
  t.is(b.status.role, 'leader');
  group.mend();
  group.pass(10);
  for (const name of 'abd') t.is(group.get(name).conf(), 'abd');
  t.deepEqual(transitions(b).filter((kind) => kind === 'leave-joint').length, 1);
});

test('leaving waits for a transfer to end, and then happens', (t) => {
  const { group, a } = led(1, 'bc');
  group.isolate('c');
  a.core.proposeConfChange(enter(true, change('add-voter', 'b'), change('add-learner', 'c')));
  const ready = a.core.ready();
  a.persist(ready);
  a.core.advance();
  a.toApply.push(...ready.committedEntries, ...a.core.ready().committedEntries);
  a.core.advance();
  a.apply(); // joint now; before the next Ready somebody orders a transfer to b, which is behind
  t.is(a.conf(), 'ab&a|c auto');
  group.isolate('b');
  t.deepEqual(a.core.transferLeadership(raftId('b')), { kind: 'started' });
  const { lastIndex } = a.status;
  a.run();
  t.is(a.status.lastIndex, lastIndex, 'the log does not grow during a transfer');
  group.tick('a', 10); // given up
  a.run();
  t.is(a.status.lastIndex, lastIndex + 1);
  group.mend();
  group.pass(5);
  t.is(a.conf(), 'ab|c');
});

test('a leader removed by a simple change commits without itself and steps down', (t) => {
  const { group, a } = led(3);
  a.core.proposeConfChange(change('remove', 'a'));
  a.propose('x'); // in flight while it is removed
  group.run();
  group.isolate('c');
  group.deliver();
  group.settle();
  t.like(a.status, { role: 'follower', leader: undefined });
  t.is(a.conf(), 'bc');
  a.core.campaign();
  group.tick('a', 40);
  group.settle();
  t.is(a.status.role, 'follower', 'no voter, no candidate');
  group.mend();
  group.pass(60);
  const leader = group.leader();
  t.not(leader, a);
  t.deepEqual(leader.appliedTexts(), ['x']);
  t.is(leader.conf(), 'bc');
});

test('a leader replaced in one change leads until the configuration is left', (t) => {
  const { group, a } = led(3, 'd');
  a.core.proposeConfChange(enter(false, change('remove', 'a'), change('add-voter', 'd')));
  group.pass(5);
  t.is(a.conf(), 'bcd&abc');
  t.is(a.status.role, 'leader', 'it is a voter of the old half still');
  a.propose('x');
  group.settle();
  t.is(a.status.commit, a.status.lastIndex);
  a.core.proposeConfChange({ kind: 'leave-joint' });
  group.settle();
  t.is(a.status.role, 'follower');
  t.is(a.conf(), 'bcd');
  group.pass(60);
  t.true(['b', 'c', 'd'].includes(group.leader().id.slice(-1)));
});

test('leadership handed to a newcomer while joint, which then leaves it', (t) => {
  const { group, a } = led(3, 'd');
  a.core.proposeConfChange(enter(false, change('remove', 'a'), change('add-voter', 'd')));
  group.pass(5);
  t.deepEqual(a.core.transferLeadership(raftId('d')), { kind: 'started' });
  group.pass(2);
  const d = group.get('d');
  t.is(group.leader(), d);
  t.is(d.core.proposeConfChange({ kind: 'leave-joint' }).kind, 'accepted');
  group.pass(3);
  t.is(d.conf(), 'bcd');
  t.is(d.status.role, 'leader');
  a.core.campaign();
  group.settle();
  t.is(a.status.role, 'follower');
});

test('a demoted voter becomes a learner only when the joint configuration is left', (t) => {
  const { group, a } = led(3);
  a.core.proposeConfChange(enter(false, change('add-learner', 'c'), change('add-learner', 'b')));
  group.pass(3);
  t.is(a.conf(), 'a&abc then |cb');
  t.false(a.progress('c').learner);
  group.isolate('a');
  group.get('b').core.campaign();
  group.pass(30);
  t.not(group.get('b').status.role, 'leader', 'the new half is a alone');
  group.mend();
  group.pass(30);
  group.leader().core.proposeConfChange({ kind: 'leave-joint' });
  group.pass(3);
  t.is(a.conf(), 'a|cb');
  // Whoever led it out of there: only a may lead now.
  group.pass(40);
  t.is(group.leader(), a);
  t.true(a.progress('c').learner);
});

test('a second change in flight, from a log that a faulty leader wrote, changes nothing', (t) => {
  const { group, a } = led(3, 'd');
  a.core.proposeConfChange(enter(false, change('add-voter', 'd')));
  group.pass(2);
  const [made] = a.applied.filter(({ type }) => type === 'conf-change');
  if (made === undefined) throw new Error('nothing was applied');
  const index = a.status.lastIndex + 1;
  for (const name of ['b', 'c']) {
    const member = group.get(name);
    member.core.step({
      type: 'append',
      from: a.id,
      to: member.id,
      term: 2,
      prevIndex: index - 1,
      prevTerm: 2,
      commit: index,
      entries: [{ ...made, index }],
    });
    member.run();
    t.is(member.status.applied, index);
    t.is(member.conf(), 'abcd&abc', 'all members read it alike');
  }
});

test('a learner far behind is not promoted, neither alone nor in a joint change', (t) => {
  const { group, a } = led(1, 'b');
  a.core.proposeConfChange(change('add-learner', 'b'));
  group.pass(4);
  group.isolate('b');
  a.propose(...Array.from({ length: 40 }, (_, i) => `${i}`));
  group.settle();
  for (const made of [change('add-voter', 'b'), enter(true, change('add-voter', 'b'))]) {
    t.like(a.core.proposeConfChange(made), { reason: 'learner-behind' });
  }
  group.mend();
  group.pass(4);
  t.is(a.core.proposeConfChange(change('add-voter', 'b')).kind, 'accepted');
  group.pass(2);
  t.is(a.conf(), 'ab');
});

test('nobody stands with the change into or out of a joint configuration unapplied', (t) => {
  const { group, a } = led(3, 'd');
  const b = group.get('b');
  b.applies = false;
  a.core.proposeConfChange(enter(false, change('add-voter', 'd')));
  group.pass(4);
  for (let i = 0; i < 2; i++) {
    b.core.campaign();
    t.is(b.status.role, 'follower');
    b.apply();
    t.is(b.conf(), i === 0 ? 'abcd&abc' : 'abcd');
    if (i === 1) break;
    a.core.proposeConfChange({ kind: 'leave-joint' });
    group.pass(3);
  }
  b.core.campaign();
  t.is(b.status.role, 'candidate');
});
