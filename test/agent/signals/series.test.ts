import test from 'ava';
import fc from 'fast-check';
import { match, type Reading, TaskSeries } from '../../../agent/signals/series.ts';

const series = (...readings: Reading[]) => {
  const made = new TaskSeries();
  return readings.map((reading) => made.next(reading));
};
const traffic = (requests: number, replies: number, connections = 0) => ({
  requests,
  replies,
  connections,
});

test('rates are over the time between two readings', (t) => {
  const [first, second] = series(
    {
      atMs: 1_000,
      resources: { cpuNs: 5e9, memoryBytes: 10, networkBytes: 1_000, pids: 3 },
      traffic: traffic(10, 10, 1),
    },
    {
      atMs: 3_000,
      resources: { cpuNs: 6e9, memoryBytes: 12, networkBytes: 5_000, pids: 4 },
      traffic: traffic(30, 30, 5),
    },
  );
  t.is(first, undefined);
  t.deepEqual(second, {
    windowMs: 2_000,
    cpuCores: 0.5,
    memoryBytes: 12,
    networkBytes: 2_000,
    pids: 4,
    requests: 10,
    connections: 2,
  });
});

test('a part that was not read, now or before, is absent', (t) => {
  const [, second, third] = series(
    { atMs: 0, resources: { memoryBytes: 1 } },
    { atMs: 1_000, resources: { memoryBytes: 2, cpuNs: 7 } },
    { atMs: 2_000, resources: { cpuNs: 1e9 + 7 } },
  );
  t.is(second?.cpuCores, undefined);
  t.is(second?.memoryBytes, 2);
  t.is(second?.requests, undefined);
  t.is(third?.cpuCores, 1);
  t.is(third?.memoryBytes, undefined);
});

test('a reading that says nothing is no sample', (t) => {
  t.deepEqual(series({ atMs: 0 }, { atMs: 1_000 }, { atMs: 2_000, resources: {} }), [
    undefined,
    undefined,
    undefined,
  ]);
});

test('a counter that went back begins a new series', (t) => {
  const [, second, third] = series(
    { atMs: 0, resources: { cpuNs: 5e9, pids: 1 }, traffic: traffic(100, 100, 9) },
    { atMs: 1_000, resources: { cpuNs: 1e9, pids: 1 }, traffic: traffic(3, 3, 1) },
    { atMs: 2_000, resources: { cpuNs: 2e9, pids: 1 }, traffic: traffic(5, 5, 2) },
  );
  t.is(second?.cpuCores, undefined);
  t.is(second?.requests, undefined);
  t.is(second?.connections, undefined);
  t.is(third?.cpuCores, 1);
  t.is(third?.requests, 2);
  t.is(third?.connections, 1);
});

test('time that stands still gives no sample', (t) => {
  t.is(
    series({ atMs: 5, resources: { pids: 1 } }, { atMs: 5, resources: { pids: 1 } })[1],
    undefined,
  );
});

test('a request that is answered in the next window counts there', (t) => {
  const [, second, third, fourth] = series(
    { atMs: 0, traffic: traffic(0, 0) },
    { atMs: 1_000, traffic: traffic(100, 97) },
    { atMs: 2_000, traffic: traffic(200, 200) },
    { atMs: 3_000, traffic: traffic(300, 300) },
  );
  t.deepEqual([second?.requests, third?.requests, fourth?.requests], [97, 103, 100]);
});

test('an upload and a stream count as the few requests that they are', (t) => {
  const [, upload, stream] = series(
    { atMs: 0, traffic: traffic(0, 0) },
    { atMs: 1_000, traffic: traffic(1_000, 2) },
    { atMs: 2_000, traffic: traffic(1_001, 3) },
  );
  t.is(upload?.requests, 2);
  t.is(stream?.requests, 1);
});

test('however windows cut a run of questions and answers, no request is lost or made up', (t) => {
  const step = fc.record({ asked: fc.nat(20), late: fc.nat(5) });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 30 }), (steps) => {
      let waiting = { asked: 0, answered: 0 };
      let open = 0;
      let counted = 0;
      let total = 0;
      for (const { asked, late } of [...steps, { asked: 0, late: 0 }]) {
        // All of the window before is answered, and all of this one but the last few.
        const left = Math.min(late, asked);
        const answered = open + asked - left;
        open = left;
        total += asked;
        const { matched, unmatched } = match(waiting, { asked, answered });
        counted += matched;
        waiting = unmatched;
      }
      return counted === total;
    }),
  );
  t.pass();
});

test('writes without a counterpart do not pile up', (t) => {
  let waiting = { asked: 0, answered: 0 };
  for (let i = 0; i < 1_000; i++) waiting = match(waiting, { asked: 10, answered: 0 }).unmatched;
  t.true(waiting.asked <= 20);
});
