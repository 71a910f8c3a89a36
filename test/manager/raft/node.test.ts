import test from 'ava';
import { EMPTY_CONF } from '../../../manager/raft/conf-change.ts';
import type { DurableBatch, LoadedState, SnapshotBody } from '../../../manager/raft/durable-log.ts';
import { encodeDirectory } from '../../../manager/raft/members.ts';
import { MemoryLog } from '../../../manager/raft/memory-log.ts';
import { RaftNode } from '../../../manager/raft/node.ts';
import {
  DEFAULT_TIMING,
  type NodeStart,
  type NodeTiming,
} from '../../../manager/raft/node-start.ts';
import {
  DiskFullError,
  type NodeStorage,
  type PeerTransport,
  type SnapshotSink,
  type TransportEvents,
} from '../../../manager/raft/ports.ts';
import { type FromNode, pack } from '../../../manager/raft/protocol.ts';
import type { Entry, Message, RaftId, SnapshotMeta } from '../../../manager/raft/types.ts';
import type { RaftMember } from '../../../shared/gen/shoal/v1/peer.ts';
import { silentLog } from '../../../shared/log.ts';
import { id, member } from './letters.ts';

/** One node between a disk, links and a client that only write down what happens to them, in order. */
class Disk implements NodeStorage {
  readonly #events: string[];
  readonly notes = new Map<string, Uint8Array>();
  readonly snapshots = new Map<number, { meta: SnapshotMeta; chunks: Uint8Array[] }>();
  view = new MemoryLog();
  hardState: LoadedState['hardState'] = { term: 0, vote: undefined, commit: 0 };
  broken = false;
  full = false;
  snapshotsFail = false;
  replaceDue = false;
  /** Has room again, says its owner, and has none for what is written. */
  hidesFull = false;
  constructor(events: string[]) {
    this.#events = events;
  }
  load(): LoadedState {
    const first = this.view.firstIndex();
    const last = this.view.lastIndex();
    return {
      hardState: this.hardState,
      snapshot: this.view.snapshot(),
      entries: first > last ? [] : this.view.entries(first, last + 1, Number.POSITIVE_INFINITY),
      compacted: { index: first - 1, term: this.view.term(first - 1) ?? 0 },
    };
  }
  append(batch: DurableBatch, options?: { lazy: boolean }): void {
    if (this.broken) throw new Error('EIO: the disk is gone');
    if (this.full || this.hidesFull) throw new DiskFullError('here');
    if (batch.hardState !== undefined) this.hardState = batch.hardState;
    if (batch.snapshot !== undefined) {
      const { meta, body } = batch.snapshot;
      this.snapshots.set(meta.index, { meta, chunks: [...body] });
      this.view.install(meta);
    }
    this.view.append(batch.entries);
    if (options?.lazy !== true) this.#events.push(`sync ${this.view.lastIndex()}`);
  }
  saveSnapshot(): void {
    throw new Error('not used');
  }
  readSnapshot(): undefined {
    return undefined;
  }
  compact(toIndex: number): void {
    this.view.compact(toIndex);
  }
  close(): void {
    this.#events.push('closed');
  }
  beginSnapshot(meta: SnapshotMeta): SnapshotSink {
    const chunks: Uint8Array[] = [];
    return {
      write: (chunk) => {
        if (this.snapshotsFail) throw new DiskFullError('here');
        chunks.push(chunk);
      },
      commit: async () => void this.snapshots.set(meta.index, { meta, chunks }),
      abort: () => undefined,
    };
  }
  adoptSnapshot(meta: SnapshotMeta): void {
    this.view.setSnapshot(meta);
  }
  openSnapshot({ index }: { index: number }): SnapshotBody | undefined {
    return this.snapshots.get(index)?.chunks;
  }
  putNote(key: string, value: Uint8Array): void {
    this.notes.set(key, value);
  }
  note(key: string): Uint8Array | undefined {
    return this.notes.get(key);
  }
  setKek(kek: Uint8Array | undefined): boolean {
    return kek !== undefined;
  }
  idle(): boolean {
    if (this.broken) throw new Error('EIO: the disk is gone');
    const isReplaceDue = this.replaceDue;
    this.replaceDue = false;
    return isReplaceDue;
  }
}

