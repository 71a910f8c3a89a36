/** Replication step by step: where logs meet, what a window holds, when a snapshot takes over. */
import test from 'ava';
import type { AppendRequest, Message, RaftOptions } from '../../../../manager/raft/types.ts';
import { Group, nameOf, raftId } from '../group.ts';

const BARE: Partial<RaftOptions> = { preVote: false, checkQuorum: false };

function led(options: Partial<RaftOptions> = {}, voters = 3) {
  const group = Group.of(voters, { ...BARE, ...options });
  const a = group.elect('a');
  group.pass(2);
  return { group, a };
}

function appends(messages: readonly Message[], to: string): AppendRequest[] {
  return messages.filter((m): m is AppendRequest => m.type === 'append' && m.to === raftId(to));
}

const toC = ({ to }: Message) => to === raftId('c');

test('figure 7 in one group: a leader of term 8 probes six other logs and rewrites them all', (t) => {
  const logs = {
    a: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6],
    b: [1, 1, 1, 4, 4, 5, 5, 6, 6],
    c: [1, 1, 1, 4],
    d: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    e: [1, 1, 1, 4, 4, 4, 4],
    f: [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
    g: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
  };
  const group = Group.withLogs(logs, BARE);
  const a = group.get('a');
  // d and g hold more than a and refuse; b, c, e and f grant, each once the term is above its own.
  while (a.status.role !== 'leader') {
    a.core.campaign();
    group.run();
    group.deliver((m) => m.type === 'vote' && m.term < 8); // somebody else had term 7
    group.run();
    group.deliver();
  }
  const { term } = a.status;
  t.is(term, 8);
  const granted = group.sent.filter((m) => m.type === 'vote-reply' && m.term === 8 && m.granted);
  t.deepEqual(granted.map(({ from }) => nameOf(from)).sort(), ['b', 'c', 'e', 'f']);
  for (const name of 'bcdefg') t.like(a.progress(name), { state: 'probe', match: 0, next: 11 });
  const before = group.sent.length;
  group.pass(3);
  for (const name of 'abcdefg') {
    t.deepEqual(group.get(name).terms(), [...logs.a, 8]);
    t.is(group.get(name).status.commit, 11);
  }
  const rejections = group.sent
    .slice(before)
    .filter((m) => m.type === 'append-reply' && m.rejected)
    .map(({ from }) => nameOf(from));
  // One each: the hint names the last place that can agree. d and g hold (10, 6) and refuse nothing.
  t.deepEqual(rejections.sort(), ['b', 'c', 'e', 'f']);
  for (const name of 'bcdefg')
    t.like(a.progress(name), { state: 'replicate', match: 11, next: 12 });
});

test('a full window stops appends to one member alone, and heartbeats find out what was lost', (t) => {
  const { group, a } = led({ maxInflightMessages: 3, maxMessageBytes: 1 });
  group.split('c', 'ab');
  for (let i = 0; i < 5; i++) {
    a.propose(`w${i}`);
    group.settle();
  }
  t.is(a.status.commit, a.status.lastIndex, 'b keeps up');
  t.like(a.progress('c'), { state: 'replicate', match: 2, next: 6, inflight: 3 });
  group.mend();
  group.settle();
  t.is(a.progress('c').inflight, 3, 'nothing moves by itself');
  group.tick('a');
  group.run();
  group.deliver(); // heartbeats arrive
  group.run();
  group.deliver(); // and their answers
  const asked = appends(group.run(), 'c');
  t.is(asked.length, 1);
  t.like(asked[0], { prevIndex: 5, entries: [] });
  group.settle();
  t.like(a.progress('c'), { state: 'replicate', match: a.status.lastIndex, inflight: 0 });
});

test('a member that lost a full window and whose log was compacted away is sent a snapshot', (t) => {
  const { group, a } = led({ maxInflightMessages: 2, maxMessageBytes: 1 });
  const c = group.get('c');
  a.propose('1', '2', '3', '4');
  group.run();
  group.deliver(toC); // the window of c is lost whole
  group.settle(toC);
  t.like(a.progress('c'), { state: 'replicate', match: 2, inflight: 2 });
  a.compact(6);
  group.pass(1); // c is heard: the empty append after the heartbeat is refused
  group.pass(3);
  t.is(c.installed.length, 1);
  t.is(c.installed[0]?.index, 6);
  t.like(a.progress('c'), { state: 'replicate', match: a.status.lastIndex });
  t.is(c.status.commit, a.status.commit);
});

