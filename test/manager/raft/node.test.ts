import test from 'ava';
import { EMPTY_CONF } from '../../../manager/raft/conf-change.ts';
import { encodeDirectory } from '../../../manager/raft/members.ts';
import { DEFAULT_TIMING } from '../../../manager/raft/node-start.ts';
import { pack } from '../../../manager/raft/protocol.ts';
import type { Message, SnapshotMeta } from '../../../manager/raft/types.ts';
import { id, member } from './letters.ts';
import { alone, append, Disk, entry, follower, World } from './node-world.ts';

test('a single member leads at once and answers a write after it is synced', (t) => {
  const world = alone();
  t.is(world.of('status').at(-1)?.status.role, 'leader');
  world.events.length = 0;
  world.propose(7, 'x', 'y');
  t.deepEqual(world.events, ['sync 4']);
  const [entries] = world.of('entries').slice(-1);
  t.deepEqual(entries?.done, [7, 3, 8, 4]);
});

test('writes of one turn share a batch and a sync', (t) => {
  const world = alone();
  world.events.length = 0;
  for (let i = 0; i < 10; i++) {
    const data = [Uint8Array.of(i)];
    world.node.take([{ kind: 'propose', firstId: i + 1, ...pack(data) }]);
  }
  world.run();
  t.is(world.events.filter((event) => event.startsWith('sync')).length, 1);
  t.is(world.of('entries').at(-1)?.done.length, 20);
});

test('an acknowledgement leaves after the sync and never before', (t) => {
  const world = follower();
  world.events.length = 0;
  world.hear(append(0, [entry(1), entry(2)]));
  const sync = world.events.indexOf('sync 2');
  const reply = world.events.indexOf('send append-reply to b');
  t.true(sync >= 0 && reply > sync, world.events.join(', '));
});

test('a disk that fails ends the node: nothing is acknowledged and nothing goes on', (t) => {
  const world = follower();
  world.disk.broken = true;
  world.events.length = 0;
  world.hear(append(0, [entry(1)]));
  t.deepEqual(world.events, ['links closed']);
  const [fatal] = world.of('fatal');
  t.regex(fatal?.error.message ?? '', /EIO/);
  world.disk.broken = false;
  world.hear(append(0, [entry(1)]));
  world.ticks(50);
  t.deepEqual(world.events, ['links closed']);
  t.is(world.of('fatal').length, 1);
});

test('what is committed is handed out before the sync of what came with the news, and once', (t) => {
  const world = follower();
  world.hear(append(0, [entry(1)]));
  world.disk.broken = true;
  world.hear(append(1, [entry(2)], 1));
  t.deepEqual(
    world.posted.filter(({ kind }) => kind === 'entries' || kind === 'fatal').map((e) => e.kind),
    ['entries', 'fatal'],
  );
  const healthy = follower();
  healthy.hear(append(0, [entry(1)]));
  healthy.hear(append(1, [entry(2)], 1));
  healthy.hear(append(2, [], 2));
  t.deepEqual(
    healthy.of('entries').map(({ first, lengths }) => [first, lengths.length]),
    [
      [1, 1],
      [2, 1],
    ],
  );
});

test('a peer that proves loss of data ends the node as well', (t) => {
  const world = follower();
  world.hear({ type: 'heartbeat', from: id('b'), to: id('a'), term: 2, commit: 99, readSeq: 0 });
  t.regex(world.of('fatal')[0]?.error.message ?? '', /99 is committed/);
});

test('a write at a member that does not lead names the leader', (t) => {
  const world = follower();
  world.hear(append(0, []));
  world.propose(5, 'x');
  const [failed] = world.of('failed');
  t.deepEqual(
    [failed?.firstId, failed?.error.code, failed?.error.leader],
    [5, 'not-leader', 'node-b'],
  );
});

test('a write whose leadership is lost has an unknown outcome', (t) => {
  const world = alone();
  const two = member('b');
  world.node.take([{ kind: 'applied', index: 2 }]);
  world.node.take([{ kind: 'add-member', id: 1, member: two }]);
  world.run();
  t.deepEqual(world.of('done'), [{ kind: 'done', id: 1 }]);
  t.deepEqual(world.links.peers, ['a', 'b']);
  world.node.take([{ kind: 'applied', index: 3 }]);
  // The learner answers, is promoted, and from then on a majority needs it.
  const prevIndex = 3;
  const reply = (index: number): Message => ({
    type: 'append-reply',
    from: id('b'),
    to: id('a'),
    term: 2,
    index,
    rejected: false,
    hintIndex: 0,
    hintTerm: 0,
  });
  world.hear(reply(prevIndex));
  world.ticks(1);
  world.hear(reply(prevIndex + 1));
  t.false(world.of('status').at(-1)?.status.members[1]?.learner);
  world.node.take([{ kind: 'applied', index: 4 }]);
  world.propose(9, 'lost?');
  world.ticks(25);
  const [failed] = world.of('failed');
  t.deepEqual([failed?.firstId, failed?.error.code], [9, 'unknown-outcome']);
  t.not(world.of('status').at(-1)?.status.role, 'leader');
});

