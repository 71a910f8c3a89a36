import test from 'ava';
import fc from 'fast-check';
import { SampleRing } from '../../../manager/autoscaler/signals.ts';
import type { TaskSample } from '../../../shared/gen/shoal/v1/autoscale.ts';

const WINDOWS = { stableMs: 15_000, fastMs: 2_000 };
const EVER = Number.NEGATIVE_INFINITY;

function ringOf(...samples: (Partial<TaskSample> & { endMs: number })[]): SampleRing {
  const ring = new SampleRing();
  for (const { endMs, ...sample } of samples) {
    ring.add({ taskId: 't', serviceId: 's', windowMs: 1_000, ...sample }, endMs);
  }
  return ring;
}

test('a ring without samples says nothing', (t) => {
  const nothing = { stable: undefined, fast: undefined };
  t.deepEqual(ringOf().windowed('cpu', 0, WINDOWS, EVER), nothing);
  const ring = ringOf({ endMs: 1_000, memoryBytes: 5 });
  t.deepEqual(ring.windowed('cpu', 1_000, WINDOWS, EVER), nothing);
  t.deepEqual(ring.windowed('memory', 1_000, WINDOWS, EVER), { stable: 5, fast: 5 });
});

test('each window has its own mean', (t) => {
  const seconds = Array.from({ length: 10 }, (_, i) => ({ endMs: (i + 1) * 1_000, cpuCores: i }));
  const ring = ringOf(...seconds);
  t.deepEqual(ring.windowed('cpu', 10_000, WINDOWS, EVER), { stable: 4.5, fast: 8.5 });
});

test('a sample that covers more time counts for more', (t) => {
  const ring = ringOf(
    { endMs: 9_000, windowMs: 9_000, cpuCores: 1 },
    { endMs: 10_000, windowMs: 1_000, cpuCores: 11 },
  );
  t.is(ring.windowed('cpu', 10_000, WINDOWS, EVER).stable, 2);
});

test('of a sample that reaches out of a window the part inside counts', (t) => {
  const ring = ringOf(
    { endMs: 10_000, windowMs: 10_000, cpuCores: 1 },
    { endMs: 11_000, windowMs: 1_000, cpuCores: 4 },
  );
  // One second of each is in the two seconds that end now.
  t.is(ring.windowed('cpu', 11_000, WINDOWS, EVER).fast, 2.5);
});

test('a level is what it was at each sample, however long the window of its sample', (t) => {
  const ring = ringOf(
    { endMs: 9_000, windowMs: 9_000, pids: 1 },
    { endMs: 10_000, windowMs: 1_000, pids: 3 },
  );
  t.is(ring.windowed('pids', 10_000, WINDOWS, EVER).stable, 2);
});

test('samples that are older than a window are not in it', (t) => {
  const ring = ringOf({ endMs: 1_000, cpuCores: 1 });
  t.deepEqual(ring.windowed('cpu', 3_000, WINDOWS, EVER), { stable: 1, fast: undefined });
  t.is(ring.windowed('cpu', 16_000, WINDOWS, EVER).stable, undefined);
});

test('a rate that began and a level that was read before the task was ready say nothing', (t) => {
  const ring = ringOf(
    { endMs: 5_000, cpuCores: 9, memoryBytes: 90 },
    { endMs: 6_000, cpuCores: 1, memoryBytes: 10 },
  );
  t.is(ring.windowed('cpu', 6_000, WINDOWS, 4_500).stable, 1);
  t.is(ring.windowed('memory', 6_000, WINDOWS, 4_500).stable, 50);
  t.is(ring.windowed('memory', 6_000, WINDOWS, 5_500).stable, 10);
  t.is(ring.windowed('cpu', 6_000, WINDOWS, Number.POSITIVE_INFINITY).stable, undefined);
});

test('a sample that came late, twice or with nonsense is no news', (t) => {
  const ring = ringOf(
    { endMs: 2_000, cpuCores: 1 },
    { endMs: 2_000, cpuCores: 7 },
    { endMs: 1_500, cpuCores: 7 },
    { endMs: 3_000, cpuCores: Number.NaN },
    { endMs: 4_000, cpuCores: -1 },
    { endMs: 5_000, cpuCores: Number.POSITIVE_INFINITY },
    { endMs: 6_000, windowMs: 0, cpuCores: 9 },
    { endMs: 7_000, cpuCores: 1e300 },
  );
  t.is(ring.windowed('cpu', 7_000, WINDOWS, EVER).stable, 1);
});

/** Means are told to so much. */
const MILLIONTH = 1e-6;

test('means are within what was measured, and those of a constant load are the load', (t) => {
  const samples = fc.array(
    fc.record({
      afterMs: fc.integer({ min: 1, max: 3_000 }),
      windowMs: fc.integer({ min: 1, max: 5_000 }),
      cpuCores: fc.double({ min: 0, max: 64, noNaN: true }),
    }),
    { minLength: 1, maxLength: 100 },
  );
  fc.assert(
    fc.property(samples, fc.boolean(), (given, isConstant) => {
      const ring = new SampleRing();
      let endMs = 0;
      for (const { afterMs, windowMs, cpuCores } of given) {
        endMs += afterMs;
        const cores = isConstant ? 3 : cpuCores;
        ring.add({ taskId: 't', serviceId: 's', windowMs, cpuCores: cores }, endMs);
        const { stable, fast } = ring.windowed('cpu', endMs, WINDOWS, EVER);
        const values = given.map((sample) => (isConstant ? 3 : sample.cpuCores));
        for (const mean of [stable, fast]) {
          // A sample that ends now is in both windows.
          if (mean === undefined) return false;
          if (mean < Math.min(...values) - MILLIONTH || mean > Math.max(...values) + MILLIONTH)
            return false;
        }
      }
      return true;
    }),
    { numRuns: 200, seed: 11 },
  );
  t.pass();
});
