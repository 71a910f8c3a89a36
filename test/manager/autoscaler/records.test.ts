import test from 'ava';
import { inShort } from '../../../manager/autoscaler/records.ts';
import { worthRecording } from '../../../manager/autoscaler/worth-recording.ts';
import { ScaleRecord } from '../../../shared/gen/shoal/v1/autoscale.ts';

const change = (atMs: number, inputJson = '') =>
  ScaleRecord.fromPartial({ atMs, from: 1, to: 2, reason: 'above-target', inputJson });
const reason = (atMs: number) =>
  ScaleRecord.fromPartial({ atMs, from: 1, to: 1, reason: 'within-tolerance' });

test('a question that is too long is left out', (t) => {
  const lengthOf = (characters: number) =>
    inShort(change(1, 'x'.repeat(characters))).inputJson.length;
  t.deepEqual([8_192, 8_193].map(lengthOf), [8_192, 0]);
});

test('another reason is told once a minute, and though the clock stepped back', (t) => {
  const last = reason(100_000);
  const told = (atMs: number) => worthRecording(last, { ...reason(atMs), reason: 'at-max' });
  t.deepEqual([159_999, 160_000, 99_000].map(told), [false, true, true]);
});

test('however much sources say, a log stays below what one object may have', (t) => {
  const metrics = Array.from({ length: 16 }, (_, i) => ({
    name: `m${i} ${'k'.repeat(250)}`,
    error: 'refused '.repeat(100),
  }));
  const said = (atMs: number) =>
    ScaleRecord.fromPartial({ ...change(atMs), metrics, message: 'cannot be read '.repeat(1_000) });
  const records = Array.from({ length: 50 }, (_, i) => inShort(said(i)));
  const bytes = records.reduce((sum, one) => sum + ScaleRecord.encode(one).finish().length, 0);
  t.true(bytes < 900_000, String(bytes));
  t.regex(records[0]?.message ?? '', /^cannot .*…$/);
});
