import test from 'ava';
import { EMPTY_CONF } from '../../../manager/raft/conf-change.ts';
import type { Message, SnapshotMeta } from '../../../manager/raft/types.ts';
import { change, Group, logOf, Member, raftId } from './group.ts';

/** A leader `a` of three with ten entries, compacted up to its snapshot at 8; `c` has nothing of it. */
function compacted() {
  const group = Group.of(3);
  const a = group.elect('a');
  group.isolate('c');
  a.propose('1', '2', '3', '4', '5', '6', '7', '8');
  group.pass(2);
  takeSnapshot(a, 8);
  group.mend();
  return { group, a, c: group.get('c') };
}

function takeSnapshot(member: Member, index: number, trailing = 0): SnapshotMeta {
  const { confState } = member.status;
  const meta = { index, term: member.log.term(index) ?? 0, confState };
  member.log.setSnapshot(meta);
  member.log.compact(index - trailing);
  return meta;
}

function progressOf(leader: Member, name: string) {
  return leader.status.progress.find(({ id }) => id === raftId(name));
}

function isSnapshot(message: Message): boolean {
  return message.type === 'snapshot';
}

test('a member that is behind the log gets a snapshot, then the rest of the log', (t) => {
  const { group, a, c } = compacted();
  group.pass(4);
  t.is(c.installed.length, 1);
  t.like(c.installed[0], { index: 8, confState: a.status.confState });
  t.deepEqual(c.appliedTexts(), ['7', '8']);
  t.is(progressOf(a, 'c')?.state, 'replicate', 'its acknowledgement alone is enough');
  t.is(c.status.commit, a.status.commit);
});

test('an installed snapshot is acknowledged only once it is on disk', (t) => {
  const { group, c } = compacted();
  group.pass(1, isSnapshot);
  const sent = group.sent.filter(isSnapshot).at(-1);
  c.core.step(sent as Message);
  const ready = c.core.ready();
  t.true(ready.mustSync);
  t.is(ready.snapshot?.index, 8);
  t.is(ready.hardState?.commit, 8);
  t.deepEqual(ready.messages, []);
  t.like(ready.messagesAfterSync[0], { type: 'append-reply', index: 8 });
});

test('no second snapshot and no appends go out while one is on its way', (t) => {
  const { group, a } = compacted();
  group.pass(3, isSnapshot);
  t.is(group.sent.filter(isSnapshot).length, 1);
  t.is(progressOf(a, 'c')?.state, 'snapshot');
  a.propose('9');
  const sent = group.run().filter(({ to, type }) => to === raftId('c') && type !== 'heartbeat');
  t.deepEqual(sent, []);
});

test('a failed snapshot is sent again after the next heartbeat, and that one works', (t) => {
  const { group, a, c } = compacted();
  for (let failures = 1; failures <= 3; failures++) {
    group.pass(2, isSnapshot);
    t.is(group.sent.filter(isSnapshot).length, failures);
    a.core.reportSnapshot(raftId('c'), false);
    t.is(progressOf(a, 'c')?.state, 'probe');
  }
  group.pass(4);
  t.is(c.installed.length, 1);
  t.is(c.status.commit, a.status.commit);
});

test('a snapshot reported as arrived is followed by the log, even if its answer was lost', (t) => {
  const { group, a, c } = compacted();
  group.pass(2, (m) => m.type === 'append-reply' && m.from === c.id && m.index === 8);
  t.is(c.installed.length, 1);
  t.is(progressOf(a, 'c')?.state, 'snapshot');
  a.core.reportSnapshot(c.id, true);
  t.like(progressOf(a, 'c'), { state: 'probe', next: 9 });
  group.pass(3);
  t.is(progressOf(a, 'c')?.state, 'replicate');
  t.is(c.status.commit, a.status.commit);
});

test('a snapshot older than the one being sent also lets replication go on', (t) => {
  const { group, a, c } = compacted();
  takeSnapshot(a, 10, 4); // the log reaches back to 9 still, being compacted before
  group.pass(1, isSnapshot);
  t.is(progressOf(a, 'c')?.next, 11);
  const { confState } = a.status;
  c.core.step({
    type: 'snapshot',
    from: a.id,
    to: c.id,
    term: 2,
    snapshot: { index: 8, term: 2, confState },
  });
  group.settle();
  t.is(progressOf(a, 'c')?.state, 'replicate');
  group.pass(2);
  t.is(c.status.commit, a.status.commit);
});

test('a snapshot at the very end of the log leaves its receiver replicating', (t) => {
  const { group, a, c } = compacted();
  takeSnapshot(a, a.status.lastIndex);
  group.pass(3);
  t.is(c.status.commit, a.status.commit);
  t.is(progressOf(a, 'c')?.state, 'replicate');
  a.propose('9');
  group.settle();
  t.deepEqual(c.appliedTexts(), ['9']);
});

