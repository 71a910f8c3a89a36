/**
 * Bugs that other implementations of Raft have had, each as a test of what must hold instead. The
 * origin is named where it is public. Those of logs on disk are beside the log, in io/.
 */
import test from 'ava';
import { EMPTY_CONF } from '../../../manager/raft/conf-change.ts';
import type { Message, RaftOptions, SnapshotMeta, SoftState } from '../../../manager/raft/types.ts';
import { change, entry, Group, logOf, Member, nameOf, raftId } from './group.ts';

const BARE: Partial<RaftOptions> = { preVote: false, checkQuorum: false };

function led(voters = 3, options: Partial<RaftOptions> = {}) {
  const group = Group.of(voters, options);
  const a = group.elect('a');
  group.pass(2);
  return { group, a };
}

/** Ticks `names` in turn until one of them leads; the others' time stands still. */
function electAmong(group: Group, names: string): Member {
  for (let i = 0; i < 200; i++) {
    for (const name of names) {
      group.tick(name);
      group.settle();
      if (group.get(name).status.role === 'leader') return group.get(name);
    }
  }
  throw new Error(`none of ${names} was elected`);
}

// etcd 14370
test('a single voter answers a write only after its own disk has it, crash where it may', (t) => {
  const steps = ['proposed', 'ready', 'persisted', 'advanced', 'applied'] as const;
  for (const crashAfter of steps) {
    const group = Group.of(1);
    const a = group.elect('a');
    a.propose('x');
    let acknowledged = false;
    for (const step of steps) {
      if (step === 'ready') {
        const ready = a.core.ready();
        t.deepEqual(ready.committedEntries, []);
        if (crashAfter === 'ready') break;
        a.persist(ready);
        if (crashAfter === 'persisted') break;
        a.core.advance();
        if (crashAfter === 'advanced') break;
        a.run();
        acknowledged = a.appliedTexts().includes('x');
        t.true(acknowledged);
      }
      if (step === crashAfter) break;
    }
    const again = a.restarted();
    again.core.campaign();
    again.run();
    if (acknowledged) t.deepEqual(again.appliedTexts(), ['x']);
    t.is(
      again.appliedTexts().includes('x'),
      crashAfter !== 'proposed' && crashAfter !== 'ready',
      crashAfter,
    );
  }
});

// etcd 5664, 3504
test('a commit index beyond the log is a lost log: such a member does not start', (t) => {
  const hardState = { term: 1, vote: undefined, commit: 4 };
  const confState = { ...EMPTY_CONF, voters: ['a', 'b'].map(raftId) };
  t.throws(() => new Member('a', { entries: logOf(1, 1, 1), hardState, confState }), {
    message: /ends at 3 but 4 was committed/,
  });
});

// etcd 2676, 13509, 16220, 20269
test('a wiped member under its old id stops by itself and hurts neither leader nor commits', (t) => {
  const { group, a } = led();
  a.propose('x');
  group.pass(2);
  const wiped = new Member('b', { confState: a.status.confState });
  group.members.set(wiped.id, wiped);
  group.tick('a');
  const beat = group.run().find(({ type, to }) => type === 'heartbeat' && to === wiped.id);
  t.throws(() => wiped.core.step(beat as Message), { message: /acknowledged entries are lost/ });
  group.members.delete(wiped.id);
  a.propose('y');
  group.pass(3);
  t.deepEqual(group.get('c').appliedTexts(), ['x', 'y']);
});

// etcd 18055
test('snapshots in any order, twice, while an older one is being applied, end at the newest', (t) => {
  const { a, group } = led();
  const { confState } = a.status;
  const c = group.get('c');
  c.applies = false;
  const step = (index: number) => {
    const snapshot: SnapshotMeta = { index, term: 2, confState };
    c.core.step({ type: 'snapshot', from: a.id, to: c.id, term: 2, snapshot });
  };
  step(10);
  step(10);
  const first = c.core.ready();
  t.is(first.snapshot?.index, 10);
  step(20);
  step(15);
  c.carryOut(first);
  const second = c.core.ready();
  t.is(second.snapshot?.index, 20);
  step(10);
  c.carryOut(second);
  c.run();
  t.like(c.status, { commit: 20, applied: 20, lastIndex: 20, firstIndex: 21 });
  t.deepEqual(
    c.installed.map(({ index }) => index),
    [10, 20],
  );
});

// RedisLabs/raft, pull request 2
test('a log that is nothing but a snapshot has the term of the snapshot', (t) => {
  const snapshot = {
    index: 9,
    term: 3,
    confState: { ...EMPTY_CONF, voters: ['a', 'b'].map(raftId) },
  };
  const a = new Member('a', { snapshot, options: BARE });
  a.core.campaign();
  t.like(a.run()[0], { type: 'vote', lastIndex: 9, lastTerm: 3 });
});

