import test from 'ava';
import type { RaftOptions } from '../../../manager/raft/types.ts';
import { change, Group, Member, raftId } from './group.ts';

function led(voters = 3, options: Partial<RaftOptions> = {}) {
  const group = Group.of(voters, options);
  const a = group.elect('a');
  group.pass(2);
  return { group, a };
}

test('a learner catches up, counts for nothing, and is promoted by the caller', (t) => {
  const { group, a } = led(1);
  a.propose('1', '2', '3');
  group.settle();
  const n = group.add(new Member('n', {}));
  t.is(a.core.proposeConfChange(change('add-learner', 'n')).kind, 'accepted');
  group.pass(1, ({ to }) => to === n.id);
  a.propose('4');
  group.pass(1, ({ to }) => to === n.id);
  t.is(a.status.commit, a.status.lastIndex, 'a quorum does not wait for a learner');
  group.pass(4);
  t.like(
    a.status.progress.find(({ id }) => id === n.id),
    {
      learner: true,
      state: 'replicate',
      match: a.status.lastIndex,
    },
  );
  a.core.proposeConfChange(change('add-voter', 'n'));
  group.pass(2);
  t.deepEqual(n.status.confState.voters, ['a', 'n'].map(raftId));
  t.deepEqual(n.status.confState.learners, []);
  group.isolate('n');
  a.propose('5');
  group.pass(2);
  t.true(a.status.commit < a.status.lastIndex, 'now it counts');
});

test('a change takes effect when it is applied, on each member by itself', (t) => {
  const { group, a } = led();
  const b = group.get('b');
  b.applies = false;
  a.core.proposeConfChange(change('add-learner', 'd'));
  group.pass(2);
  t.deepEqual(a.status.confState.learners, [raftId('d')]);
  t.deepEqual(b.status.confState.learners, []);
  b.apply();
  t.deepEqual(b.status.confState.learners, [raftId('d')]);
});

test('one change at a time: the next waits until the first is applied', (t) => {
  const { group, a } = led();
  a.applies = false;
  t.is(a.core.proposeConfChange(change('add-learner', 'd')).kind, 'accepted');
  const second = change('add-learner', 'e');
  t.like(a.core.proposeConfChange(second), { reason: 'conf-change-pending' });
  group.pass(2);
  t.like(a.core.proposeConfChange(second), { reason: 'conf-change-pending' });
  a.apply();
  t.is(a.core.proposeConfChange(second).kind, 'accepted');
});

test('a new leader changes nothing before it has committed in its term (Ongaro, 2015)', (t) => {
  const group = Group.of(3);
  const a = group.get('a');
  a.core.campaign();
  group.settle(({ type }) => type === 'append');
  t.is(a.status.role, 'leader');
  t.like(a.core.proposeConfChange(change('remove', 'c')), { reason: 'not-committed-in-term' });
  group.pass(2);
  t.is(a.core.proposeConfChange(change('remove', 'c')).kind, 'accepted');
});

test('a new leader waits for changes that its predecessor left in the log', (t) => {
  const { group, a } = led();
  a.core.proposeConfChange(change('add-learner', 'd'));
  group.run();
  group.deliver();
  group.run(); // b and c hold the change; nobody knows that it is committed
  group.isolate('a');
  const b = group.get('b');
  b.applies = false;
  for (let i = 0; i < 40 && b.status.role !== 'leader'; i++) {
    group.tick('b');
    group.tick('c', i % 2);
    group.settle();
  }
  t.is(b.status.role, 'leader');
  t.like(b.core.proposeConfChange(change('add-learner', 'e')), { reason: 'conf-change-pending' });
  b.apply();
  t.is(b.core.proposeConfChange(change('add-learner', 'e')).kind, 'accepted');
});

test('changes that change nothing or leave no voter are refused', (t) => {
  const { a } = led(1);
  for (const made of [change('add-voter', 'a'), change('remove', 'a'), change('remove', 'z')]) {
    t.deepEqual(a.core.proposeConfChange(made), { kind: 'dropped', reason: 'invalid-conf-change' });
  }
});

