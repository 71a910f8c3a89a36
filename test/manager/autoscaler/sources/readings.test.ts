import test from 'ava';
import {
  firstPause,
  pauseAfter,
  READ_EVERY_MS,
  RETRY_AT_MOST_MS,
} from '../../../../manager/autoscaler/sources/pace.ts';
import { Readings, STALE_AFTER_MS } from '../../../../manager/autoscaler/sources/readings.ts';
import { METRIC_WINDOW_MS } from '../../../../shared/model/autoscale.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';

test('nothing is told before the first reading', (t) => {
  t.is(new Readings('queue').latest(0), undefined);
});

test('a queue is what it was at the last reading, in both windows', (t) => {
  const readings = new Readings('queue');
  readings.add(100, 0);
  readings.add(4, 2_000);
  t.deepEqual(readings.latest(3_000), { kind: 'value', value: { stable: 4, fast: 4 } });
});

test('a gauge is its mean over the stable window, and its last reading in the fast one', (t) => {
  const readings = new Readings('gauge');
  readings.add(1_000, 0); // out of the window by the end
  readings.add(10, METRIC_WINDOW_MS);
  readings.add(30, METRIC_WINDOW_MS + 2_000);
  t.deepEqual(readings.latest(METRIC_WINDOW_MS + 2_000), {
    kind: 'value',
    value: { stable: 20, fast: 30 },
  });
});

test('a reading that is too old is an error, and neither its value nor 0', (t) => {
  const readings = new Readings('queue');
  readings.add(0, 0);
  t.is(readings.latest(STALE_AFTER_MS)?.kind, 'value');
  t.deepEqual(readings.latest(STALE_AFTER_MS + 1_000), {
    kind: 'error',
    error: 'the last reading is 11 s old',
    failures: 1,
  });
});

test('a failure hides the values before it, is counted, and is forgotten with the next value', (t) => {
  const readings = new Readings('queue');
  readings.add(7, 0);
  readings.fail('down');
  readings.fail('still down');
  t.deepEqual(readings.latest(1), { kind: 'error', error: 'still down', failures: 2 });
  readings.add(8, 2);
  t.deepEqual(readings.latest(2), { kind: 'value', value: { stable: 8, fast: 8 } });
  t.is(readings.failures, 0);
});

test('a source that answers is asked at an even pace', (t) => {
  t.is(pauseAfter(0, new SeededRandom(1)), READ_EVERY_MS);
});

test('pauses after failures double up to their limit, and are between half of it and all', (t) => {
  const random = new SeededRandom(1);
  for (let failures = 1; failures < 2_000; failures = Math.ceil(failures * 1.3)) {
    const spanMs = Math.min(RETRY_AT_MOST_MS, READ_EVERY_MS * 2 ** (failures - 1));
    for (let round = 0; round < 20; round++) {
      const pauseMs = pauseAfter(failures, random);
      t.true(pauseMs >= spanMs / 2 && pauseMs <= spanMs, `${failures}: ${pauseMs} of ${spanMs}`);
    }
  }
});

test('first readings of many metrics are spread, and none waits long', (t) => {
  const random = new SeededRandom(1);
  const pauses = new Set(Array.from({ length: 1_000 }, () => firstPause(random)));
  t.true(pauses.size > 200);
  t.true(Math.max(...pauses) < READ_EVERY_MS / 8);
});
