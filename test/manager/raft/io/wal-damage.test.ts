/**
 * Goal: what a crash can leave behind is taken up again, and whatever else happened to a file is
 * refused: never is an acknowledged entry forgotten in silence. Method: one log, one place changed.
 */
import test from 'ava';
import { judge } from '../../../../manager/raft/io/wal/damage.ts';
import { recordBytes } from '../../../../manager/raft/io/wal/record.ts';
import { SEGMENT_HEADER_BYTES } from '../../../../manager/raft/io/wal/segment.ts';
import {
  begin,
  bytes,
  endOf,
  entry,
  hard,
  load,
  meta,
  places,
  range,
  refusal,
  segments,
} from './log-fixtures.ts';
import { errno, SimDisk } from './sim-disk.ts';

const none = () => false;
const WAY_OUT = /put the folder aside \(keep it\), and let the node join again/;

/** A log whose last batch, entry 4, is some sectors long; where that one begins and ends. */
function logWithLastBatch(text = 'x'.repeat(1_700)) {
  const disk = new SimDisk();
  const log = begin(disk);
  log.append({ hardState: hard(1, 0), entries: range(1, 3) });
  const [name = ''] = segments(disk);
  const from = endOf(disk.bytesOf(name));
  log.append({ hardState: hard(1, 3), entries: [entry(4, 1, text)] });
  const to = endOf(disk.bytesOf(name));
  return { disk: disk.crash(none), name, from, to };
}

function changed(disk: SimDisk, name: string, change: (content: Uint8Array) => void): SimDisk {
  const copy = disk.crash(none);
  copy.tamper(name, (content) => {
    change(content);
    return content;
  });
  return copy;
}

test('a last record torn at any byte is cut off, and the log goes on', (t) => {
  const { disk, name, from, to } = logWithLastBatch('short');
  for (let at = from; at < to; at++) {
    const torn = changed(disk, name, (content) => content.fill(0, at, to));
    const log = begin(torn);
    log.append({ hardState: hard(2, 3), entries: [entry(4, 2), entry(5, 2)] });
    const after = load(torn.crash(none));
    t.deepEqual(
      places(after).map(([, term]) => term),
      [1, 1, 1, 2, 2],
      `torn at ${at - from} of ${to - from}`,
    );
  }
});

test('a last record that lacks any sectors is cut off', (t) => {
  const { disk, name, from, to } = logWithLastBatch();
  const first = Math.floor(from / 512);
  const count = Math.floor((to - 1) / 512) - first + 1;
  t.true(count >= 4);
  for (let missing = 1; missing < 2 ** count; missing++) {
    const torn = changed(disk, name, (content) => {
      for (let sector = 0; sector < count; sector++) {
        if ((missing & (1 << sector)) === 0) continue;
        const start = Math.max(from, (first + sector) * 512);
        content.fill(0, start, Math.min(to, (first + sector + 1) * 512));
      }
    });
    t.is(load(torn).entries.length, 3, `sectors ${missing.toString(2)}`);
  }
});

test('any changed bit in any record is refused: the last one may have been acknowledged, too', (t) => {
  const { disk, name, to } = logWithLastBatch('short');
  for (let at = 0; at < to; at++) {
    const rotten = changed(disk, name, (content) => {
      content[at] = (content[at] ?? 0) ^ (1 << (at % 8));
    });
    const said = refusal(rotten);
    t.regex(said, WAY_OUT, `byte ${at}`);
    t.true(said.includes(name), said);
    if (at >= SEGMENT_HEADER_BYTES) t.regex(said, /at byte \d+: /);
  }
});

test('a record that vanished from the middle, wholly or in part, is refused', (t) => {
  const { disk, name, from } = logWithLastBatch('short');
  for (const start of [from - 8, from - 40, from - recordBytes(80), SEGMENT_HEADER_BYTES]) {
    const holed = changed(disk, name, (content) => content.fill(0, start, from));
    t.regex(refusal(holed), WAY_OUT, `from ${start}`);
  }
});

test('a torn record in the place of an acknowledged one, that others follow, is refused', (t) => {
  const { disk, name, from, to } = logWithLastBatch('short');
  const log = begin(disk.crash(none));
  t.truthy(log);
  const copy = changed(disk, name, (content) => {
    // Half of the fourth entry's record, and behind it the beginning of another one.
    content.fill(0, from + 40, to);
    content.set(content.slice(from, from + 20), to);
  });
  t.regex(refusal(copy), /something was written after it/);
});

