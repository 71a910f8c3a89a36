import test from 'ava';
import { withRecord } from '../../../manager/store/scale-log.ts';
import { ScaleRecord } from '../../../shared/gen/shoal/v1/autoscale.ts';

const change = (atMs: number, inputJson = '') =>
  ScaleRecord.fromPartial({ atMs, from: 1, to: 2, reason: 'above-target', inputJson });
const reason = (atMs: number) =>
  ScaleRecord.fromPartial({ atMs, from: 1, to: 1, reason: 'within-tolerance' });

function all(records: readonly ScaleRecord[]): ScaleRecord[] {
  return records.reduce<ScaleRecord[]>((list, record) => withRecord(list, record), []);
}

test('at most 50 records are kept, the newest, oldest first', (t) => {
  const kept = all(Array.from({ length: 120 }, (_, i) => change(i)));
  t.deepEqual(
    kept.map(({ atMs }) => atMs),
    Array.from({ length: 50 }, (_, i) => 70 + i),
  );
});

test('reasons for no change drive out no change', (t) => {
  const changes = Array.from({ length: 20 }, (_, i) => change(i));
  const reasons = Array.from({ length: 500 }, (_, i) => reason(100 + i));
  const kept = all([...changes, ...reasons]);
  t.is(kept.filter(({ from, to }) => from !== to).length, 20);
  t.deepEqual(
    kept.slice(20).map(({ atMs }) => atMs),
    Array.from({ length: 25 }, (_, i) => 575 + i),
  );
});

test('what was recommended and not done is no change', (t) => {
  const held = Array.from({ length: 40 }, (_, i) => ({ ...change(i), held: true }));
  t.is(all(held).length, 25);
});

test('the newest records keep their questions, as far as there is room', (t) => {
  const question = 'x'.repeat(5_000);
  const kept = all(Array.from({ length: 10 }, (_, i) => change(i, question)));
  t.deepEqual(
    kept.map(({ inputJson }) => inputJson.length),
    [0, 0, 0, 0, 0, 0, 0, 5_000, 5_000, 5_000],
  );
});
