import test from 'ava';
import fc from 'fast-check';
import { EMPTY_CONF } from '../../../manager/raft/conf-change.ts';
import { ENTRY_OVERHEAD_BYTES, RaftLog } from '../../../manager/raft/log.ts';
import { MemoryLog } from '../../../manager/raft/memory-log.ts';
import type { Entry, SnapshotMeta } from '../../../manager/raft/types.ts';
import { entry, logOf } from './group.ts';

const ALL = Number.MAX_SAFE_INTEGER;

/** A log whose entries, with these terms from index 1 on, are all durable. */
function stored(terms: readonly number[], commit = 0): { log: RaftLog; view: MemoryLog } {
  const view = new MemoryLog({
    snapshot: undefined,
    entries: logOf(...terms),
    compacted: { index: 0, term: 0 },
  });
  return { log: new RaftLog(view, commit, 0), view };
}

function terms(log: RaftLog): number[] {
  return (log.slice(log.firstIndex(), log.lastIndex() + 1, ALL) ?? []).map(({ term }) => term);
}

/** Writes what is unstable, as the owner of a Ready would. */
function persist(log: RaftLog, view: MemoryLog): void {
  const entries = log.unstableEntries();
  const last = entries.at(-1);
  view.append(entries);
  if (last !== undefined) log.stableTo(last.index, last.term);
}

function snapshotAt(index: number, term: number): SnapshotMeta {
  return { index, term, confState: EMPTY_CONF };
}

// Figure 2, AppendEntries, rules 2 to 4.
const appends: [
  what: string,
  own: number[],
  prev: [number, number],
  sent: number[],
  result: number | undefined,
  after: number[],
][] = [
  ['nothing onto nothing', [], [0, 0], [], 0, []],
  ['entries onto nothing', [], [0, 0], [1, 1], 2, [1, 1]],
  ['what is there already', [1, 2], [0, 0], [1, 2], 2, [1, 2]],
  ['an old append, leaving what follows it', [1, 2, 3], [0, 0], [1], 1, [1, 2, 3]],
  ['a heartbeat in the middle, leaving what follows', [1, 2, 3], [2, 2], [], 2, [1, 2, 3]],
  ['the next entries', [1, 1], [2, 1], [2, 2], 4, [1, 1, 2, 2]],
  [
    'other entries, replacing those that differ and all after',
    [1, 1, 1, 1],
    [1, 1],
    [2],
    2,
    [1, 2],
  ],
  [
    'partly known entries, replacing from the first that differs',
    [1, 1, 2, 2],
    [1, 1],
    [1, 3, 3],
    4,
    [1, 1, 3, 3],
  ],
  ['after another term', [1, 1], [2, 2], [3], undefined, [1, 1]],
  ['after a gap', [1], [2, 1], [1], undefined, [1]],
];
for (const [what, own, [prevIndex, prevTerm], sent, result, after] of appends) {
  test(`tryAppend() of ${what}`, (t) => {
    const entries = sent.map((term, i) => entry(prevIndex + 1 + i, term));
    const { log } = stored(own);
    t.is(log.tryAppend(prevIndex, prevTerm, entries), result);
    t.deepEqual(terms(log), after);
  });
}

test('tryAppend() never replaces what is committed', (t) => {
  const { log } = stored([1, 1, 1], 2);
  t.throws(() => log.tryAppend(1, 1, [entry(2, 2)]), { message: /committed up to 2/ });
  t.is(log.tryAppend(2, 1, [entry(3, 2)]), 3);
});

const conflicts: [own: number[], at: [number, number], found: [number, number]][] = [
  [
    [1, 1, 1],
    [3, 1],
    [3, 1],
  ],
  [
    [1, 1, 2, 2],
    [4, 1],
    [2, 1],
  ],
  [
    [1, 1, 3, 3, 3],
    [5, 2],
    [2, 1],
  ],
  [
    [3, 3],
    [2, 2],
    [0, 0],
  ],
  [[], [0, 4], [0, 0]],
];
for (const [own, [index, term], [foundIndex, foundTerm]] of conflicts) {
  test(`in ${JSON.stringify(own)} the last place for term ${term} up to ${index} is ${foundIndex}`, (t) => {
    t.deepEqual(stored(own).log.findConflict(index, term), { index: foundIndex, term: foundTerm });
  });
}

test('isUpToDate() compares the last term first, then the length', (t) => {
  const { log } = stored([1, 2, 2]);
  t.true(log.isUpToDate(1, 3));
  t.true(log.isUpToDate(3, 2));
  t.false(log.isUpToDate(2, 2));
  t.false(log.isUpToDate(9, 1));
});

test('a log that ends before what was committed refuses to start', (t) => {
  t.throws(() => stored([1, 1], 3), { message: /its end has been lost/ });
});