test('no snapshot is sent to a member that has not been heard from', (t) => {
  const { group, a } = compacted();
  group.isolate('c');
  for (let i = 0; i < 25; i++) group.pass(1);
  a.core.reportUnreachable(raftId('c'));
  a.propose('9');
  group.settle();
  t.is(group.sent.filter(isSnapshot).length, 0);
});

test('a follower whose log reaches the snapshot commits instead of starting over', (t) => {
  const confState = { ...EMPTY_CONF, voters: ['a', 'b'].map(raftId) };
  const b = new Member('b', { confState, entries: logOf(1, 1, 1, 1) });
  b.core.step({
    type: 'snapshot',
    from: raftId('a'),
    to: b.id,
    term: 1,
    snapshot: { index: 3, term: 1, confState },
  });
  t.like(b.run()[0], { type: 'append-reply', index: 3, rejected: false });
  t.deepEqual(b.installed, []);
  t.like(b.status, { commit: 3, lastIndex: 4 });
});

test('an old, repeated or foreign snapshot changes nothing', (t) => {
  const { group, a, c } = compacted();
  group.pass(3);
  const { confState, commit } = c.status;
  const snapshots: SnapshotMeta[] = [
    { index: 8, term: 2, confState },
    { index: 5, term: 2, confState },
    { index: 50, term: 2, confState: { ...EMPTY_CONF, voters: [raftId('a')] } },
  ];
  for (const snapshot of snapshots) {
    c.core.step({ type: 'snapshot', from: a.id, to: c.id, term: 2, snapshot });
    t.like(c.run()[0], { type: 'append-reply', index: commit });
  }
  t.is(c.installed.length, 1);
});

test('two snapshots in a row, the newer before the first is on disk, end at the newer', (t) => {
  const { a, c } = compacted();
  const { confState } = a.status;
  const step = (index: number) =>
    c.core.step({
      type: 'snapshot',
      from: a.id,
      to: c.id,
      term: 2,
      snapshot: { index, term: 2, confState },
    });
  step(5);
  const first = c.core.ready();
  step(8);
  step(6);
  c.carryOut(first);
  c.run();
  t.like(c.status, { commit: 8, firstIndex: 9, lastIndex: 8 });
  t.is(c.log.lastIndex(), 8);
});

test('a node with nothing but a snapshot reports its term and can be elected', (t) => {
  const confState = { ...EMPTY_CONF, voters: ['a', 'b'].map(raftId) };
  const snapshot = { index: 9, term: 3, confState };
  const group = new Group([new Member('a', { snapshot }), new Member('b', { snapshot })]);
  t.like(group.elect('a').status, { term: 4, commit: 10, firstIndex: 10 });
});

test('a newcomer is given the configuration by a snapshot that does not name it yet', (t) => {
  const group = Group.of(1);
  const a = group.elect('a');
  const fresh = group.add(new Member('n', {}));
  a.core.proposeConfChange(change('add-learner', 'n'));
  group.pass(5);
  t.like(fresh.installed[0], { index: 1 });
  t.deepEqual(fresh.status.confState, a.status.confState);
  t.is(fresh.status.commit, a.status.commit);
});

test('a node does not stand between a snapshot and its sync', (t) => {
  const { group, c } = compacted();
  group.pass(1, isSnapshot);
  c.core.step(group.sent.filter(isSnapshot).at(-1) as Message);
  c.core.campaign();
  t.is(c.status.role, 'follower');
});

test('after a restart from snapshot and log everything after the snapshot is applied again', (t) => {
  const { group, a } = compacted();
  group.pass(3);
  const again = a.restarted();
  t.is(again.status.applied, 8);
  again.run();
  t.deepEqual(again.appliedTexts(), ['7', '8']);
  t.deepEqual(again.status.confState, a.status.confState);
});

test('a snapshot stands for the changes of members that were on their way to be applied', (t) => {
  const group = Group.of(3, { preVote: false, checkQuorum: false });
  const a = group.elect('a');
  const c = group.get('c');
  c.applies = false;
  a.core.proposeConfChange(change('add-learner', 'd'));
  group.settle();
  t.is(c.toApply.at(-1)?.type, 'conf-change');
  const envelope = { from: a.id, to: c.id, term: 2 };
  const snapshot = { index: 10, term: 2, confState: a.status.confState };
  c.core.step({ type: 'snapshot', ...envelope, snapshot });
  c.run();
  t.is(c.conf(), 'abc|d');
  c.core.campaign();
  t.is(c.status.role, 'candidate', 'nothing that it would have to wait for');
});
