import test from 'ava';
import { afterProbe, type HealthState } from '../../../agent/task/health.ts';
import type { Healthcheck } from '../../../shared/gen/shoal/v1/objects.ts';

const CHECK: Healthcheck = {
  test: ['CMD', 'true'],
  intervalNs: 1e9,
  timeoutNs: 1e9,
  startPeriodNs: 5e9,
  startIntervalNs: 0,
  retries: 2,
};
const START: HealthState = { healthy: false, failures: 0, startedAtMs: 0 };
const GOOD = { ok: true, output: 'fine', exitCode: 0 };
const BAD = { ok: false, output: 'refused', exitCode: 1 };

test('afterProbe() is healthy at the first success, and says so once', (t) => {
  const first = afterProbe(START, GOOD, CHECK, 100);
  t.deepEqual(first.verdict, { healthy: true, output: 'fine' });
  t.is(afterProbe(first.state, GOOD, CHECK, 200).verdict, undefined);
});

test('afterProbe() does not count failures in the start period', (t) => {
  let state = START;
  for (let i = 0; i < 10; i++) {
    const next = afterProbe(state, BAD, CHECK, 4_999);
    t.is(next.verdict, undefined);
    state = next.state;
  }
  t.is(state.failures, 0);
});

test('afterProbe() is unhealthy after the retries, counted in a row', (t) => {
  const one = afterProbe(START, BAD, CHECK, 6_000);
  t.is(one.verdict, undefined);
  const good = afterProbe(one.state, GOOD, CHECK, 7_000);
  const again = afterProbe(good.state, BAD, CHECK, 8_000);
  t.is(again.verdict, undefined);
  t.deepEqual(afterProbe(again.state, BAD, CHECK, 9_000).verdict, {
    healthy: false,
    output: 'refused',
  });
});

test('afterProbe() counts failures in the start period once it was healthy', (t) => {
  const good = afterProbe(START, GOOD, CHECK, 100);
  const one = afterProbe(good.state, BAD, CHECK, 200);
  t.deepEqual(afterProbe(one.state, BAD, CHECK, 300).verdict, {
    healthy: false,
    output: 'refused',
  });
});
