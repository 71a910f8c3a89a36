import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import test from 'ava';
import {
  compactTo,
  DEFAULT_COMPACTION,
  neededFrom,
  snapshotDue,
} from '../../../manager/raft/compaction.ts';
import { EMPTY_CONF } from '../../../manager/raft/conf-change.ts';
import { MemoryLog } from '../../../manager/raft/memory-log.ts';
import type { SnapshotMeta } from '../../../manager/raft/types.ts';
import { entry, logOf } from './group.ts';
import { id } from './letters.ts';

const ALL = Number.MAX_SAFE_INTEGER;
const at = (index: number, term: number): SnapshotMeta => ({ index, term, confState: EMPTY_CONF });

function filled(count: number): MemoryLog {
  const log = new MemoryLog();
  log.append(logOf(...Array.from({ length: count }, () => 1)));
  return log;
}

test('an empty log knows the term before its first index', (t) => {
  const log = new MemoryLog();
  t.deepEqual([log.firstIndex(), log.lastIndex(), log.term(0), log.term(1)], [1, 0, 0, undefined]);
});

test('append() replaces from the first index given and refuses a gap', (t) => {
  const log = filled(4);
  log.append([entry(3, 2)]);
  t.deepEqual([log.lastIndex(), log.term(2), log.term(3)], [3, 1, 2]);
  t.throws(() => log.append([entry(5, 2)]), { message: /gap/ });
});

test('compaction keeps the term of the last entry dropped, over and over', (t) => {
  const log = filled(2_000);
  log.setSnapshot(at(1_900, 1));
  for (let to = 100; to <= 1_900; to += 100) {
    log.compact(to);
    t.is(log.firstIndex(), to + 1);
    t.is(log.term(to), 1);
    t.is(log.term(to - 1), undefined);
    t.is(log.entries(to + 1, to + 3, ALL)[0]?.index, to + 1);
  }
  t.is(log.lastIndex(), 2_000);
  t.throws(() => log.compact(1_950), { message: /beyond the newest snapshot/ });
  t.throws(() => log.entries(1_900, 1_901, ALL), { message: /asked of 1901 to 2000/ });
});

test('what was compacted takes no memory, however few entries it were', async (t) => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const log = new MemoryLog();
  const known = withLargeEntry(log);
  log.setSnapshot(at(1, 1));
  log.compact(1);
  // A weak reference that was made in this turn keeps its target until the turn is over.
  await new Promise(setImmediate);
  collect();
  t.is(known.deref(), undefined);
  t.is(log.entries(2, 3, ALL).length, 1);
});

function withLargeEntry(log: MemoryLog): WeakRef<Uint8Array> {
  const data = new Uint8Array(1 << 20);
  log.append([{ ...entry(1, 1), data }, entry(2, 1)]);
  return new WeakRef(data);
}

test('an installed snapshot is the whole log; an older one of its own is not taken', (t) => {
  const log = filled(5);
  log.install(at(9, 4));
  t.deepEqual([log.firstIndex(), log.lastIndex(), log.term(9)], [10, 9, 4]);
  log.append([entry(10, 4)]);
  t.throws(() => log.setSnapshot(at(10, 3)), { message: /does not lie on the log/ });
  log.setSnapshot(at(10, 4));
  t.is(log.snapshot()?.index, 10);
});

test('snapshots are due by entries applied, and leave a tail for slow members', (t) => {
  t.false(snapshotDue(DEFAULT_COMPACTION, 10_099, 100));
  t.true(snapshotDue(DEFAULT_COMPACTION, 10_100, 100));
  t.is(compactTo(DEFAULT_COMPACTION, 10_100), 9_600);
  t.is(compactTo(DEFAULT_COMPACTION, 300), 0);
});

test('a large state is written out again only when the log is as large', (t) => {
  const due = (logBytes: number, snapshotBytes: number, policy = DEFAULT_COMPACTION) =>
    snapshotDue(policy, 10_000, 0, { logBytes, snapshotBytes });
  t.false(due(50 << 20, 60 << 20));
  t.true(due(60 << 20, 60 << 20));
  t.true(due(1, 1 << 20), 'a small one costs nothing');
  t.true(due(1, 60 << 20, { ...DEFAULT_COMPACTION, leastLogRatio: 0 }));
  t.false(snapshotDue(DEFAULT_COMPACTION, 9_999, 0, { logBytes: 60 << 20, snapshotBytes: 0 }));
});

test('what a member needs next is kept, unless it is gone already or the member is not heard', (t) => {
  const of = (
    letter: string,
    state: 'probe' | 'replicate' | 'snapshot',
    match: number,
    next: number,
  ) => ({
    id: id(letter),
    state,
    match,
    next,
  });
  const all = () => true;
  t.is(neededFrom([], all, 10), undefined);
  t.is(neededFrom([of('b', 'replicate', 40, 50), of('c', 'replicate', 30, 50)], all, 10), 31);
  t.is(neededFrom([of('b', 'snapshot', 0, 21)], all, 10), 21, 'it has no match yet');
  t.is(neededFrom([of('b', 'probe', 3, 50), of('c', 'replicate', 60, 61)], all, 10), 61);
  t.is(
    neededFrom([of('b', 'replicate', 30, 50)], () => false, 10),
    undefined,
  );
});
