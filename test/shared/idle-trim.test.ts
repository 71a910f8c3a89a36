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
  const settled: TrimState = { idleChecks: 2, settledBytes: 88 * MIB };
  t.false(judgeTrim(settled, idle).collect);
  t.true(judgeTrim(settled, { ...idle, heldBytes: 92 * MIB }).collect);
});

test('judgeTrim() leaves a large heap to V8', (t) => {
  const { state } = judgeTrim(TRIM_START, idle);
  t.false(judgeTrim(state, { ...idle, heapBytes: 200 * MIB }).collect);
});
