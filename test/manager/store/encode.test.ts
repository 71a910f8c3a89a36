import test from 'ava';
import fc from 'fast-check';
import { encodeWith } from '../../../manager/store/encode.ts';
import { Meta } from '../../../shared/gen/shoal/v1/objects.ts';

test('numbers are written as the library writes them', (t) => {
  const edges = Array.from({ length: 54 }, (_, bits) => 2 ** bits);
  const number = fc.oneof(
    fc.maxSafeInteger(),
    fc.maxSafeNat(),
    fc.constantFrom(...edges, ...edges.map((edge) => edge - 1)),
  );
  fc.assert(
    fc.property(number, number, number, (version, createdAtMs, updatedAtMs) => {
      const meta = { version, createdAtMs, updatedAtMs };
      t.deepEqual(encodeWith(Meta, meta), Meta.encode(meta).finish());
    }),
    { numRuns: 2_000 },
  );
  t.throws(() => encodeWith(Meta, { version: 1.5, createdAtMs: 0, updatedAtMs: 0 }));
  const meta = { version: 7, createdAtMs: 0, updatedAtMs: 0 };
  t.deepEqual(encodeWith(Meta, meta), Meta.encode(meta).finish(), 'also after it threw');
});
