/** What the log promises to its caller: what is there after crashes, and what is not kept any more. */
import test from 'ava';
import fc from 'fast-check';
import type { WalLog } from '../../../../manager/raft/io/wal-log.ts';
import { DiskFullError } from '../../../../manager/raft/ports.ts';
import type { Entry } from '../../../../manager/raft/types.ts';
import { SeededRandom } from '../../../sim/random.ts';
import {
  begin,
  bodyOf,
  bytes,
  entry,
  hard,
  load,
  meta,
  openOn,
  places,
  range,
  refusal,
  segments,
  snapshots,
} from './log-fixtures.ts';
import { errno, PowerLoss, SimDisk } from './sim-disk.ts';

const none = () => false;

test('a new log is empty', (t) => {
  t.deepEqual(load(new SimDisk()), {
    hardState: { term: 0, vote: undefined, commit: 0 },
    snapshot: undefined,
    entries: [],
    compacted: { index: 0, term: 0 },
  });
});

test('what was appended survives a power loss, with the hard state of the same batch', (t) => {
  const disk = new SimDisk();
  const log = begin(disk);
  log.append({ hardState: hard(1, 0), entries: range(1, 3) });
  log.append({ hardState: hard(2, 2), entries: [entry(3, 2), entry(4, 2)] });
  const state = load(disk.crash(none));
  t.deepEqual(state.hardState, hard(2, 2));
  t.deepEqual(places(state), [
    [1, 1],
    [2, 1],
    [3, 2],
    [4, 2],
  ]);
  t.deepEqual(state.entries[3]?.data, bytes('entry 4'));
});

test('each start begins a new segment, and the state goes on through all of them', (t) => {
  let disk = new SimDisk();
  for (let i = 1; i <= 5; i++) {
    const log = begin(disk);
    log.append({ hardState: hard(i, 0), entries: [entry(i, i)] });
    disk = disk.crash(none);
  }
  t.is(segments(disk).length, 5);
  t.deepEqual(
    places(load(disk)),
    [1, 2, 3, 4, 5].map((i) => [i, i] as const),
  );
});

test('a shorter log that replaces a longer one leaves nothing of its tail', (t) => {
  const disk = new SimDisk();
  const log = begin(disk);
  log.append({ hardState: hard(1, 0), entries: range(1, 9) });
  log.append({ hardState: hard(2, 0), entries: [entry(4, 2)] });
  t.deepEqual(
    load(disk.crash(none)).entries.map(({ term }) => term),
    [1, 1, 1, 2],
  );
});

test('nothing below what is committed is ever replaced', (t) => {
  const log = begin(new SimDisk());
  log.append({ hardState: hard(1, 5), entries: range(1, 9) });
  t.throws(() => log.append({ entries: [entry(5, 2)] }), { message: /committed up to 5/ });
  t.throws(() => log.append({ entries: [entry(11, 2)] }), { message: /does not follow/ });
  t.notThrows(() => log.append({ entries: [entry(6, 2)] }));
});

test('a lazy batch is not lost by a close, and by a crash only its hint is', (t) => {
  const disk = new SimDisk();
  const log = begin(disk);
  log.append({ hardState: hard(1, 0), entries: range(1, 3) });
  log.append({ hardState: hard(1, 3), entries: [] }, { lazy: true });
  t.is(load(disk.crash(none)).hardState.commit, 0);
  log.idle();
  log.idle();
  t.is(load(disk.crash(none)).hardState.commit, 3);
  const { operations } = disk;
  for (let i = 0; i < 5; i++) log.idle();
  t.is(disk.operations, operations, 'a quiet log is left alone');
  log.append({ hardState: hard(1, 2), entries: [] }, { lazy: true });
  log.close();
  t.is(load(disk.crash(none)).hardState.commit, 2);
});

test('a hint of the commit index is on disk at the latest with the entries after it', (t) => {
  const disk = new SimDisk();
  const log = begin(disk);
  log.append({ hardState: hard(1, 0), entries: range(1, 3) });
  log.append({ hardState: hard(1, 3), entries: [] }, { lazy: true });
  log.append({ entries: [entry(4)] });
  const { hardState, entries } = load(disk.crash(none));
  t.deepEqual([entries.length, hardState.commit], [4, 3]);
});