test('a state machine that is behind the log, or ahead of what is committed, is refused', (t) => {
  const view = new MemoryLog({
    snapshot: undefined,
    entries: [entry(6, 1), entry(7, 1)],
    compacted: { index: 5, term: 1 },
  });
  t.throws(() => new RaftLog(view, 7, 4), { message: /outside of the log's 5 to 7/ });
  t.throws(() => new RaftLog(view, 6, 7), { message: /outside of the log's 5 to 6/ });
  t.is(new RaftLog(view, 6, 6).applied, 6);
  t.is(new RaftLog(view, 0, 5).commit, 5, 'what is applied is committed, whatever the hint says');
});

test('a commit beyond the end is refused: acknowledged entries were lost', (t) => {
  t.throws(() => stored([1]).log.commitTo(2), { message: /acknowledged entries are lost/ });
});

test('entries replaced while they were being written stay unstable (the ABA of async writes)', (t) => {
  const { log, view } = stored([1]);
  log.tryAppend(1, 1, [entry(2, 2), entry(3, 2)]);
  const inFlight = log.unstableEntries();
  log.tryAppend(1, 1, [entry(2, 3)]);
  view.append(inFlight);
  log.stableTo(3, 2);
  t.is(log.stableIndex(), 1);
  t.deepEqual(
    log.unstableEntries().map(({ term }) => term),
    [3],
  );
  t.is(log.term(2), 3, 'what the disk holds there is shadowed');
  t.is(log.lastIndex(), 2);
  persist(log, view);
  t.is(log.stableIndex(), 2);
  t.is(view.lastIndex(), 2);
});

test('advancing before the view has the entries is an error of the owner', (t) => {
  const { log } = stored([]);
  log.append([entry(1, 1)]);
  t.throws(() => log.stableTo(1, 1), { message: /before entry 1 of term 1 was put into/ });
});

test('only entries that are committed and durable here are handed out, each once', (t) => {
  const { log, view } = stored([1, 1]);
  log.append([entry(3, 1), entry(4, 1)]);
  log.commitTo(3);
  t.deepEqual(
    log.handOutCommitted(ALL).map(({ index }) => index),
    [1, 2],
  );
  t.false(log.hasCommittedToHandOut(ALL));
  persist(log, view);
  t.deepEqual(
    log.handOutCommitted(ALL).map(({ index }) => index),
    [3],
  );
});

test('what waits to be applied is bounded in bytes over several batches', (t) => {
  const size = ENTRY_OVERHEAD_BYTES + 3;
  const { log } = stored([1, 1, 1, 1, 1]);
  log.commitTo(5);
  t.is(log.handOutCommitted(2 * size).length, 2);
  t.deepEqual(log.handOutCommitted(2 * size), []);
  log.appliedTo(1);
  t.false(log.hasCommittedToHandOut(2 * size), 'a batch counts until its last entry is applied');
  log.appliedTo(2);
  t.is(log.handOutCommitted(1).length, 1, 'one entry always passes');
  t.is(log.handOutCommitted(2 * size).length, 1, 'what is out already counts');
  t.deepEqual(log.handOutCommitted(2 * size), []);
  t.throws(() => log.appliedTo(5), { message: /only 4 given out/ });
});

test('a snapshot replaces the whole log and everything on its way to be applied', (t) => {
  const { log, view } = stored([1, 1, 1]);
  log.append([entry(4, 1)]);
  log.commitTo(2);
  log.handOutCommitted(ALL);
  const snapshot = snapshotAt(10, 3);
  log.restore(snapshot);
  t.deepEqual(
    [log.firstIndex(), log.lastIndex(), log.lastTerm(), log.commit, log.applied],
    [11, 10, 3, 10, 10],
  );
  t.is(log.term(3), undefined);
  t.is(log.slice(3, 4, ALL), undefined);
  t.deepEqual(log.unstableEntries(), []);
  log.tryAppend(10, 3, [entry(11, 3)]);
  log.commitTo(11);
  t.false(log.hasCommittedToHandOut(ALL), 'not before the snapshot is durable');
  view.install(snapshot);
  log.snapshotStable(snapshot);
  persist(log, view);
  t.deepEqual(
    // What was out before is nobody's business any more, and takes no room.
    log.handOutCommitted(ENTRY_OVERHEAD_BYTES).map(({ index }) => index),
    [11],
  );
  t.throws(() => log.restore(snapshotAt(10, 3)), { message: /turn the commit index back/ });
});

test('slice() is cut by bytes across the durable and the unstable part, at least one entry', (t) => {
  const size = ENTRY_OVERHEAD_BYTES + 3;
  const { log } = stored([1, 1]);
  log.append([entry(3, 1), entry(4, 1)]);
  const lengths = [1, size, 2 * size, 3 * size - 1, 3 * size, ALL].map(
    (max) => log.slice(1, 5, max)?.length,
  );
  t.deepEqual(lengths, [1, 1, 2, 2, 3, 4]);
});

test('any sequence of appends by leaders of rising terms leaves the log that a plain list would have', (t) => {
  const step = fc.record({
    back: fc.nat(6),
    count: fc.nat(4),
    commit: fc.boolean(),
    written: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const { log, view } = stored([]);
      let model: Entry[] = [];
      let handedOut = 0;
      for (const [i, { back, count, commit, written }] of steps.entries()) {
        const prev = Math.max(log.commit, model.length - back);
        const sent = Array.from({ length: count }, (_, n) => entry(prev + 1 + n, i + 1));
        log.tryAppend(prev, model[prev - 1]?.term ?? 0, sent);
        if (count > 0) model = [...model.slice(0, prev), ...sent];
        if (commit) log.commitTo(Math.min(model.length, prev + count));
        if (written) persist(log, view);
        t.deepEqual(
          terms(log),
          model.map(({ term }) => term),
        );
        for (const given of log.handOutCommitted(60)) {
          t.is(given.index, ++handedOut);
          t.is(model[given.index - 1]?.term, given.term);
        }
        log.appliedTo(log.applying);
      }
    }),
  );
});
