import test from 'ava';
import fc from 'fast-check';
import { Heap } from '../../../manager/scheduler/heap.ts';

test('a heap hands out its items in order', (t) => {
  fc.assert(
    fc.property(fc.array(fc.integer()), (numbers) => {
      const heap = new Heap([...numbers], (a, b) => a < b);
      const popped: number[] = [];
      for (let top = heap.pop(); top !== undefined; top = heap.pop()) popped.push(top);
      return popped.join() === [...numbers].sort((a, b) => a - b).join() && heap.size === 0;
    }),
  );
  t.pass();
});

test('the least item is on top whatever happens to the one on top', (t) => {
  const change = fc.option(fc.nat({ max: 50 }));
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 50 })), fc.array(change), (numbers, changes) => {
      const items = numbers.map((value) => ({ value }));
      const left = new Set(items);
      const heap = new Heap([...items], (a, b) => a.value < b.value);
      for (const added of changes) {
        const top = heap.peek();
        if (top?.value !== minimum(left)) return false;
        if (top === undefined) return heap.size === 0;
        if (added === null) {
          heap.pop();
          left.delete(top);
        } else {
          top.value += added;
          heap.topChanged();
        }
      }
      return true;
    }),
  );
  t.pass();
});

function minimum(items: ReadonlySet<{ value: number }>): number | undefined {
  return items.size === 0 ? undefined : Math.min(...[...items].map(({ value }) => value));
}
