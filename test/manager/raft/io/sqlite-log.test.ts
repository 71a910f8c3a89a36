import { copyFile, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import anyTest, { type TestFn } from 'ava';
import fc from 'fast-check';
import { SqliteLog } from '../../../../manager/raft/io/sqlite-log.ts';
import type {
  Entry,
  HardState,
  LoadedState,
  RaftId,
  SnapshotMeta,
} from '../../../../manager/raft/types.ts';
import { isShoalError } from '../../../../shared/errors.ts';

/** A crash is a copy of the files while the log is open: what was not synced may or may not be there. */
const test = anyTest as TestFn<{ folder: string }>;
const ID = '0123456789abcdefghijklmno' as RaftId;

test.beforeEach(async (t) => {
  t.context = { folder: await mkdtemp(join(tmpdir(), 'shoal-log-')) };
});
test.afterEach.always(async (t) => {
  await rm(t.context.folder, { recursive: true, force: true });
});

const bytes = (text: string) => new TextEncoder().encode(text);
const entry = (index: number, term = 1, text = `entry ${index}`): Entry => ({
  index,
  term,
  type: 'normal',
  data: bytes(text),
});
const range = (first: number, last: number, term = 1) =>
  Array.from({ length: last - first + 1 }, (_, i) => entry(first + i, term));
const hard = (term: number, commit: number): HardState => ({ term, commit, vote: ID });
const meta = (index: number, term = 1): SnapshotMeta => ({
  index,
  term,
  confState: { voters: [ID], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false },
});
const path = (folder: string, name: string) => join(folder, name);

async function crash(folder: string, name: string): Promise<string> {
  const copy = `${folder}/${name}`;
  const { mkdir } = await import('node:fs/promises');
  await mkdir(copy);
  for (const file of await readdir(folder, { withFileTypes: true })) {
    if (file.isFile()) await copyFile(join(folder, file.name), join(copy, file.name));
  }
  return copy;
}

function load(folder: string): LoadedState {
  const log = new SqliteLog(folder);
  try {
    return log.load();
  } finally {
    log.close();
  }
}

function refusal(folder: string): string {
  try {
    load(folder);
    return 'loaded';
  } catch (error) {
    return isShoalError(error, 'failed-precondition') ? error.message : `wrong error: ${error}`;
  }
}

function bodyOf(log: SqliteLog): string[] {
  const read = log.readSnapshot();
  return read === undefined ? [] : [...read.body].map((chunk) => new TextDecoder().decode(chunk));
}

test('a new log is empty', (t) => {
  const log = new SqliteLog(path(t.context.folder, 'a'));
  t.deepEqual(log.load(), {
    hardState: { term: 0, vote: undefined, commit: 0 },
    snapshot: undefined,
    entries: [],
    compacted: { index: 0, term: 0 },
  });
  log.close();
});

test('what was appended is there after a crash, with the hard state of the same batch', async (t) => {
  const folder = path(t.context.folder, 'a');
  const log = new SqliteLog(folder);
  log.load();
  log.append({ hardState: hard(1, 0), entries: range(1, 3) });
  log.append({ hardState: hard(2, 2), entries: [entry(3, 2), entry(4, 2)] });
  const state = load(await crash(folder, 'crashed'));
  t.deepEqual(state.hardState, hard(2, 2));
  t.deepEqual(
    state.entries.map(({ index, term }) => [index, term]),
    [
      [1, 1],
      [2, 1],
      [3, 2],
      [4, 2],
    ],
  );
  log.close();
});

test('a shorter log that replaces a longer one leaves nothing of its tail', async (t) => {
  const folder = path(t.context.folder, 'a');
  const log = new SqliteLog(folder);
  log.load();
  log.append({ hardState: hard(1, 0), entries: range(1, 9) });
  log.append({ hardState: hard(2, 0), entries: [entry(4, 2)] });
  t.deepEqual(
    load(await crash(folder, 'crashed')).entries.map(({ term }) => term),
    [1, 1, 1, 2],
  );
  log.close();
});

test('a lazy batch is not lost by a close, and by a crash only its hint is', async (t) => {
  const folder = path(t.context.folder, 'a');
  const log = new SqliteLog(folder);
  log.load();
  log.append({ hardState: hard(1, 0), entries: range(1, 3) });
  log.append({ hardState: hard(1, 3), entries: [] }, { lazy: true });
  t.is(load(await crash(folder, 'early')).hardState.commit, 0);
  log.idle();
  log.idle();
  t.is(load(await crash(folder, 'idle')).hardState.commit, 3);
  log.append({ hardState: hard(1, 2), entries: [] }, { lazy: true });
  log.close();
  t.is(load(folder).hardState.commit, 2);
});

test('a log that lost its last acknowledged writes is refused', async (t) => {
  const folder = path(t.context.folder, 'a');
  const log = new SqliteLog(folder);
  log.load();
  for (let i = 1; i <= 20; i++) log.append({ hardState: hard(1, i - 1), entries: [entry(i)] });
  const torn = await crash(folder, 'torn');
  const wal = join(torn, 'raft.db-wal');
  const { length } = await readFile(wal);
  await truncate(wal, length - 5_000);
  t.regex(refusal(torn), /lost the last \d+ of 20 writes.*join again/s);

  const flipped = await crash(folder, 'flipped');
  const content = await readFile(join(flipped, 'raft.db-wal'));
  const middle = Math.floor(content.length / 2);
  content[middle] = (content[middle] ?? 0) ^ 0xff;
  await writeFile(join(flipped, 'raft.db-wal'), content);
  t.regex(refusal(flipped), /lost the last/);

  const whole = await crash(folder, 'whole');
  t.is(load(whole).entries.length, 20, 'the copy itself is no reason to refuse');
  const gone = await crash(folder, 'gone');
  await rm(join(gone, 'raft.db'));
  await rm(join(gone, 'raft.db-wal'));
  t.regex(refusal(gone), /lost the last 20 of 20/);
  log.close();
});

test('a torn write of the floor does not hide what the other place says', async (t) => {
  const folder = path(t.context.folder, 'a');
  const log = new SqliteLog(folder);
  log.load();
  for (let i = 1; i <= 4; i++) log.append({ entries: [entry(i)] });
  const copy = await crash(folder, 'copy');
  const floor = await readFile(join(copy, 'floor'));
  floor[3] = 7;
  await writeFile(join(copy, 'floor'), floor);
  t.is(load(copy).entries.length, 4);
  log.close();
});

test('damage in the middle of the database is found by the checksums and by the order', async (t) => {
  const folder = path(t.context.folder, 'a');
  const log = new SqliteLog(folder);
  log.load();
  log.append({ hardState: hard(1, 5), entries: range(1, 9) });
  log.close();
  const spoil = async (name: string, sql: string) => {
    const copy = await crash(folder, name);
    const database = new DatabaseSync(join(copy, 'raft.db'));
    database.exec(sql);
    database.close();
    return refusal(copy);
  };
  t.regex(await spoil('data', "UPDATE entries SET data = x'01' WHERE idx = 4"), /entry 4/);
  t.regex(await spoil('gap', 'DELETE FROM entries WHERE idx = 4'), /entry 4 is missing/);
  t.regex(await spoil('short', 'DELETE FROM entries WHERE idx > 4'), /5 were committed/);
  t.regex(
    await spoil(
      'swap',
      'UPDATE entries SET idx = -1 WHERE idx = 4; UPDATE entries SET idx = 4 WHERE idx = 5; ' +
        'UPDATE entries SET idx = 5 WHERE idx = -1',
    ),
    /checksum of entry 4/,
  );
  t.regex(
    await spoil('fact', "UPDATE facts SET value = x'00' WHERE key = 'hard-state'"),
    /damaged/,
  );
  t.is(await spoil('nothing', 'SELECT 1'), 'loaded');
});

test('a snapshot and what follows it survive; the log before it can go', async (t) => {
  const folder = path(t.context.folder, 'a');
  const log = new SqliteLog(folder);
  log.load();
  log.append({ hardState: hard(1, 10), entries: range(1, 10) });
  log.saveSnapshot(meta(8), [bytes('one'), bytes('two')]);
  log.compact(6);
  t.throws(() => log.compact(9), { message: /no snapshot covers/ });
  log.append({ entries: [entry(11)] });
  const state = load(await crash(folder, 'crashed'));
  t.deepEqual(state.snapshot, meta(8));
  t.deepEqual(state.compacted, { index: 6, term: 1 });
  t.deepEqual(
    state.entries.map(({ index }) => index),
    [7, 8, 9, 10, 11],
  );
  t.deepEqual(bodyOf(log), ['one', 'two'], 'chunks keep their borders');
  log.close();
});

test('an installed snapshot replaces the whole log', async (t) => {
  const folder = path(t.context.folder, 'a');
  const log = new SqliteLog(folder);
  log.load();
  log.append({ hardState: hard(1, 3), entries: range(1, 10) });
  const sink = log.beginSnapshot(meta(50, 4));
  sink.write(bytes('state'));
  await sink.commit();
  t.is(load(await crash(folder, 'between')).entries.length, 10, 'received is not yet installed');
  log.append({
    hardState: hard(4, 50),
    snapshot: { meta: meta(50, 4), body: [] },
    entries: [entry(51, 4)],
  });
  const state = load(await crash(folder, 'crashed'));
  t.deepEqual(state.snapshot, meta(50, 4));
  t.deepEqual(
    state.entries.map(({ index }) => index),
    [51],
  );
  t.deepEqual(bodyOf(log), ['state']);
  log.close();
});

test('two snapshots are kept, and the older one serves while the log reaches back to it', async (t) => {
  const folder = path(t.context.folder, 'a');
  const log = new SqliteLog(folder);
  log.load();
  log.append({ hardState: hard(1, 30), entries: range(1, 30) });
  for (const index of [5, 10, 20]) log.saveSnapshot(meta(index), [bytes(`at ${index}`)]);
  const files = (await readdir(folder)).filter((name) => name.startsWith('snap-'));
  t.is(files.length, 2);
  const spoilNewest = async (name: string) => {
    const copy = await crash(folder, name);
    const newest = join(copy, files.sort().at(-1) ?? '');
    const content = await readFile(newest);
    content[content.length - 10] = (content[content.length - 10] ?? 0) ^ 1;
    await writeFile(newest, content);
    return copy;
  };
  t.is(load(await spoilNewest('older')).snapshot?.index, 10);
  log.compact(15);
  t.regex(refusal(await spoilNewest('none')), /snapshot 20.*checksum/);
  log.close();
});

test('unfinished and unrecorded snapshots are swept away at the next start', async (t) => {
  const folder = path(t.context.folder, 'a');
  const log = new SqliteLog(folder);
  log.load();
  log.append({ hardState: hard(1, 3), entries: range(1, 3) });
  log.saveSnapshot(meta(2), [bytes('two')]);
  log.beginSnapshot(meta(3)).write(bytes('half'));
  const finished = log.beginSnapshot(meta(3));
  finished.commitSync();
  const copy = await crash(folder, 'crashed');
  t.is(load(copy).snapshot?.index, 2);
  t.deepEqual(
    (await readdir(copy)).filter((name) => name.startsWith('snap-')),
    ['snap-0000000000000002-0000000000000001'],
  );
  log.close();
});

test('an aborted snapshot leaves nothing', async (t) => {
  const folder = path(t.context.folder, 'a');
  const log = new SqliteLog(folder);
  log.load();
  const sink = log.beginSnapshot(meta(3));
  sink.write(bytes('half'));
  sink.abort();
  sink.abort();
  t.deepEqual(
    (await readdir(folder)).filter((name) => name.startsWith('snap-')),
    [],
  );
  log.close();
});

test('a log in use is not opened twice', (t) => {
  const folder = path(t.context.folder, 'a');
  const log = new SqliteLog(folder);
  log.load();
  const error = t.throws(() => new SqliteLog(folder));
  t.true(isShoalError(error, 'failed-precondition'));
  log.close();
  t.notThrows(() => new SqliteLog(folder).close());
});

test('notes are durable and checked', async (t) => {
  const folder = path(t.context.folder, 'a');
  const log = new SqliteLog(folder);
  log.load();
  log.putNote('who', bytes('me'));
  const again = new SqliteLog(await crash(folder, 'crashed'));
  t.deepEqual(again.note('who'), bytes('me'));
  t.is(again.note('what'), undefined);
  again.close();
  log.close();
});

test('any sequence of batches, snapshots and compactions is there after a crash', async (t) => {
  const step = fc.record({
    back: fc.nat(3),
    count: fc.nat(4),
    action: fc.constantFrom('append', 'append', 'append', 'snapshot', 'compact', 'idle'),
  });
  let run = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const folder = path(t.context.folder, `run${++run}`);
      const log = new SqliteLog(folder);
      log.load();
      let model: Entry[] = [];
      let compacted = 0;
      let snapshot = 0;
      let term = 1;
      for (const { back, count, action } of steps) {
        const last = compacted + model.length;
        if (action === 'append') {
          // Never below the snapshot: what it covers is committed.
          const first = Math.max(last + 1 - back, snapshot + 1);
          const entries = range(first, first + count, ++term);
          log.append({ hardState: hard(term, snapshot), entries });
          model = [...model.slice(0, first - compacted - 1), ...entries];
        } else if (action === 'snapshot' && last > snapshot) {
          snapshot = last;
          const at = model.at(-1);
          log.saveSnapshot(meta(snapshot, at?.term), [bytes(`${snapshot}`)]);
        } else if (action === 'compact' && snapshot - count > compacted) {
          const to = snapshot - count;
          log.compact(to);
          model = model.slice(to - compacted);
          compacted = to;
        } else log.idle();
      }
      const state = load(await crash(folder, 'crashed'));
      t.deepEqual(
        state.entries.map(({ index, term: at }) => [index, at]),
        model.map(({ index, term: at }) => [index, at]),
      );
      t.is(state.compacted.index, compacted);
      t.is(state.snapshot?.index ?? 0, snapshot);
      log.close();
      await rm(folder, { recursive: true });
    }),
    { numRuns: 30 },
  );
});