// hashicorp/raft 212
test('a member below the log while compaction goes on: snapshots fail, then one works, then entries', (t) => {
  const { group, a } = led();
  const c = group.get('c');
  group.isolate('c');
  a.propose('1', '2', '3');
  group.pass(1);
  a.compact(a.status.applied);
  group.mend();
  for (let failures = 1; failures <= 5; failures++) {
    a.propose(`more ${failures}`);
    group.pass(1, ({ type }) => type === 'snapshot');
    a.compact(a.status.applied);
    group.pass(1, ({ type }) => type === 'snapshot');
    t.is(a.progress('c').state, 'snapshot');
    a.core.reportSnapshot(c.id, false);
  }
  group.pass(3);
  t.is(c.status.commit, a.status.commit);
  t.is(a.progress('c').state, 'replicate');
  const appends = group.sent.filter((m) => m.type === 'append' && m.to === c.id).length;
  t.true(appends < 40, `${appends} appends: it does not run in circles`);
});

// camunda 14509
test('nothing at or below the commit index is ever cut off, by append or snapshot', (t) => {
  const { group, a } = led();
  a.propose('x', 'y');
  group.pass(2);
  const b = group.get('b');
  const before = b.terms();
  const { commit, confState } = b.status;
  const bad = { from: raftId('c'), to: b.id, term: 3 };
  const replacing = [entry(commit, 3)];
  t.deepEqual(b.run(), []);
  b.core.step({
    type: 'append',
    ...bad,
    prevIndex: commit - 1,
    prevTerm: 2,
    commit: 0,
    entries: replacing,
  });
  t.like(b.run(), [{ type: 'append-reply', index: commit, rejected: false }]);
  b.core.step({ type: 'snapshot', ...bad, snapshot: { index: commit - 1, term: 2, confState } });
  t.like(b.run(), [{ type: 'append-reply', index: commit, rejected: false }]);
  t.deepEqual(b.terms(), before);
});

// nebula, pull request 2419
test('a voter whose answer was lost gives the same candidate its vote again, and no other', (t) => {
  const group = Group.of(3, BARE);
  const a = group.get('a');
  a.core.campaign();
  group.settle(({ type }) => type === 'vote-reply');
  t.is(a.status.role, 'candidate');
  const asked = group.sent.filter((m) => m.type === 'vote' && m.to === raftId('b')).at(-1);
  group.get('b').core.step({ ...(asked as Message), from: raftId('c') }); // of the same term
  t.like(group.get('b').run(), [{ type: 'vote-reply', granted: false }]);
  group.get('b').core.step(asked as Message);
  const [again] = group.get('b').run();
  t.like(again, { type: 'vote-reply', granted: true });
  a.core.step(again as Message);
  t.is(a.status.role, 'leader');
});

// nebula, pull request 1769
test('a candidate that is sent a snapshot of its own term follows its sender and takes it', (t) => {
  const { group, a } = led();
  const c = group.get('c');
  group.isolate('c');
  a.propose('1', '2', '3');
  group.pass(1);
  a.compact(5);
  const lone = new Member('c', { confState: a.status.confState, entries: [], options: BARE });
  lone.core.campaign();
  lone.core.campaign();
  t.like(lone.status, { role: 'candidate', term: 2 });
  const { confState } = a.status;
  lone.core.step({
    type: 'snapshot',
    from: a.id,
    to: c.id,
    term: 2,
    snapshot: { index: 5, term: 2, confState },
  });
  t.like(lone.status, { role: 'follower', leader: a.id });
  lone.run();
  t.is(lone.status.commit, 5);
});

// etcd 20418, redisraft 19
test('a leader that stood still across an election serves no stale read when it goes on', (t) => {
  const { group, a } = led();
  group.isolate('a'); // it stands still: no tick, no message
  a.core.readIndex(1); // this one came before
  const beats = a.run().filter(({ type }) => type === 'heartbeat');
  // The answers to its heartbeats are on their way; meanwhile another leads and commits.
  const answers = beats.flatMap((beat) => {
    const member = group.get(nameOf(beat.to));
    member.core.step(beat);
    return member.run();
  });
  const b = electAmong(group, 'bc');
  b.propose('newer');
  group.settle();
  // It goes on. A client asks again, under the same context, before the old answers are read.
  a.core.readIndex(1);
  a.run();
  for (const answer of answers) a.core.step(answer);
  a.run();
  t.is(a.readStates.length, 1, 'the first try was confirmed in its time; the retry was not');
  group.mend();
  group.settle();
  group.pass(2);
  t.is(a.readStates.length, 1);
  t.deepEqual(a.droppedReads, [{ context: 1, reason: 'leader-changed' }]);
});