test('a snapshot that a leader sends survives what happens to the log until it is handed over', (t) => {
  const disk = new SimDisk();
  const log = begin(disk);
  log.append({ hardState: hard(1, 10), entries: range(1, 10) });
  const sink = log.beginSnapshot(meta(50, 2));
  sink.write(bytes('sent'));
  sink.commitSync();
  for (const index of [4, 8]) {
    log.saveSnapshot(meta(index), [bytes('own')]);
    log.compact(index);
  }
  t.deepEqual(
    [...(log.openSnapshot({ index: 50, term: 2 }) ?? [])].map((one) =>
      new TextDecoder().decode(one),
    ),
    ['sent'],
  );
});

test('one batch is one write and one sync', (t) => {
  const disk = new SimDisk();
  const log = begin(disk);
  log.append({ hardState: hard(1, 0), entries: range(1, 3) });
  const { operations } = disk;
  log.append({ hardState: hard(1, 3), entries: range(4, 100) });
  t.is(disk.operations - operations, 2);
});

test('a snapshot and what follows it survive; the log before it can go', (t) => {
  const disk = new SimDisk();
  const log = begin(disk);
  log.append({ hardState: hard(1, 10), entries: range(1, 10) });
  log.saveSnapshot(meta(8), [bytes('one'), bytes('two')]);
  log.compact(6);
  t.throws(() => log.compact(9), { message: /no snapshot covers/ });
  log.append({ entries: [entry(11)] });
  const state = load(disk.crash(none));
  t.deepEqual(state.snapshot, meta(8));
  t.deepEqual(state.compacted, { index: 6, term: 1 });
  t.deepEqual(
    state.entries.map(({ index }) => index),
    [7, 8, 9, 10, 11],
  );
  t.deepEqual(bodyOf(log), ['one', 'two'], 'chunks keep their borders');
});

test('an installed snapshot replaces the whole log, and its term is that of the empty log', async (t) => {
  const disk = new SimDisk();
  const log = begin(disk);
  log.append({ hardState: hard(1, 3), entries: range(1, 10) });
  const sink = log.beginSnapshot(meta(50, 4));
  sink.write(bytes('state'));
  await sink.commit();
  t.is(load(disk.crash(none)).entries.length, 10, 'received is not yet installed');
  log.append({ hardState: hard(4, 50), snapshot: { meta: meta(50, 4), body: [] }, entries: [] });
  t.deepEqual(load(disk.crash(none)).compacted, { index: 50, term: 4 });
  log.append({ entries: [entry(51, 4)] });
  const state = load(disk.crash(none));
  t.deepEqual(state.snapshot, meta(50, 4));
  t.deepEqual(places(state), [[51, 4]]);
  t.deepEqual(bodyOf(log), ['state']);
});

test('a snapshot that is sent twice, or an older one after it, changes nothing', (t) => {
  const disk = new SimDisk();
  const log = begin(disk);
  log.append({ hardState: hard(1, 20), entries: range(1, 20) });
  log.saveSnapshot(meta(15), [bytes('at 15')]);
  log.saveSnapshot(meta(15), [bytes('at 15')]);
  log.saveSnapshot(meta(5), [bytes('at 5')]);
  const again = begin(disk.crash(none));
  t.deepEqual(bodyOf(again), ['at 15']);
});

test('two snapshots are kept, and the older one serves while the log reaches back to it', (t) => {
  const disk = new SimDisk();
  const log = begin(disk);
  log.append({ hardState: hard(1, 30), entries: range(1, 30) });
  for (const index of [5, 10, 20]) log.saveSnapshot(meta(index), [bytes(`at ${index}`)]);
  t.is(snapshots(disk).length, 2);
  const spoilNewest = () => {
    const copy = disk.crash(none);
    copy.tamper(snapshots(copy).at(-1) ?? '', (content) => {
      content[content.length - 10] = (content[content.length - 10] ?? 0) ^ 1;
      return content;
    });
    return copy;
  };
  t.is(load(spoilNewest()).snapshot?.index, 10);
  log.compact(15);
  t.regex(refusal(spoilNewest()), /snapshot 20.*checksum/);
});

