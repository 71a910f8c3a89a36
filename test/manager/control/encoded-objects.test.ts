import test from 'ava';
import { EncodedObjects } from '../../../manager/control/encoded-objects.ts';
import { toStoreObject } from '../../../manager/store/tables.ts';
import { ListChunk } from '../../../shared/gen/shoal/v1/control.ts';
import type { Config } from '../../../shared/gen/shoal/v1/objects.ts';
import { configFixture } from '../../support/objects.ts';

function counting(keptBytes?: number) {
  const encoded = new EncodedObjects(keptBytes);
  let made = 0;
  const entryOf = (config: Config) =>
    encoded.entryOf(config, () => {
      made += 1;
      return toStoreObject('config', config);
    });
  return { entryOf, made: () => made };
}
const configOf = (id: string, bytes = 10) =>
  configFixture({ id, spec: { name: id, data: Buffer.alloc(bytes) } });

test('an object is encoded once, and its next version anew', (t) => {
  const { entryOf, made } = counting();
  const first = configOf('a');
  t.is(entryOf(first), entryOf(first));
  t.is(made(), 1);
  const next = configOf('a', 20);
  t.deepEqual(ListChunk.decode(entryOf(next)).objects, [toStoreObject('config', next)]);
  t.is(made(), 2);
});

test('what is kept stays within its room, and large objects are not kept', (t) => {
  const { entryOf, made } = counting(1_000);
  const [a, b] = [configOf('a', 500), configOf('b', 500)];
  entryOf(a);
  entryOf(b);
  entryOf(b);
  t.is(made(), 2);
  entryOf(a); // had to go for b
  t.is(made(), 3);
  const large = configOf('c', 100_000);
  entryOf(large);
  entryOf(large);
  entryOf(a);
  t.is(made(), 5);
});
