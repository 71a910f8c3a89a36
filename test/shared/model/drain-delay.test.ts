import test from 'ava';
import { DRAIN_DELAY_LABEL, drainDelayMs } from '../../../shared/model/drain-delay.ts';

const CASES: readonly (readonly [string, number | undefined])[] = [
  ['5s', 5_000],
  ['1m30s', 90_000],
  ['0s', 0],
  ['1h', 3_600_000],
  ['61m', undefined],
  ['5', undefined],
  ['', undefined],
  ['-1s', undefined],
];
for (const [raw, expected] of CASES) {
  test(`a drain delay of "${raw}" is ${expected ?? 'refused'}`, (t) => {
    t.is(drainDelayMs({ [DRAIN_DELAY_LABEL]: raw }), expected);
  });
}

test('without the label there is no delay', (t) => {
  t.is(drainDelayMs({ other: '5s' }), 0);
});