// etcd 20418, with leases
test('a leased leader whose process stood still asks a quorum before it answers again', (t) => {
  const group = Group.of(3, { readMode: 'lease' });
  group.pass(10);
  const a = group.elect('a');
  group.pass(2);
  a.core.readIndex(1);
  a.run();
  t.is(a.readStates.length, 1, 'by its lease');
  a.core.stalled(); // no tick tells how long
  a.core.readIndex(2);
  const sent = a.run();
  t.is(a.readStates.length, 1);
  t.true(sent.some(({ type }) => type === 'heartbeat'));
  for (const message of sent) group.get(nameOf(message.to)).core.step(message);
  group.settle();
  t.is(a.readStates.length, 2, 'by a round');
  a.core.readIndex(3);
  t.deepEqual(a.run(), [], 'and that round is a lease again');
});

// etcd 3879
test('a restarted member answers no read from what it happens to have', (t) => {
  const { group, a } = led();
  group.isolate('c');
  a.propose('x', 'y');
  group.pass(1);
  const c = group.restart('c');
  c.core.readIndex(1);
  c.run();
  t.deepEqual(c.droppedReads, [{ context: 1, reason: 'no-leader' }]);
  group.mend();
  group.pass(1, ({ type, to }) => type === 'append' && to === c.id);
  c.core.readIndex(2);
  group.settle(({ type, to }) => type === 'append' && to === c.id);
  t.deepEqual(c.readStates, [{ context: 2, index: 4 }]);
  t.true(c.status.applied < 4, 'it has to wait for what it lacks');
});

// redisraft 52
test('what was applied anywhere is in the log of every later leader', (t) => {
  const { group, a } = led(5);
  group.split('a', 'de');
  a.propose('seen'); // a, b and c have it; a alone knows that it is committed
  group.run();
  group.deliver();
  group.run();
  group.deliver();
  a.run();
  t.deepEqual(a.appliedTexts(), ['seen']);
  group.isolate('a');
  const leader = electAmong(group, 'debc');
  t.true(['b', 'c'].includes(nameOf(leader.id)), 'd and e lack it and cannot win');
  group.settle();
  t.deepEqual(leader.appliedTexts(), ['seen']);
});

// RethinkDB 2.1.5: a member that comes back empty under an identity that others still count
test('a host that is removed and added again has a new id, and its old one counts for nothing', (t) => {
  const { group, a } = led();
  group.isolate('c');
  a.core.proposeConfChange(change('remove', 'c'));
  group.pass(3);
  const d = group.add(new Member('d', {})); // the same host
  a.core.proposeConfChange(change('add-learner', 'd'));
  group.pass(5);
  a.core.proposeConfChange(change('add-voter', 'd'));
  group.pass(3);
  t.is(a.conf(), 'abd');
  // A partition: the old identity, which never heard of its removal, with b; the leader with d.
  group.mend();
  group.split('ad', 'bc');
  const old = group.get('c');
  t.is(old.conf(), 'abc', 'by its own lights b and c are a majority');
  for (let i = 0; i < 60; i++) {
    group.tick('c');
    group.tick('b');
    group.settle();
  }
  const leaders = [...group.members.values()].filter(({ status }) => status.role === 'leader');
  t.deepEqual(leaders, [a]);
  a.propose('x');
  group.pass(2);
  t.deepEqual(d.appliedTexts(), ['x']);
});

// Ongaro's report of 2015 on single-server changes: the three interleavings of two leaders.
for (const [what, founders, first, second] of [
  ['add and add', 4, change('add-voter', 'x'), change('add-voter', 'y')],
  ['add and remove', 4, change('add-voter', 'x'), change('remove', 'a')],
  ['remove and remove', 5, change('remove', 'e'), change('remove', 'a')],
] as const) {
  test(`single changes of two leaders cannot both hold: ${what}`, (t) => {
    const group = Group.of(founders);
    for (const name of 'xy') group.add(new Member(name, {}));
    const a = group.elect('a');
    group.pass(2);
    // The first leader appends its change, and is cut off with it.
    group.isolate('a');
    t.is(a.core.proposeConfChange(first).kind, 'accepted');
    a.run();
    const rest = 'bcde'.slice(0, founders - 1);
    const b = electAmong(group, rest);
    t.is(b.core.proposeConfChange(second).kind, 'accepted', 'after its no-op is committed');
    group.settle();
    const after = b.conf();
    // Now the first leader comes back with its change, and tries to win with whom it counts on.
    group.mend();
    group.split(nameOf(b.id), `a${rest.replace(nameOf(b.id), '')}xy`);
    for (let i = 0; i < 80; i++) {
      for (const name of group.members.keys()) group.tick(nameOf(name));
      group.settle();
    }
    group.mend();
    group.pass(60);
    const leader = group.leader();
    t.is(leader.conf(), after, 'the second change stands, the first is gone');
    for (const { id } of leader.status.progress) {
      t.is(group.get(nameOf(id)).conf(), after, nameOf(id));
    }
  });
  test(`the new leader changes nothing before its no-op is committed: ${what}`, (t) => {
    const group = Group.of(founders);
    const a = group.elect('a');
    group.pass(2);
    a.core.proposeConfChange(first);
    a.run();
    group.isolate('a');
    for (let i = 0; i < 10; i++) for (const name of 'bcde'.slice(0, founders - 1)) group.tick(name);
    group.get('b').core.campaign();
    group.settle(({ type }) => type === 'append');
    const b = group.get('b');
    t.is(b.status.role, 'leader');
    t.like(b.core.proposeConfChange(second), { reason: 'not-committed-in-term' });
  });
}