test('unfinished and unrecorded snapshots are swept away at the next start', (t) => {
  const disk = new SimDisk();
  const log = begin(disk);
  log.append({ hardState: hard(1, 3), entries: range(1, 3) });
  log.saveSnapshot(meta(2), [bytes('two')]);
  log.beginSnapshot(meta(3)).write(bytes('half'));
  log.beginSnapshot(meta(3)).commitSync();
  const after = disk.kill();
  t.is(snapshots(after).length, 3);
  t.is(load(after).snapshot?.index, 2);
  t.deepEqual(snapshots(after), ['snap-0000000000000002-0000000000000001']);
});

test('an aborted snapshot leaves nothing', (t) => {
  const disk = new SimDisk();
  const log = begin(disk);
  const sink = log.beginSnapshot(meta(3));
  sink.write(bytes('half'));
  sink.abort();
  sink.abort();
  t.deepEqual(snapshots(disk), []);
});

test('segments grow from small to large, and go when all their entries are compacted', (t) => {
  const disk = new SimDisk();
  const log = begin(disk);
  const data = new Uint8Array(8_000).fill(7);
  let last = 0;
  const fill = (count: number) => {
    for (let i = 0; i < count; i++) {
      last++;
      const one: Entry = { index: last, term: 1, type: 'normal', data };
      log.append({ hardState: hard(1, last - 1), entries: [one] });
    }
  };
  fill(200);
  const sizes = segments(disk).map((name) => disk.bytesOf(name).length);
  t.true(sizes.length >= 3);
  t.true((sizes.at(-1) ?? 0) > 2 * (sizes[0] ?? 0), sizes.join(' '));
  log.saveSnapshot(meta(last), [bytes('all')]);
  log.compact(last - 20);
  t.is(segments(disk).length, 1);
  const state = load(disk.crash(none));
  t.is(state.compacted.index, last - 20);
  t.is(state.entries.length, 20);
  t.deepEqual(state.entries[0]?.data, data);
});

test('a batch that is larger than a segment gets one that holds it', (t) => {
  const disk = new SimDisk();
  const log = begin(disk);
  const data = new Uint8Array(9 << 20).fill(3);
  log.append({ entries: [{ index: 1, term: 1, type: 'normal', data }, entry(2)] });
  const state = load(disk.crash(none));
  t.is(state.entries[0]?.data.length, data.length);
  t.is(state.entries.length, 2);
});

test('notes are durable and checked', (t) => {
  const disk = new SimDisk();
  const log = openOn(disk);
  log.putNote('who', bytes('me'));
  const again = openOn(disk.crash(none));
  t.deepEqual(again.note('who'), bytes('me'));
  t.is(again.note('what'), undefined);
  const spoilt = disk.crash(none);
  spoilt.tamper('notes', (content) => {
    content[3] = 9;
    return content;
  });
  t.regex(refusal(spoilt), /"notes".*join again/s);
});

test('nothing of an entry, a snapshot or a key can be read on the disk', (t) => {
  const disk = new SimDisk();
  const log = begin(disk);
  log.append({ hardState: hard(1, 1), entries: [entry(1, 1, 'a very secret word')] });
  log.saveSnapshot(meta(1), [bytes('another secret word')]);
  for (const name of disk.list()) {
    t.false(Buffer.from(disk.bytesOf(name)).includes('secret word'), name);
  }
});

