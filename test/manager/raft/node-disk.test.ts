/** One node and its disk: snapshots, the log behind them, keys, and no room. */
import test from 'ava';
import { pack } from '../../../manager/raft/protocol.ts';
import { id, member } from './letters.ts';
import { alone, append, entry, follower, World } from './node-world.ts';

test('the state is asked for when a snapshot is due, and the log is cut behind it', async (t) => {
  const world = alone();
  for (let i = 0; i < 20; i++) world.propose(i + 1, 'x');
  world.node.take([{ kind: 'applied', index: 22 }]);
  world.run();
  t.is(world.of('take-snapshot').length, 1);
  world.node.take([
    { kind: 'snapshot-begin', index: 22 },
    { kind: 'snapshot-chunk', chunk: Uint8Array.of(1) },
    { kind: 'snapshot-end', ok: true },
  ]);
  await new Promise(setImmediate);
  t.is(world.disk.view.snapshot()?.index, 22);
  t.is(world.disk.view.firstIndex(), 18, 'five entries are kept');
  const again = new World({ kind: 'restart' }, world.disk);
  const [restore] = again.of('restore');
  t.deepEqual([restore?.index, restore?.chunks], [22, [Uint8Array.of(1)]]);
  t.deepEqual(again.links.peers, ['a'], 'who is where comes from the snapshot');
});

test('a member that cannot keep a snapshot is not sent one with each heartbeat', (t) => {
  const world = alone();
  world.node.take([{ kind: 'add-member', id: 1, member: member('b') }]);
  world.run();
  world.node.take([{ kind: 'applied', index: 3 }]);
  const envelope = { from: id('b'), to: id('a'), term: 2 };
  const refused = { rejected: true, hintIndex: 0, hintTerm: 0 };
  const sent = () => world.links.sent.filter(({ type }) => type === 'snapshot').length;
  world.hear({ type: 'append-reply', ...envelope, index: 3, ...refused });
  t.is(sent(), 1);
  let told = 0;
  for (let tick = 0; tick < 150; tick++) {
    if (sent() > told) {
      told = sent();
      world.links.events?.snapshotSent(id('b'), false);
      world.run();
    }
    world.hear({
      type: 'append-reply',
      ...envelope,
      index: world.disk.view.lastIndex(),
      ...refused,
    });
    world.hear({ type: 'heartbeat-reply', ...envelope, readSeq: 0 });
    world.ticks(1);
  }
  t.true(sent() >= 5 && sent() <= 7, `${sent()} in 15 s`);
});

test('a snapshot that cannot be read any more is taken anew for who needs it', async (t) => {
  const world = alone();
  world.node.take([{ kind: 'add-member', id: 1, member: member('b') }]);
  world.run();
  world.node.take([{ kind: 'applied', index: 3 }]);
  const envelope = { from: id('b'), to: id('a'), term: 2 };
  const refused = { rejected: true, hintIndex: 0, hintTerm: 0 };
  world.disk.damaged = true;
  world.hear({ type: 'append-reply', ...envelope, index: 3, ...refused });
  const [body = []] = world.links.bodies;
  t.is(world.of('take-snapshot').length, 0);
  t.throws(() => [...body], { message: /checksum/ });
  world.run();
  t.is(world.of('take-snapshot').length, 1);
  world.disk.damaged = false;
  world.node.take([
    { kind: 'snapshot-begin', index: 3 },
    { kind: 'snapshot-chunk', chunk: Uint8Array.of(7) },
    { kind: 'snapshot-end', ok: true },
  ]);
  await new Promise(setImmediate);
  world.links.events?.snapshotSent(id('b'), false);
  world.hear({ type: 'heartbeat-reply', ...envelope, readSeq: 0 });
  world.run();
  world.hear({ type: 'append-reply', ...envelope, index: 3, ...refused });
  const again = world.links.bodies.at(-1) ?? [];
  t.deepEqual([...again].at(-1), Uint8Array.of(7));
});

test('the log is not cut before a member that is being sent a snapshot has what follows it', async (t) => {
  const world = alone();
  world.node.take([{ kind: 'add-member', id: 1, member: member('b') }]);
  world.run();
  const answer = (index: number, rejected = false) =>
    world.hear({
      type: 'append-reply',
      from: id('b'),
      to: id('a'),
      term: 2,
      index,
      rejected,
      hintIndex: 0,
      hintTerm: 0,
    });
  world.node.take([{ kind: 'applied', index: 3 }]);
  answer(3, true);
  t.true(world.links.sent.some(({ type }) => type === 'snapshot'));
  const snapshotAfter = async (count: number) => {
    for (let i = 0; i < count; i++) world.propose(i + 2, 'x');
    const index = world.disk.view.lastIndex();
    world.node.take([
      { kind: 'applied', index },
      { kind: 'snapshot-begin', index },
      { kind: 'snapshot-end', ok: true },
    ]);
    await new Promise(setImmediate);
    t.is(world.disk.view.snapshot()?.index, index);
    return index;
  };
  await snapshotAfter(30);
  t.is(world.disk.view.firstIndex(), 2, 'what follows the one of index 1, which is on its way');
  answer(1);
  await snapshotAfter(30);
  t.is(world.disk.view.firstIndex(), 2, 'it has the snapshot, and nothing of the rest yet');
  answer(40);
  const third = await snapshotAfter(30);
  t.is(world.disk.view.firstIndex(), 41);
  world.ticks(20);
  const fourth = await snapshotAfter(30);
  t.is(world.disk.view.firstIndex(), fourth - 4, 'it is not heard any more');
  t.true(fourth > third);
});