test('what is committed is told with the next message, or after a moment', (t) => {
  const world = alone();
  world.node.take([{ kind: 'add-member', id: 1, member: member('b') }]);
  world.run();
  world.node.take([{ kind: 'applied', index: 3 }]);
  const reply = (index: number) =>
    world.hear({
      type: 'append-reply',
      from: id('b'),
      to: id('a'),
      term: 2,
      index,
      rejected: false,
      hintIndex: 0,
      hintTerm: 0,
    });
  reply(3);
  world.ticks(1);
  reply(4);
  world.ticks(1);
  world.propose(2, 'first');
  const flushes = () => world.events.filter((event) => event === 'flush').length;
  const before = flushes();
  const sent = world.links.sent.length;
  const appends = () =>
    world.links.sent
      .slice(sent)
      .flatMap((one) => (one.type === 'append' ? [[one.entries.length, one.commit]] : []));
  reply(5); // commits it: an append without entries is due, and waits
  t.is(world.of('entries').at(-1)?.first, 5);
  t.is(flushes(), before);
  world.propose(3, 'second');
  t.is(flushes(), before + 1);
  t.deepEqual(appends(), [[1, 5]], 'the next entries say it');
  reply(6);
  t.is(flushes(), before + 1);
  world.ticks(1);
  t.true(flushes() > before + 1);
  t.deepEqual(appends().slice(1), [[0, 6]], 'or it leaves by itself');
});

test('by a lease a leader answers reads at once, but not after it stood still', (t) => {
  const lease = { ...DEFAULT_TIMING, readMode: 'lease' } as const;
  const world = new World({ kind: 'bootstrap', member: member('a'), state: [] }, undefined, lease);
  world.ticks(30);
  const envelope = { from: id('b'), to: id('a') };
  const term = () => world.of('status').at(-1)?.status.term ?? 0;
  const reply = (index: number) =>
    world.hear({
      type: 'append-reply',
      ...envelope,
      term: term(),
      index,
      rejected: false,
      hintIndex: 0,
      hintTerm: 0,
    });
  const beats = () => world.links.sent.filter(({ type }) => type === 'heartbeat');
  const answerBeat = () => {
    const beat = beats().at(-1);
    if (beat?.type !== 'heartbeat') return t.fail();
    world.hear({ type: 'heartbeat-reply', ...envelope, term: term(), readSeq: beat.readSeq });
  };
  world.node.take([
    { kind: 'applied', index: 2 },
    { kind: 'add-member', id: 1, member: member('b') },
  ]);
  world.run();
  world.node.take([{ kind: 'applied', index: 3 }]);
  reply(3);
  world.ticks(1);
  reply(4);
  world.ticks(1);
  answerBeat();
  const read = (context: number) => {
    world.node.take([{ kind: 'read', context }]);
    world.run();
    return world.of('read-ready').some((ready) => ready.context === context);
  };
  const before = beats().length;
  t.true(read(1));
  t.is(beats().length, before, 'nobody was asked');
  world.nowMs += 5_000; // no tick saw it
  t.false(read(2));
  t.is(beats().length, before + 1);
  answerBeat();
  t.true(world.of('read-ready').some(({ context }) => context === 2));
});

test('a newcomer reaches those whom the leader named, though its first snapshot is older than they are', (t) => {
  const world = follower();
  const meta: SnapshotMeta = {
    index: 5,
    term: 1,
    confState: { ...EMPTY_CONF, voters: [id('b')] },
  };
  const directory = encodeDirectory({ members: [member('b')], removed: [] });
  world.disk.snapshots.set(5, { meta, chunks: [directory] });
  const envelope = { from: id('c'), to: id('a'), term: 2 };
  world.hear({ type: 'snapshot', ...envelope, snapshot: meta });
  t.is(world.of('restore').at(-1)?.index, 5);
  t.true(world.links.peers.includes('c'), 'by whom it was sent');
});

test('a removed member says so, and its log is not started again', (t) => {
  const world = follower();
  world.links.events?.removed();
  world.run();
  t.true(world.of('status').at(-1)?.status.removed);
  t.throws(() => new World({ kind: 'restart' }, world.disk), { message: /was removed/ });
});

test('a log is not started as another member or in another cluster', (t) => {
  const { disk } = alone();
  t.throws(() => new World({ kind: 'bootstrap', member: member('b'), state: [] }, disk), {
    message: /that of member a+/,
  });
  t.throws(() => new World({ kind: 'restart' }, new Disk([])), { message: /no Raft log/ });
  const identity = disk.notes.get('identity') ?? t.fail();
  disk.notes.set('identity', new TextEncoder().encode(`${id('a')} another`));
  t.throws(() => new World({ kind: 'restart' }, disk), { message: /is of cluster another/ });
  if (identity instanceof Uint8Array) disk.notes.set('identity', identity);
  t.notThrows(() => new World({ kind: 'bootstrap', member: member('a'), state: [] }, disk));
});

test('a leader whose state machine is stuck hands over', (t) => {
  const world = alone();
  world.node.take([{ kind: 'applied', index: 2 }]);
  world.node.take([{ kind: 'add-member', id: 1, member: member('b') }]);
  world.run();
  world.node.take([{ kind: 'applied', index: 3 }]);
  const beat = (index: number) => {
    const envelope = { from: id('b'), to: id('a'), term: 2 };
    world.hear({
      type: 'append-reply',
      ...envelope,
      index,
      rejected: false,
      hintIndex: 0,
      hintTerm: 0,
    });
  };
  beat(3);
  world.ticks(1);
  beat(4);
  world.node.take([{ kind: 'applied', index: 4 }]);
  world.propose(2, 'never applied');
  for (let i = 0; i < 155; i++) {
    beat(5);
    world.ticks(1);
  }
  t.true(world.links.sent.some(({ type, to }) => type === 'timeout-now' && to === id('b')));
});
