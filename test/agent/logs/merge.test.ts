import test from 'ava';
import { Merged } from '../../../agent/logs/merge.ts';

async function* counted(count: number, taken: number[] = []): AsyncGenerator<number> {
  for (let i = 0; i < count; i++) {
    taken.push(i);
    yield i;
  }
}
const never = (error: unknown) => {
  throw error;
};

test('a merged stream has every item of every source, and then ends', async (t) => {
  const merged = new Merged<number>();
  merged.add(counted(1_000), never);
  merged.add(counted(500), never);
  merged.finish();
  const items = await Array.fromAsync(merged);
  t.is(items.length, 1_500);
  t.is(items.filter((item) => item === 7).length, 2);
});

test('a slow reader holds the sources back', async (t) => {
  const merged = new Merged<number>();
  const taken: number[] = [];
  merged.add(counted(100_000, taken), never);
  merged.finish();
  for await (const item of merged) {
    await new Promise((resolve) => setImmediate(resolve));
    if (item === 10) break;
  }
  t.true(taken.length < 1_000, `${taken.length} were taken`);
});

test('a source that breaks is reported, the others go on', async (t) => {
  const merged = new Merged<number>();
  const errors: unknown[] = [];
  merged.add(
    (async function* () {
      yield 1;
      throw new Error('disk gone');
    })(),
    (error) => errors.push(error),
  );
  merged.add(counted(3), never);
  merged.finish();
  t.is((await Array.fromAsync(merged)).length, 4);
  t.is(errors.length, 1);
});

test('a source may be added while the stream is read', async (t) => {
  const merged = new Merged<number>();
  merged.add(counted(2), never);
  const items: number[] = [];
  for await (const item of merged) {
    items.push(item);
    if (items.length === 2) {
      merged.add(counted(2), never);
      merged.finish();
    }
  }
  t.deepEqual(items, [0, 1, 0, 1]);
});
