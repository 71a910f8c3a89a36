import test from 'ava';
import type { Message } from '../../../manager/raft/types.ts';
import { change, Group, Member, raftId } from './group.ts';

function led(voters = 3): { group: Group; a: Member } {
  const group = Group.of(voters);
  const a = group.elect('a');
  group.pass(2);
  return { group, a };
}

test('leadership goes to an up-to-date member at once, in spite of pre-vote and lease', (t) => {
  const { group, a } = led();
  t.deepEqual(a.core.transferLeadership(raftId('b')), { kind: 'started' });
  group.settle();
  t.deepEqual(group.roles(), { a: 'follower', b: 'leader', c: 'follower' });
  t.is(group.get('b').status.term, 3);
  t.is(
    group.sent.filter(({ type }) => type === 'pre-vote').length,
    3 - 1,
    'only those of the start',
  );
});

test('a member behind is brought up to date first', (t) => {
  const { group, a } = led();
  group.isolate('b');
  a.propose('1', '2');
  group.pass(2);
  group.mend();
  a.core.transferLeadership(raftId('b'));
  t.is(a.run().filter(({ type }) => type === 'timeout-now').length, 0);
  group.pass(3);
  t.is(group.get('b').status.role, 'leader');
  t.deepEqual(group.get('b').appliedTexts(), ['1', '2']);
});

test('an order to stand that was lost is given again', (t) => {
  const { group, a } = led();
  a.core.transferLeadership(raftId('b'));
  group.settle(({ type }) => type === 'timeout-now');
  t.is(a.status.transferringTo, raftId('b'));
  group.pass(2);
  t.is(group.get('b').status.role, 'leader');
});

test('proposals are dropped during a transfer, and taken again when it was given up', (t) => {
  const { group, a } = led();
  group.isolate('b');
  a.core.transferLeadership(raftId('b'));
  t.is(a.status.transferringTo, raftId('b'));
  t.deepEqual(a.propose('x'), { kind: 'dropped', reason: 'transferring' });
  t.like(a.core.proposeConfChange(change('remove', 'b')), { reason: 'transferring' });
  group.pass(9);
  t.is(a.propose('x').kind, 'dropped');
  group.pass(1);
  t.is(a.status.transferringTo, undefined);
  t.is(a.propose('x').kind, 'accepted');
});

test('a second transfer replaces the first; the same again is refused', (t) => {
  const { group, a } = led();
  group.isolate('b');
  a.core.transferLeadership(raftId('b'));
  t.like(a.core.transferLeadership(raftId('b')), { reason: 'already' });
  t.deepEqual(a.core.transferLeadership(raftId('c')), { kind: 'started' });
  group.settle(({ to, type }) => to === raftId('b') && type === 'timeout-now');
  t.is(group.get('c').status.role, 'leader');
});

test('a transfer that replaces another has a whole election timeout of its own', (t) => {
  const { group, a } = led();
  group.isolate('b');
  group.isolate('c');
  a.core.transferLeadership(raftId('b'));
  group.tick('a', 6);
  a.core.transferLeadership(raftId('c'));
  for (const name of ['b', 'c']) {
    const reply = { from: raftId(name), to: a.id, term: a.status.term, readSeq: 0 };
    a.core.step({ type: 'heartbeat-reply', ...reply }); // or the check of the quorum ends it
  }
  group.tick('a', 9);
  t.is(a.status.transferringTo, raftId('c'));
  group.tick('a');
  t.is(a.status.transferringTo, undefined);
});

test('leadership does not go to oneself, to learners or strangers, nor from followers', (t) => {
  const { group, a } = led();
  group.add(new Member('n', {}));
  a.core.proposeConfChange(change('add-learner', 'n'));
  group.pass(3);
  t.like(a.core.transferLeadership(a.id), { reason: 'is-self' });
  t.like(a.core.transferLeadership(raftId('n')), { reason: 'not-a-voter' });
  t.like(a.core.transferLeadership(raftId('z')), { reason: 'not-a-voter' });
  t.like(group.get('b').core.transferLeadership(raftId('c')), { reason: 'not-leader' });
  t.is(a.status.role, 'leader');
});

test('removing the target ends the transfer', (t) => {
  const { group, a } = led();
  group.isolate('b');
  a.core.proposeConfChange(change('remove', 'b'));
  a.core.transferLeadership(raftId('b'));
  group.pass(2);
  t.is(a.status.transferringTo, undefined);
  t.is(a.propose('x').kind, 'accepted');
});

test('an order to stand from anyone but the leader is ignored', (t) => {
  const { group, a } = led();
  const order: Message = { type: 'timeout-now', from: raftId('c'), to: raftId('b'), term: 2 };
  group.get('b').core.step(order);
  group.settle();
  t.is(group.get('b').status.role, 'follower');
  a.core.step({ ...order, to: a.id });
  t.is(a.status.role, 'leader');
});

test('an order to stand that arrives a term late is ignored', (t) => {
  const { group, a } = led();
  a.core.transferLeadership(raftId('b'));
  group.settle();
  const { term } = group.get('b').status;
  group.get('c').core.step({ type: 'timeout-now', from: a.id, to: raftId('c'), term: 2 });
  group.settle();
  t.is(group.get('b').status.role, 'leader');
  t.is(group.get('b').status.term, term);
});

test('ordering the same transfer again does not give it more time', (t) => {
  const { group, a } = led();
  group.isolate('b');
  a.core.transferLeadership(raftId('b'));
  group.pass(6);
  t.like(a.core.transferLeadership(raftId('b')), { reason: 'already' });
  group.pass(4);
  t.is(a.status.transferringTo, undefined);
});

test('a target that needs a snapshot first takes over after it', (t) => {
  const { group, a } = led();
  group.isolate('b');
  a.propose('1', '2', '3');
  group.pass(2);
  a.compact(a.status.applied);
  group.mend();
  a.core.transferLeadership(raftId('b'));
  group.pass(3);
  t.is(group.get('b').installed.length, 1);
  t.is(group.get('b').status.role, 'leader');
});

test('demoting the target ends the transfer', (t) => {
  const { group, a } = led();
  group.isolate('b');
  a.core.proposeConfChange(change('add-learner', 'b'));
  a.core.transferLeadership(raftId('b'));
  group.pass(2);
  t.is(a.status.transferringTo, undefined);
  t.is(a.propose('x').kind, 'accepted');
});

test('a leader deposed in the midst of a transfer forgets it', (t) => {
  const { group, a } = led();
  group.isolate('b');
  a.core.transferLeadership(raftId('b'));
  const { term } = a.status;
  a.core.step({
    type: 'append-reply',
    from: raftId('c'),
    to: a.id,
    term: term + 1,
    index: 0,
    rejected: true,
    hintIndex: 0,
    hintTerm: 0,
  });
  t.like(a.status, { role: 'follower', transferringTo: undefined, term: term + 1 });
  group.mend();
  group.pass(40);
  t.is(group.leader().propose('x').kind, 'accepted');
});

test('a target that was told twice to stand leads one term', (t) => {
  const { group, a } = led();
  const b = group.get('b');
  a.core.transferLeadership(b.id);
  const order = a.run().find(({ type }) => type === 'timeout-now');
  b.core.step(order as Message);
  b.core.step(order as Message);
  group.settle();
  t.like(b.status, { role: 'leader', term: 3 });
});