test('only the leader takes changes', (t) => {
  const { group } = led();
  t.like(group.get('b').core.proposeConfChange(change('remove', 'c')), { reason: 'not-leader' });
});

for (const kind of ['remove', 'add-learner'] as const) {
  test(`a leader steps down after "${kind}" of itself is applied, and the others elect one`, (t) => {
    const { group, a } = led();
    a.propose('x');
    a.core.proposeConfChange(change(kind, 'a'));
    group.settle();
    t.is(a.status.role, 'follower');
    a.core.campaign();
    for (let i = 0; i < 40; i++) group.tick('a');
    t.is(a.status.role, 'follower', 'it may not stand any more');
    group.pass(40);
    const leader = ['b', 'c'].find((name) => group.get(name).status.role === 'leader');
    t.truthy(leader);
    t.is(group.get(leader ?? '').propose('y').kind, 'accepted');
    group.pass(2);
    t.deepEqual(group.get('b').appliedTexts(), ['x', 'y']);
  });
}

test('a removed member cannot disturb the others', (t) => {
  const { group, a } = led();
  group.isolate('c');
  a.core.proposeConfChange(change('remove', 'c'));
  group.pass(3);
  group.mend(); // it never heard of its removal
  group.pass(60);
  t.is(a.status.role, 'leader');
  t.is(a.status.term, 2);
});

test('a member just added is not counted as silent by the next check of the quorum', (t) => {
  const group = Group.of(1);
  const a = group.elect('a');
  group.add(new Member('n', {}));
  a.core.proposeConfChange(change('add-voter', 'n'));
  group.tick('a', 9);
  const isTo = ({ to }: { to: string }) => to === raftId('n');
  group.settle(isTo);
  t.is(a.conf(), 'an');
  group.tick('a'); // the check
  group.settle(isTo);
  t.is(a.status.role, 'leader');
  group.tick('a', 10);
  t.is(a.status.role, 'follower', 'it has had its time');
});

test('whoever is removed is no business of the leader any more', (t) => {
  const { group, a } = led();
  a.core.proposeConfChange(change('remove', 'c'));
  group.settle();
  t.deepEqual(
    a.status.progress.map(({ id }) => id),
    [raftId('a'), raftId('b')],
  );
  const before = group.sent.length;
  a.propose('x');
  group.tick('a', 2);
  group.settle();
  t.false(group.sent.slice(before).some(({ to }) => to === raftId('c')));
});

test('applying is refused out of order, twice it changes nothing', (t) => {
  const { group, a } = led();
  a.applies = false;
  a.core.proposeConfChange(change('add-learner', 'd'));
  group.pass(2);
  const [made] = a.toApply.slice(-1);
  if (made === undefined) throw new Error('nothing was committed');
  t.throws(() => a.core.applied(made.index), { message: /without the change of members/ });
  t.throws(() => a.core.applyConfChange({ ...made, index: made.index + 1 }), {
    message: /out of order/,
  });
  const conf = a.core.applyConfChange(made);
  t.is(a.core.applyConfChange(made), conf);
});

// Dissertation, figure 4.5 and the bug report of 2015: two leaders, each with a change of its own.
test('add/add by two leaders that do not know of each other cannot both take effect', (t) => {
  const group = Group.of(4);
  const a = group.elect('a');
  group.pass(2);
  // a appends "add e", and only it has it; b is elected without it and adds f.
  group.isolate('a');
  a.core.proposeConfChange(change('add-voter', 'e'));
  a.run();
  for (let i = 0; i < 60 && group.get('b').status.role !== 'leader'; i++) {
    group.tick('b');
    group.tick('c', i % 2);
    group.tick('d', i % 2);
    group.settle();
  }
  const b = group.get('b');
  t.is(b.status.role, 'leader');
  t.is(b.core.proposeConfChange(change('add-voter', 'f')).kind, 'accepted');
  group.pass(3);
  t.true(b.status.confState.voters.includes(raftId('f')));
  group.mend();
  group.pass(5);
  t.deepEqual(a.status.confState, b.status.confState, 'what a appended is gone');
  t.false(a.status.confState.voters.includes(raftId('e')));
});
