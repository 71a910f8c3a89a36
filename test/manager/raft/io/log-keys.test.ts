import test from 'ava';
import { LogKeys } from '../../../../manager/raft/io/log-keys.ts';
import { WalLog } from '../../../../manager/raft/io/wal-log.ts';
import { begin, bytes, entry, hard, load, meta, range, refusal, segments } from './log-fixtures.ts';
import { PowerLoss, SimDisk } from './sim-disk.ts';

const kek = (fill: number) => new Uint8Array(32).fill(fill);
const openWith = (disk: SimDisk, key: Uint8Array | undefined) =>
  new WalLog(disk, new LogKeys(disk, key));
const keyIds = (disk: SimDisk): string[] =>
  JSON.parse(Buffer.from(disk.bytesOf('keys')).toString()).keys.map(({ id }: { id: string }) => id);

test('a log that locks itself opens with its key only, and nothing on its disk is that key', (t) => {
  const disk = new SimDisk();
  const log = begin(disk);
  log.append({ hardState: hard(1, 0), entries: range(1, 3) });
  t.true(disk.list().includes('kek'));
  t.true(log.setKek(kek(1)), 'the data key that lay open is replaced');
  log.append({ entries: [entry(4)] });
  const after = disk.kill();
  t.false(after.list().includes('kek'));
  for (const name of after.list()) {
    const content = Buffer.from(after.bytesOf(name));
    t.false(content.includes(Buffer.from(kek(1))), name);
    t.false(content.includes(Buffer.from(kek(1)).toString('base64')), name);
  }
  t.regex(refusal(after), /locked/);
  t.throws(() => openWith(after, kek(2)), { message: /locked/ });
  t.is(openWith(after, kek(1)).load().entries.length, 4);
});

test('what lay open is gone from the disk once a snapshot has replaced it', (t) => {
  const disk = new SimDisk();
  const log = begin(disk);
  const [open = ''] = keyIds(disk);
  log.append({ hardState: hard(1, 3), entries: range(1, 3) });
  log.setKek(kek(1));
  t.true(keyIds(disk).includes(open));
  log.saveSnapshot(meta(3), [bytes('state')]);
  log.compact(3);
  t.false(keyIds(disk).includes(open));
  t.is(segments(disk).length, 1);
  t.is(openWith(disk.kill(), kek(1)).load().snapshot?.index, 3);
});

test('another key takes over without new data keys, and the old one opens nothing any more', (t) => {
  const disk = new SimDisk();
  const log = openWith(disk, kek(1));
  log.load();
  log.append({ entries: range(1, 3) });
  const before = keyIds(disk);
  t.false(log.setKek(kek(1)), 'the same again is nothing');
  t.false(log.setKek(kek(2)));
  t.deepEqual(keyIds(disk), before);
  // A crash before the rest of the host has followed: the old key is what is given, and it serves.
  t.is(openWith(disk.kill(), kek(1)).load().entries.length, 3);
  const followed = disk.kill();
  t.is(openWith(followed, kek(2)).load().entries.length, 3);
  t.throws(() => openWith(followed.kill(), kek(1)), { message: /locked/ });
  for (let i = 0; i < 1_000; i++) log.idle();
  t.is(openWith(disk.kill(), kek(1)).load().entries.length, 3, 'however long that takes');
  t.false(log.setKek(kek(2)), 'it has');
  const after = disk.kill();
  t.throws(() => openWith(after, kek(1)), { message: /locked/ });
  t.is(openWith(after, kek(2)).load().entries.length, 3);
});

test('a log that does not lock itself any more opens by itself', (t) => {
  const disk = new SimDisk();
  const log = openWith(disk, kek(1));
  log.load();
  log.append({ entries: range(1, 3) });
  log.setKek(undefined);
  t.is(load(disk.kill()).entries.length, 3);
});

test('a crash at any moment of a change of keys leaves a log that the one or the other opens', (t) => {
  const changes: (readonly [Uint8Array | undefined, Uint8Array | undefined])[] = [
    [undefined, kek(1)],
    [kek(1), kek(2)],
    [kek(1), undefined],
  ];
  for (const [from, to] of changes) {
    for (let at = 0; ; at++) {
      const disk = new SimDisk();
      const log = openWith(disk, from);
      log.load();
      log.append({ entries: range(1, 3) });
      disk.powerUntil = disk.operations + at;
      let done = true;
      try {
        log.setKek(to);
      } catch (error) {
        if (!(error instanceof PowerLoss)) throw error;
        done = false;
      }
      for (const after of [disk.kill(), disk.crash(() => false)]) {
        const opened = [to, from].some((key) => {
          try {
            return openWith(after.kill(), key).load().entries.length === 3;
          } catch {
            return false;
          }
        });
        t.true(opened, `from ${from?.[0]} to ${to?.[0]}, power lost at ${at}`);
      }
      if (done) break;
    }
  }
});