// etcd 14633: every append of a full window lost, and the log compacted before anybody noticed
test('a window lost whole and compacted away does not leave its member behind', (t) => {
  const { group, a } = led(3, { maxInflightBytes: 150, maxMessageBytes: 1 });
  const c = group.get('c');
  const toC = ({ to, type }: Message) => to === c.id && type === 'append';
  a.propose('x'.repeat(60), 'y'.repeat(60), 'z'.repeat(60));
  for (let i = 0; i < 3; i++) group.settle(toC);
  t.like(a.progress('c'), { state: 'replicate', match: 2 });
  a.compact(a.status.applied);
  a.propose('after');
  group.pass(3);
  t.is(c.status.commit, a.status.commit);
  t.like(a.progress('c'), { state: 'replicate', match: a.status.lastIndex });
});

// etcd 10308
test('a snapshot at the very last index leaves its member replicating, not probed for ever', (t) => {
  const { group, a } = led();
  group.isolate('c');
  a.propose('1', '2');
  group.pass(1);
  a.compact(a.status.lastIndex);
  group.mend();
  group.pass(2);
  t.like(a.progress('c'), { state: 'replicate', match: a.status.lastIndex });
});

// hashicorp/raft 1.6.1
test('writes that keep coming do not keep a transfer from ending', (t) => {
  const { group, a } = led();
  group.isolate('b');
  a.propose('1', '2', '3');
  group.pass(1);
  group.mend();
  a.core.transferLeadership(raftId('b'));
  for (let i = 0; i < 8 && group.get('b').status.role !== 'leader'; i++) {
    t.is(a.propose(`late ${i}`).kind, 'dropped', 'none of them moves the goal');
    group.pass(1);
  }
  t.is(group.get('b').status.role, 'leader');
});

// hashicorp/raft 384
test('of several changes of role in one turn the last one is always told', (t) => {
  const group = Group.of(3, BARE);
  const told: SoftState[] = [];
  const a = group.get('a');
  const drain = () => {
    while (a.core.hasReady()) {
      const ready = a.core.ready();
      if (ready.softState !== undefined) told.push(ready.softState);
      a.carryOut(ready);
    }
  };
  a.core.campaign();
  drain();
  a.core.step({
    type: 'vote-reply',
    from: raftId('b'),
    to: a.id,
    term: 2,
    granted: true,
    commit: 1,
    commitTerm: 1,
  });
  // Leader of term 2, and in the same turn deposed by one of term 3.
  const beat = { type: 'heartbeat', from: raftId('c'), to: a.id, term: 3, commit: 0 } as const;
  a.core.step({ ...beat, readSeq: 0 });
  drain();
  t.deepEqual(told.at(-1), { role: 'follower', leader: raftId('c'), term: 3 });
  a.core.campaign();
  a.core.step({ ...beat, term: 4, readSeq: 0 });
  drain();
  t.deepEqual(told.at(-1), { role: 'follower', leader: raftId('c'), term: 4 });
});

// camunda 1068
test('two who stand in the same term: one wins, and nobody votes for both', (t) => {
  const group = Group.of(3, BARE);
  const [a, b] = [group.get('a'), group.get('b')];
  a.core.campaign();
  b.core.campaign();
  group.settle();
  t.is([a, b].filter(({ status }) => status.role === 'leader').length, 1);
  const c = group.sent.filter(
    (m) => m.type === 'vote-reply' && m.from === raftId('c') && m.granted,
  );
  t.is(c.length, 1);
});

// etcd raft: confchange_v1_remove_leader
test('a leader that was removed sends no heartbeats and takes no writes', (t) => {
  const { group, a } = led();
  a.core.proposeConfChange(change('remove', 'a'));
  group.settle();
  const before = group.sent.length;
  for (let i = 0; i < 30; i++) {
    group.tick('a');
    group.run();
  }
  t.deepEqual(group.sent.slice(before), []);
  t.like(a.propose('x'), { reason: 'not-leader' });
});
