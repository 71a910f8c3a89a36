import test from 'ava';
import { judgeTrim, TRIM_START, type TrimState } from '../../shared/idle-trim.ts';

const MIB = 2 ** 20;
const idle = { busyRatio: 0.02, heapBytes: 28 * MIB, heldBytes: 90 * MIB };

test('judgeTrim() collects after two idle checks, and not after one', (t) => {
  const first = judgeTrim(TRIM_START, idle);
  t.false(first.collect);
  t.true(judgeTrim(first.state, idle).collect);
});

test('judgeTrim() begins to count again after a busy check', (t) => {
  const first = judgeTrim(TRIM_START, idle);
  const busy = judgeTrim(first.state, { ...idle, busyRatio: 0.5 });
  t.false(busy.collect);
  const again = judgeTrim(busy.state, idle);
  t.false(again.collect);
  t.true(judgeTrim(again.state, idle).collect);
});

test('judgeTrim() leaves a thread alone that holds hardly more than after the last collection', (t) => {
  const settled: TrimState = { idleChecks: 2, collections: 0, settledBytes: 88 * MIB };
  t.false(judgeTrim(settled, idle).collect);
  t.true(judgeTrim(settled, { ...idle, heldBytes: 92 * MIB }).collect);
});

/** After how many checks each collection comes, while the thread idles; `heldBytes` by how many there were. */
function collectionsOf(checks: number, heldBytes: (collections: number) => number): number[] {
  const at: number[] = [];
  let state = TRIM_START;
  for (let check = 1; check <= checks; check++) {
    const sample = { ...idle, heldBytes: heldBytes(at.length) };
    const judged = judgeTrim(state, sample);
    state = judged.state;
    if (!judged.collect) continue;
    at.push(check);
    state = { ...state, settledBytes: sample.heldBytes };
  }
  return at;
}

test('judgeTrim() collects a second time though little is held, and then no more', (t) => {
  t.deepEqual(
    collectionsOf(1_000, () => 90 * MIB),
    [2, 6],
  );
});

test('judgeTrim() waits twice as long from one collection to the next, up to 256 checks', (t) => {
  t.deepEqual(
    collectionsOf(1_000, (collections) => (90 + 4 * collections) * MIB),
    [2, 6, 14, 30, 62, 126, 254, 510, 766],
  );
});

test('judgeTrim() collects soon again after work', (t) => {
  const long: TrimState = { idleChecks: 100, collections: 9, settledBytes: 88 * MIB };
  const { state } = judgeTrim(long, { ...idle, busyRatio: 0.5 });
  const more = { ...idle, heldBytes: 95 * MIB };
  t.true(judgeTrim(judgeTrim(state, more).state, more).collect);
});

test('judgeTrim() leaves a large heap to V8', (t) => {
  const { state } = judgeTrim(TRIM_START, idle);
  t.false(judgeTrim(state, { ...idle, heapBytes: 200 * MIB }).collect);
});