test('after a change of the data key nothing is left that the old one opens', (t) => {
  const disk = new SimDisk();
  const log = begin(disk);
  const keysNow = () =>
    JSON.parse(Buffer.from(disk.bytesOf('keys')).toString()).keys.map(
      ({ id }: { id: string }) => id,
    );
  const [old] = keysNow();
  log.append({ hardState: hard(1, 9), entries: range(1, 9) });
  log.saveSnapshot(meta(5), [bytes('old')]);
  log.rotateKey();
  log.append({ entries: [entry(10)] });
  t.is(keysNow().length, 2);
  t.is(load(disk.kill()).entries.length, 10);
  log.saveSnapshot(meta(10), [bytes('new')]);
  log.compact(10);
  t.is(keysNow().length, 1);
  t.not(keysNow()[0], old);
  t.is(snapshots(disk).length, 1);
  const state = load(disk.kill());
  t.is(state.snapshot?.index, 10);
});

test('a failed sync or write is not survived', (t) => {
  for (const operation of ['write', 'sync']) {
    const disk = new SimDisk();
    const log = begin(disk);
    log.append({ entries: [entry(1)] });
    disk.fails = (what) => (what === operation ? errno('EIO') : undefined);
    const error = t.throws(() => log.append({ entries: [entry(2)] }), { code: 'EIO' });
    t.false(error instanceof DiskFullError);
  }
});

test('a full disk refuses entries, keeps votes, and takes up again when there is room', async (t) => {
  const disk = new SimDisk();
  const log = begin(disk);
  log.append({ hardState: hard(1, 0), entries: [entry(1)] });
  disk.capacity = disk.used;
  let last = 1;
  const more = (bytes = 4_000): void => {
    const data = new Uint8Array(bytes);
    log.append({
      hardState: hard(1, last),
      entries: [{ index: last + 1, term: 1, type: 'normal', data }],
    });
    last++;
  };
  // Small ones still find room where a large one did not: until none does.
  for (const bytes of [4_000, 400, 4]) {
    const refused = t.throws(() => {
      for (;;) more(bytes);
    });
    t.true(refused instanceof DiskFullError, String(refused));
  }
  t.true(log.full);
  t.true(last > 40, 'the segment that was there is used');
  const kept = places(load(disk.crash(none)));
  t.is(kept.length, last, 'what was refused is not there');
  for (let term = 2; term <= 30; term++) log.append({ hardState: hard(term, last), entries: [] });
  t.is(load(disk.crash(none)).hardState.term, 30);
  t.throws(() => more(), { instanceOf: DiskFullError });
  disk.capacity = Number.POSITIVE_INFINITY;
  t.notThrows(() => more());
  for (let i = 0; i < 20; i++) {
    log.idle();
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.false(log.full);
  t.is(load(disk.crash(none)).entries.length, last);
});

test('a log is loaded on a full disk, too, and waits for room', (t) => {
  const disk = new SimDisk();
  begin(disk).append({ hardState: hard(1, 0), entries: range(1, 5) });
  const after = disk.crash(none);
  after.capacity = after.used;
  const log = openOn(after);
  t.is(log.load().entries.length, 5);
  t.true(log.full);
  t.throws(() => log.append({ entries: [entry(6)] }), { instanceOf: DiskFullError });
  after.capacity = Number.POSITIVE_INFINITY;
  log.append({ entries: [entry(6)] });
  t.is(load(after.crash(none)).entries.length, 6);
});

type Step = { back: number; count: number; action: string };
const step = fc.record({
  back: fc.nat(3),
  count: fc.nat(4),
  action: fc.constantFrom(
    'append',
    'append',
    'append',
    'snapshot',
    'install',
    'compact',
    'idle',
    'rotate',
    'restart',
  ),
});

/** The log and, beside it, what it should hold. */
class Modelled {
  disk = new SimDisk();
  log: WalLog;
  entries: (readonly [number, number])[] = [];
  compacted = 0;
  snapshot = 0;
  term = 1;
  constructor() {
    this.log = begin(this.disk);
  }
  carryOut({ back, count, action }: Step): void {
    const last = this.compacted + this.entries.length;
    if (action === 'append') {
      // Never below the snapshot: what it covers is committed.
      const first = Math.max(last + 1 - back, this.snapshot + 1);
      const entries = range(first, first + count, ++this.term);
      this.log.append({ hardState: hard(this.term, this.snapshot), entries });
      this.entries = [
        ...this.entries.slice(0, first - this.compacted - 1),
        ...entries.map(({ index, term }) => [index, term] as const),
      ];
    } else if (action === 'snapshot' && last > this.snapshot) {
      this.log.saveSnapshot(meta(last, this.entries.at(-1)?.[1]), [bytes(`${last}`)]);
      this.snapshot = last;
    } else if (action === 'install') {
      const to = last + count + 1;
      const one = { meta: meta(to, ++this.term), body: [bytes(`${to}`)] };
      this.log.append({ hardState: hard(this.term, to), snapshot: one, entries: [] });
      this.entries = [];
      this.compacted = to;
      this.snapshot = to;
    } else if (action === 'compact' && this.snapshot - count > this.compacted) {
      const to = this.snapshot - count;
      this.log.compact(to);
      this.entries = this.entries.slice(to - this.compacted);
      this.compacted = to;
    } else if (action === 'rotate') this.log.rotateKey();
    else if (action === 'restart') {
      const { operations, powerUntil } = this.disk;
      this.disk = this.disk.crash(none);
      this.disk.powerUntil = powerUntil - operations;
      this.log = begin(this.disk);
    } else this.log.idle();
  }
  state() {
    return { entries: this.entries, compacted: this.compacted, snapshot: this.snapshot };
  }
}

function stateOf(disk: SimDisk) {
  const state = load(disk);
  return {
    entries: places(state),
    compacted: state.compacted.index,
    snapshot: state.snapshot?.index ?? 0,
  };
}

test('any sequence of batches, snapshots, compactions, keys and crashes is there in the end', (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const one = new Modelled();
      for (const each of steps) one.carryOut(each);
      t.deepEqual(stateOf(one.disk.crash(none)), one.state());
      t.deepEqual(stateOf(one.disk.kill()), one.state());
    }),
    { numRuns: 40 },
  );
});

