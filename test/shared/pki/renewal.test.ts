import test from 'ava';
import { renewAt, renewalRetryMs } from '../../../shared/pki/renewal.ts';

const chance = (value: number) => ({ next: () => value, bytes: () => new Uint8Array() });

for (const [value, expected] of [
  [0, 1_500],
  [0.5, 1_650],
  [1, 1_800],
] as const) {
  test(`renewAt() is ${expected} for a life from 1,000 to 2,000 at chance ${value}`, (t) => {
    t.is(Math.round(renewAt({ notBeforeMs: 1_000, notAfterMs: 2_000 }, chance(value))), expected);
  });
}

test('renewalRetryMs() doubles from 5 s to an hour', (t) => {
  const waits = [1, 2, 3, 9, 11, 500].map((failures) => renewalRetryMs(failures, chance(1)));
  t.deepEqual(waits, [5_000, 10_000, 20_000, 1_280_000, 3_600_000, 3_600_000]);
  t.is(renewalRetryMs(1, chance(0)), 2_500);
});