test('after a report that it cannot be reached, a member is probed and comes back by itself', (t) => {
  const { group, a } = led();
  a.core.reportUnreachable(raftId('b'));
  t.like(a.progress('b'), { state: 'probe', match: 2, next: 3 });
  group.tick('a');
  t.like(
    group.run().map(({ type }) => type),
    ['heartbeat', 'heartbeat'],
  );
  group.deliver();
  group.run();
  group.deliver();
  // Nothing to send, yet the state must not stay `probe`: an empty append asks.
  t.like(appends(group.run(), 'b'), [{ prevIndex: 2, entries: [] }]);
  group.settle();
  t.like(a.progress('b'), { state: 'replicate', match: 2 });
});

test('the commit index follows: at once with an append, by heartbeat when that was lost', (t) => {
  const { group, a } = led();
  const [b, c] = [group.get('b'), group.get('c')];
  a.propose('x');
  group.run();
  group.deliver(); // entries arrive
  group.run();
  group.deliver(); // acknowledged: committed at the leader
  t.deepEqual(
    [a, b, c].map(({ status }) => status.commit),
    [3, 2, 2],
  );
  const news = appends(group.run(), 'c');
  t.like(news, [{ entries: [], commit: 3 }]);
  group.deliver(toC);
  group.settle(toC);
  t.deepEqual(
    [a, b, c].map(({ status }) => status.commit),
    [3, 3, 2],
  );
  t.is(appends(group.run(), 'c').length, 0, 'it is not told twice');
  group.pass(1);
  t.is(c.status.commit, 3, 'a heartbeat carries as much of it as c is known to hold');
});

test('a heartbeat commits no further than its member is known to hold', (t) => {
  const { group, a } = led();
  const c = group.get('c');
  a.propose('x', 'y');
  group.settle(toC);
  t.is(a.status.commit, 4);
  group.tick('a');
  const beat = group.run().find((m) => m.type === 'heartbeat' && m.to === c.id);
  t.like(beat, { commit: 2 });
  group.deliver();
  t.is(c.status.commit, 2);
});

/** `c` has nothing after index 2, the leader's log begins at 9 and a snapshot at 8 is on its way. */
function snapshotting() {
  const { group, a } = led({ checkQuorum: true });
  const c = group.get('c');
  group.split('c', 'ab');
  a.propose('1', '2', '3', '4', '5', '6', '7', '8');
  group.pass(1);
  a.compact(8);
  group.mend();
  group.pass(1, ({ type }) => type === 'snapshot');
  return { group, a, c };
}

test('an acknowledgement alone ends the snapshot state: the report may come late or never', (t) => {
  const { group, a, c } = snapshotting();
  t.like(a.progress('c'), { state: 'snapshot', match: 2, next: 9 });
  const sent = group.sent.filter(({ type }) => type === 'snapshot').at(-1);
  c.core.step(sent as Message);
  group.settle();
  t.like(a.progress('c'), { state: 'replicate', match: 10, next: 11 });
  a.core.reportSnapshot(c.id, false); // late, and wrong
  t.like(a.progress('c'), { state: 'replicate', match: 10 });
});

test('an acknowledgement below where the log begins does not end the snapshot state', (t) => {
  const { group, a, c } = snapshotting();
  const { confState } = a.status;
  a.core.step({
    type: 'append-reply',
    from: c.id,
    to: a.id,
    term: 2,
    index: 5,
    rejected: false,
    hintIndex: 0,
    hintTerm: 0,
  });
  t.like(a.progress('c'), { state: 'snapshot', match: 5 }, 'the log begins at 9: 5 does not help');
  c.core.step({
    type: 'snapshot',
    from: a.id,
    to: c.id,
    term: 2,
    snapshot: { index: 8, term: 2, confState },
  });
  group.settle();
  t.like(a.progress('c'), { state: 'replicate', match: 10 });
});

test('a follower is served from the log when its snapshot arrives behind the pending one', (t) => {
  const { group, a } = led({ checkQuorum: true });
  const c = group.get('c');
  group.split('c', 'ab');
  a.propose('1', '2', '3', '4', '5', '6', '7', '8');
  group.pass(1);
  const { confState } = a.status;
  a.compact(8, 4); // entries from 5 on are kept
  group.mend();
  group.pass(1, ({ type }) => type === 'snapshot');
  t.like(a.progress('c'), { state: 'snapshot', next: 9 });
  c.core.step({
    type: 'snapshot',
    from: a.id,
    to: c.id,
    term: 2,
    snapshot: { index: 4, term: 2, confState },
  });
  const [answer] = c.run();
  t.like(answer, { type: 'append-reply', index: 4 });
  a.core.step(answer as Message);
  t.like(a.progress('c'), { state: 'replicate', match: 4, next: 5 });
  group.settle();
  t.is(c.status.commit, a.status.commit);
  t.deepEqual(c.appliedTexts(), ['3', '4', '5', '6', '7', '8']);
});
