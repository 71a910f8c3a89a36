import test from 'ava';
import { backoffMs } from '../../shared/backoff.ts';

const always = (value: number) => ({ next: () => value, bytes: (n: number) => new Uint8Array(n) });
const SPAN = { firstMs: 100, lastMs: 2_000 };

test('pauses double up to the last, and chance takes at most half of them', (t) => {
  const pauses = (chance: number) =>
    [1, 2, 3, 5, 6, 5_000].map((failures) => backoffMs(failures, SPAN, always(chance)));
  t.deepEqual(pauses(0), [50, 100, 200, 800, 1_000, 1_000]);
  t.deepEqual(pauses(0.999_999), [100, 200, 400, 1_600, 2_000, 2_000]);
});
