import test from 'ava';
import fc from 'fast-check';
import { headOf, openChunk } from '../../../agent/engine/list-chunk.ts';
import { isShoalError } from '../../../shared/errors.ts';
import { ListChunk } from '../../../shared/gen/shoal/v1/control.ts';
import { StoreObject } from '../../../shared/gen/shoal/v1/objects.ts';
import { configFixture, serviceFixture, taskFixture } from '../../support/objects.ts';

const version = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const object = fc
  .record({
    id: fc.stringMatching(/^[a-z0-9]{1,200}$/),
    version,
    kind: fc.integer({ max: 2, min: 0 }),
  })
  .map(({ id, version, kind }): StoreObject => {
    const meta = { version, createdAtMs: 5, updatedAtMs: 6 };
    if (kind === 0) return { kind: { $case: 'service', value: serviceFixture({ id, meta }) } };
    if (kind === 1) return { kind: { $case: 'task', value: taskFixture({ id, meta }) } };
    return { kind: { $case: 'config', value: configFixture({ id, meta }) } };
  });

test('a chunk opens to its objects with their ids and versions, and to what stands beside them', (t) => {
  fc.assert(
    fc.property(fc.array(object, { maxLength: 5 }), version, (objects, index) => {
      const serviceStatus = objects.map((_, i) => ({
        runningTasks: i,
        desiredTasks: 2,
        completedTasks: 0,
      }));
      const bytes = Buffer.from(ListChunk.encode({ objects, serviceStatus, index }).finish());
      const chunk = openChunk(bytes);
      t.deepEqual(
        chunk.entries.map((entry) => StoreObject.decode(entry)),
        objects.map((one) => StoreObject.decode(StoreObject.encode(one).finish())),
      );
      t.deepEqual(
        chunk.entries.map(headOf),
        objects.map(({ kind }) => ({
          id: kind?.value.id ?? '',
          version: kind?.value.meta?.version ?? -1,
        })),
      );
      t.deepEqual(chunk.serviceStatus, serviceStatus);
      t.is(chunk.index, index);
    }),
  );
});

test('an object that has no meta yet has version 0', (t) => {
  const value = serviceFixture({ id: 'x', meta: undefined });
  const entry = StoreObject.encode({ kind: { $case: 'service', value } }).finish();
  t.deepEqual(headOf(Buffer.from(entry)), { id: 'x', version: 0 });
});

test('bytes that are no list are refused', (t) => {
  const refused = (fn: () => unknown) => t.true(isShoalError(t.throws(fn), 'internal'));
  refused(() => openChunk(Buffer.from([0x0a, 0x05, 1])));
  refused(() => headOf(Buffer.from([0x1a, 0x02, 0x10, 0x01])));
  refused(() => headOf(Buffer.from([0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])));
  refused(() => headOf(Buffer.from([])));
});