test('records that were exchanged, or come from another log, are refused', (t) => {
  const { disk, name, from, to } = logWithLastBatch('short');
  const replayed = changed(disk, name, (content) => content.set(content.slice(from, to), to));
  t.regex(refusal(replayed), /does not follow the one before/);
  const other = logWithLastBatch('other');
  const foreign = disk.crash(none);
  foreign.tamper(name, () => other.disk.bytesOf(other.name).slice());
  t.regex(refusal(foreign), /another log/);
});

test('a file that was cut short is refused, wherever it was cut', (t) => {
  const { disk, name, from, to } = logWithLastBatch();
  for (const size of [0, 50, SEGMENT_HEADER_BYTES, from - 4, from, to - 1, to, to + 100]) {
    const cut = disk.crash(none);
    cut.tamper(name, (content) => content.slice(0, size));
    t.regex(refusal(cut), WAY_OUT, `${size} bytes`);
  }
});

test('a segment that is gone is missed', (t) => {
  let disk = new SimDisk();
  for (let i = 1; i <= 3; i++) {
    const log = begin(disk);
    log.append({ hardState: hard(1, i - 1), entries: [entry(i)] });
    log.close();
    disk = disk.kill();
  }
  const said = segments(disk).map((name) => {
    const copy = disk.crash(none);
    copy.lose(name);
    return refusal(copy);
  });
  t.regex(said[0] ?? '', /entry 1 is missing: its segment is gone/);
  t.regex(said[1] ?? '', /entry 1 is missing: its segment is gone/);
  t.regex(said[2] ?? '', /the segment after it is missing/);
  const all = disk.crash(none);
  for (const name of segments(disk)) all.lose(name);
  t.regex(refusal(all), /all its segments are gone/);
  const keyless = disk.crash(none);
  keyless.lose('keys');
  t.regex(refusal(keyless), /another log/);
});

test('damage at the end of an older segment is refused, but for its end record', (t) => {
  const disk = new SimDisk();
  const first = begin(disk);
  first.append({ hardState: hard(1, 0), entries: range(1, 3) });
  const second = begin(disk.kill());
  second.append({ entries: [entry(4)] });
  const after = disk.kill();
  begin(after).append({ entries: [entry(4)] });
  const [name = ''] = segments(after);
  const end = endOf(after.bytesOf(name));
  const endRecord = recordBytes(0);
  t.is(
    load(changed(after, name, (content) => content.fill(0, end - endRecord + 8, end))).entries
      .length,
    4,
  );
  const torn = changed(after, name, (content) => content.fill(0, end - endRecord - 8, end));
  t.regex(refusal(torn), /its end is missing/);
});

test('a hard state that knows of more than the log has is refused', (t) => {
  const disk = new SimDisk();
  const log = begin(disk);
  log.append({ hardState: hard(1, 0), entries: range(1, 3) });
  log.append({ hardState: hard(1, 7), entries: [] });
  t.regex(refusal(disk.crash(none)), /ends at entry 3, but 7 were committed/);
});

test('a segment that cannot be read is refused, and not taken for an empty one', (t) => {
  const { disk, name } = logWithLastBatch();
  disk.fails = (what, file) => (what === 'read' && file === name ? errno('EIO') : undefined);
  t.regex(refusal(disk), /cannot be read: EIO/);
});

test('after a torn write no place of a file is sealed twice', (t) => {
  const { disk, name, from, to } = logWithLastBatch();
  const torn = changed(disk, name, (content) => content.fill(0, to - 600, to));
  begin(torn).append({ entries: [entry(4, 2)] });
  t.is(segments(torn).length, 2);
  const left = torn.bytesOf(name).subarray(from);
  t.is(endOf(left), recordBytes(0), 'only the end, which nothing is sealed in');
});

test('a snapshot with any bit changed, or cut anywhere, is never restored from', (t) => {
  const disk = new SimDisk();
  const log = begin(disk);
  log.append({ hardState: hard(1, 3), entries: range(1, 3) });
  log.saveSnapshot(meta(3), [bytes('one'), bytes('two')]);
  log.compact(3);
  const [name = ''] = disk.list().filter((file) => file.startsWith('snap-'));
  const { length } = disk.bytesOf(name);
  for (let at = 0; at < length; at++) {
    const flipped = changed(disk, name, (content) => {
      content[at] = (content[at] ?? 0) ^ 1;
    });
    t.regex(refusal(flipped), /snapshot 3/, `byte ${at}`);
    const cut = disk.crash(none);
    cut.tamper(name, (content) => content.slice(0, at));
    t.regex(refusal(cut), /snapshot 3/, `cut at ${at}`);
  }
});

test('zeros are no damage, and a stray bit behind the end is none that matters', (t) => {
  const zeros = new Uint8Array(4_096);
  t.deepEqual(judge(zeros, 96), { kind: 'none' });
  zeros[2_000] = 1;
  t.is(judge(zeros, 96).kind, 'torn');
});