class Links implements PeerTransport {
  readonly #events: string[];
  events: TransportEvents | undefined;
  sent: Message[] = [];
  peers: string[] = [];
  constructor(events: string[]) {
    this.#events = events;
  }
  start(_self: RaftId, events: TransportEvents): void {
    this.events = events;
  }
  send(message: Message): void {
    this.sent.push(message);
    this.#events.push(`send ${message.type} to ${message.to[0]}`);
  }
  sendSnapshot(message: Message): void {
    this.send(message);
  }
  flush(): void {
    this.#events.push('flush');
  }
  setPeers(peers: ReadonlyMap<RaftId, RaftMember>): void {
    this.peers = [...peers.keys()].map((one) => one[0] ?? '');
  }
  tellRemoved(to: RaftId): void {
    this.#events.push(`removed to ${to[0]}`);
  }
  async close(): Promise<void> {
    this.#events.push('links closed');
  }
}

class World {
  readonly events: string[] = [];
  readonly disk = new Disk(this.events);
  readonly links = new Links(this.events);
  readonly posted: FromNode[] = [];
  node: RaftNode;
  nowMs = 0;
  #timers: { atMs: number; fn: () => void }[] = [];
  #deferred: (() => void)[] = [];
  constructor(start: NodeStart, disk?: Disk, timing: NodeTiming = DEFAULT_TIMING) {
    if (disk !== undefined) this.disk = disk;
    this.node = new RaftNode(
      {
        start,
        clusterId: 'c',
        timing,
        compaction: { snapshotEveryEntries: 20, trailingEntries: 5 },
      },
      {
        storage: this.disk,
        transport: this.links,
        clock: {
          now: () => this.nowMs,
          monotonicMs: () => this.nowMs,
          after: (delayMs, fn) => {
            const timer = { atMs: this.nowMs + delayMs, fn };
            this.#timers.push(timer);
            return { cancel: () => this.#timers.splice(this.#timers.indexOf(timer), 1) };
          },
        },
        random: { next: () => 0.5, bytes: (length) => new Uint8Array(length) },
        log: silentLog,
        defer: (fn) => this.#deferred.push(fn),
        post: (batch) => this.posted.push(...batch),
      },
    );
    this.node.start();
    this.run();
  }
  run(): void {
    while (this.#deferred.length > 0) for (const fn of this.#deferred.splice(0)) fn();
  }
  ticks(count: number): void {
    for (let i = 0; i < count; i++) {
      this.nowMs += DEFAULT_TIMING.tickMs;
      for (const timer of this.#timers.filter(({ atMs }) => atMs <= this.nowMs)) {
        this.#timers.splice(this.#timers.indexOf(timer), 1);
        timer.fn();
      }
      this.run();
    }
  }
  hear(message: Message): void {
    this.links.events?.message(message);
    this.run();
  }
  propose(firstId: number, ...texts: string[]): void {
    const data = texts.map((text) => new TextEncoder().encode(text));
    this.node.take([{ kind: 'propose', firstId, ...pack(data) }]);
    this.run();
  }
  of<K extends FromNode['kind']>(kind: K): Extract<FromNode, { kind: K }>[] {
    return this.posted.filter(
      (event): event is Extract<FromNode, { kind: K }> => event.kind === kind,
    );
  }
}

const alone = () => new World({ kind: 'bootstrap', member: member('a'), state: [] });

/** A member of a group of three that was told so by a snapshot; `b` leads. */
function follower(): World {
  const world = new World({
    kind: 'join',
    member: member('a'),
    members: [member('b'), member('c')],
  });
  return world;
}
const entry = (index: number, term = 2): Entry => ({
  index,
  term,
  type: 'normal',
  data: Uint8Array.of(index),
});
const append = (prevIndex: number, entries: Entry[], commit = 0): Message => ({
  type: 'append',
  from: id('b'),
  to: id('a'),
  term: 2,
  prevIndex,
  prevTerm: prevIndex === 0 ? 0 : 2,
  commit,
  entries,
});

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