/** At its 35th operation the keys are written without one of which the file was removed, perhaps, before. */
const BETWEEN_FILES_AND_KEYS: Step[] = [
  { action: 'rotate', back: 0, count: 0 },
  { action: 'restart', back: 0, count: 0 },
];

test('a power loss at any operation leaves the state before it or after it', (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), fc.nat(300), fc.nat(), (steps, at, seed) => {
      const random = new SeededRandom(seed);
      const one = new Modelled();
      one.disk.powerUntil = one.disk.operations + at;
      let before = one.state();
      let current: Step | undefined;
      try {
        for (const each of steps) {
          current = each;
          before = one.state();
          one.carryOut(each);
        }
        before = one.state();
        current = undefined;
      } catch (error) {
        if (!(error instanceof PowerLoss)) throw error;
      }
      const chance = () => random.between(0, 1) === 1;
      const found = stateOf(one.disk.crash(chance, chance));
      const acceptable = [JSON.stringify(before)];
      if (current !== undefined)
        acceptable.push(JSON.stringify(expectedAfter(one, before, current)));
      t.true(
        acceptable.includes(JSON.stringify(found)),
        JSON.stringify({ found, acceptable, current }),
      );
    }),
    { numRuns: 200, examples: [[BETWEEN_FILES_AND_KEYS, 35, 0]] },
  );
});

function expectedAfter(
  { term }: Modelled,
  before: ReturnType<Modelled['state']>,
  { action, back, count }: Step,
) {
  const { entries, compacted, snapshot } = before;
  const last = compacted + entries.length;
  if (action === 'append') {
    const first = Math.max(last + 1 - back, snapshot + 1);
    const fresh = range(first, first + count, term);
    return {
      entries: [
        ...entries.slice(0, first - compacted - 1),
        ...fresh.map((one) => [one.index, one.term] as const),
      ],
      compacted,
      snapshot,
    };
  }
  if (action === 'snapshot') return { ...before, snapshot: Math.max(last, snapshot) };
  if (action === 'install') {
    const to = last + count + 1;
    return { entries: [], compacted: to, snapshot: to };
  }
  if (action === 'compact' && snapshot - count > compacted) {
    const to = snapshot - count;
    return { entries: entries.slice(to - compacted), compacted: to, snapshot };
  }
  return before;
}