test('a key that is over opens nothing once there is room to say so', (t) => {
  const disk = new SimDisk();
  const log = openWith(disk, kek(1));
  log.load();
  log.append({ entries: range(1, 3) });
  log.setKek(kek(2));
  disk.capacity = disk.used;
  log.setKek(kek(2));
  t.is(openWith(disk.kill(), kek(1)).load().entries.length, 3, 'not yet');
  disk.capacity = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 20; i++) log.idle();
  t.throws(() => openWith(disk.kill(), kek(1)), { message: /locked/ });
  t.is(openWith(disk.kill(), kek(2)).load().entries.length, 3);
});

test('a change of keys on a full disk is made when there is room', (t) => {
  const disk = new SimDisk();
  const log = begin(disk);
  log.append({ entries: range(1, 3) });
  disk.capacity = disk.used;
  t.false(log.setKek(kek(1)));
  t.is(load(disk.kill()).entries.length, 3, 'not yet');
  disk.capacity = Number.POSITIVE_INFINITY;
  const told = Array.from({ length: 20 }, () => log.idle());
  t.is(told.filter(Boolean).length, 1, 'now what lay open is to be replaced');
  t.throws(() => load(disk.kill()), { message: /locked/ });
  t.is(openWith(disk.kill(), kek(1)).load().entries.length, 3);
});

test('a disk that fills up at any point of a change of keys does not end the log', (t) => {
  // From no room at all to room for a whole segment.
  for (let room = 0; room <= 400_000; room = Math.ceil((room + 40) * 1.15)) {
    const disk = new SimDisk();
    const log = begin(disk);
    log.append({ hardState: hard(1, 3), entries: range(1, 3) });
    const [open = ''] = keyIds(disk);
    disk.capacity = disk.used + room;
    let isDue = false;
    t.notThrows(() => {
      isDue = log.setKek(kek(1));
    }, `room for ${room}`);
    const killed = disk.kill();
    const entries = [kek(1), undefined].map((key) => {
      try {
        return openWith(killed.kill(), key).load().entries.length;
      } catch {
        return 0;
      }
    });
    t.true(entries.includes(3), `room for ${room}`);
    disk.capacity = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 20; i++) {
      const isDueNow = log.idle();
      t.false(isDue && isDueNow, 'it is told once');
      isDue ||= isDueNow;
    }
    t.true(isDue, 'when there is room, all that lay open is to be replaced');
    t.not(keyIds(disk).at(-1), open);
    log.saveSnapshot(meta(3), [bytes('state')]);
    log.compact(3);
    t.false(keyIds(disk).includes(open), `room for ${room}`);
    t.is(openWith(disk.kill(), kek(1)).load().snapshot?.index, 3);
  }
});

test('data keys that no file needs any more are let go of when there is room to say so', (t) => {
  const disk = new SimDisk();
  const log = begin(disk);
  log.append({ hardState: hard(1, 3), entries: range(1, 3) });
  const [open = ''] = keyIds(disk);
  log.setKek(kek(1));
  log.saveSnapshot(meta(3), [bytes('state')]);
  disk.capacity = disk.used;
  t.notThrows(() => log.compact(3));
  disk.capacity = Number.POSITIVE_INFINITY;
  log.append({ hardState: hard(1, 4), entries: [entry(4)] });
  log.saveSnapshot(meta(4), [bytes('state')]);
  t.false(keyIds(disk).includes(open));
  t.is(openWith(disk.kill(), kek(1)).load().entries.length, 1);
});

test('a log whose key was changed opens on a disk without room', (t) => {
  const disk = new SimDisk();
  const log = openWith(disk, kek(1));
  log.load();
  log.append({ entries: range(1, 3) });
  log.setKek(kek(2));
  const after = disk.kill();
  after.capacity = after.used;
  t.is(openWith(after, kek(2)).load().entries.length, 3);
  after.capacity = Number.POSITIVE_INFINITY;
  t.is(openWith(after.kill(), kek(2)).load().entries.length, 3);
});