test('a leader without room stands still, says that it does not lead, and goes on when there is room', (t) => {
  const world = alone();
  world.propose(1, 'kept');
  const last = () => world.of('status').at(-1)?.status;
  const applied = () => world.of('entries').at(-1)?.done;
  const data = pack([Uint8Array.of(1)]);
  world.node.take([{ kind: 'propose', firstId: 7, ...data }]);
  world.disk.full = true; // between the proposal and its write
  world.run();
  t.is(last()?.role, 'follower');
  t.deepEqual(applied(), [1, 3], 'nothing is committed');
  t.deepEqual(
    world.of('failed').map(({ firstId, error }) => [firstId, error.code]),
    [[7, 'unknown-outcome']],
  );
  world.propose(8, 'refused');
  t.is(world.of('failed').at(-1)?.error.code, 'resource-exhausted');
  world.node.take([{ kind: 'read', context: 5 }]);
  world.run();
  t.is(world.of('read-dropped').at(-1)?.context, 5);
  world.ticks(50);
  world.disk.full = false;
  world.ticks(1);
  t.is(last()?.role, 'leader');
  world.propose(9, 'again');
  t.deepEqual(applied(), [9, 5], 'the one of unknown outcome was the fourth');
});

test('a follower without room acknowledges nothing until it has kept it', (t) => {
  const world = follower();
  world.disk.full = true;
  world.hear(append(0, [entry(1)]));
  world.ticks(100);
  world.hear(append(1, [entry(2)]));
  t.deepEqual(world.links.sent, [], 'no reply, and no campaign');
  world.disk.full = false;
  world.ticks(1);
  const replies = world.links.sent.filter(({ type }) => type === 'append-reply');
  t.deepEqual(
    replies.map((reply) => reply.type === 'append-reply' && reply.index),
    [1],
  );
});

test('a snapshot for which there is no room is given up, and taken later', (t) => {
  const world = alone();
  const words = Array.from({ length: 30 }, (_, i) => `${i}`);
  world.propose(1, ...words);
  world.node.take([{ kind: 'applied', index: 32 }]);
  world.run();
  t.is(world.of('take-snapshot').length, 1);
  world.disk.snapshotsFail = true;
  world.node.take([
    { kind: 'snapshot-begin', index: 32 },
    { kind: 'snapshot-chunk', chunk: Uint8Array.of(1) },
    { kind: 'snapshot-end', ok: true },
  ]);
  world.run();
  t.deepEqual(world.of('fatal'), []);
  world.disk.snapshotsFail = false;
  world.propose(100, ...Array.from({ length: 1_000 }, (_, i) => `${i}`));
  world.node.take([{ kind: 'applied', index: 1_032 }]);
  world.run();
  t.is(world.of('take-snapshot').length, 2);
});

test('when the log begins to lock itself, a snapshot at once replaces all that lay open', async (t) => {
  const world = alone();
  world.propose(1, 'a', 'b', 'c');
  world.node.take([{ kind: 'applied', index: 5 }]);
  world.run();
  world.node.take([{ kind: 'set-kek', kek: undefined }]);
  world.run();
  t.is(world.of('take-snapshot').length, 0);
  world.node.take([{ kind: 'set-kek', kek: new Uint8Array(32) }]);
  world.run();
  t.is(world.of('take-snapshot').length, 1);
  world.node.take([
    { kind: 'snapshot-begin', index: 5 },
    { kind: 'snapshot-end', ok: true },
  ]);
  await new Promise((resolve) => setImmediate(resolve));
  world.run();
  t.is(world.disk.view.firstIndex(), 6, 'no entries are kept for slow members');
});

test('the order to replace all that lay open outlives a snapshot that comes to nothing', async (t) => {
  const world = alone();
  world.propose(1, 'a', 'b', 'c');
  world.node.take([{ kind: 'applied', index: 5 }]);
  world.node.take([{ kind: 'set-kek', kek: new Uint8Array(32) }]);
  world.run();
  t.is(world.of('take-snapshot').length, 1);
  world.disk.snapshotsFail = true;
  world.node.take([
    { kind: 'snapshot-begin', index: 5 },
    { kind: 'snapshot-end', ok: true },
  ]);
  world.run();
  world.disk.snapshotsFail = false;
  world.propose(10, ...Array.from({ length: 1_000 }, (_, i) => `${i}`));
  world.node.take([{ kind: 'applied', index: 1_005 }]);
  world.run();
  t.is(world.of('take-snapshot').length, 2, 'later');
  world.node.take([
    { kind: 'snapshot-begin', index: 1_005 },
    { kind: 'snapshot-end', ok: true },
  ]);
  await new Promise(setImmediate);
  t.is(world.disk.view.firstIndex(), 1_006, 'and it is one that replaces all');
});

test('a change of keys that had to wait for room is followed by a snapshot as well', (t) => {
  const world = alone();
  world.propose(1, 'a', 'b', 'c');
  world.node.take([{ kind: 'applied', index: 5 }]);
  world.ticks(3);
  t.is(world.of('take-snapshot').length, 0);
  world.disk.replaceDue = true;
  world.ticks(1);
  t.is(world.of('take-snapshot').length, 1);
});

test('a member that stands still takes no writes, whatever its disk says of itself', (t) => {
  const world = alone();
  world.disk.hidesFull = true;
  world.propose(7, 'lost');
  t.is(world.of('failed').at(-1)?.error.code, 'unknown-outcome');
  world.propose(8, 'refused');
  world.node.take([{ kind: 'add-member', id: 9, member: member('b') }]);
  world.run();
  t.deepEqual(
    world.of('failed').map(({ firstId, error }) => [firstId, error.code]),
    [
      [7, 'unknown-outcome'],
      [8, 'resource-exhausted'],
      [9, 'resource-exhausted'],
    ],
  );
});
