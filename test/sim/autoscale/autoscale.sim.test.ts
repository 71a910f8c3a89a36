/**
 * Goal: with its default settings the autoscaler costs no more task-seconds than Kubernetes' HPA with its
 * own, and makes no more requests late, in at least eight of ten traces of load.
 * Method: the production decision and a separate HPA steer the same queueing model of a service with
 * the same chance (compare.ts); equal seeds give equal runs.
 */
import test from 'ava';
import { compareAll, isAsGood, SPEC } from './compare.ts';
import { run } from './run.ts';
import { ShoalController } from './shoal.ts';
import { TRACES } from './traces.ts';

for (let seed = 1; seed <= 3; seed++) {
  test(`as good as HPA or better by cost and late requests in 8 of 10 traces, seed ${seed}`, (t) => {
    const compared = compareAll(seed);
    t.is(compared.length, 10);
    const lost = compared.filter((each) => !isAsGood(each)).map(({ trace }) => trace.name);
    t.true(lost.length <= 2, lost.join(', '));
    for (const { trace, shoal, hpa } of compared) {
      t.true(shoal.late <= hpa.late, `${trace.name}: ${shoal.late} late requests, HPA ${hpa.late}`);
      t.true(shoal.most <= 25, `${trace.name}: ${shoal.most} tasks at once`);
    }
  });
}

test('the first change comes within 3 s of a step of the load', (t) => {
  const step = TRACES[0];
  if (step === undefined) return t.fail();
  for (let seed = 1; seed <= 5; seed++) {
    const { changedAtMs } = run(step, new ShoalController(SPEC), seed);
    const first = changedAtMs.find((atMs) => atMs >= 120_000) ?? Infinity;
    t.true(first <= 123_000, `${first - 120_000} ms, seed ${seed}`);
  }
});

test('without its fast window the autoscaler is later: the traces can tell the difference', (t) => {
  const step = TRACES[0];
  if (step === undefined) return t.fail();
  const slow = run(step, new ShoalController({ ...SPEC, fast: { disabled: true } }), 1);
  const fast = run(step, new ShoalController(SPEC), 1);
  t.true(fast.late * 1.15 < slow.late, `${fast.late} and ${slow.late}`);
});

test('equal seeds give equal runs', (t) => {
  const spike = TRACES[2];
  if (spike === undefined) return t.fail();
  const [a, b] = [7, 7].map((seed) => run(spike, new ShoalController(SPEC), seed));
  t.deepEqual(a, b);
});
