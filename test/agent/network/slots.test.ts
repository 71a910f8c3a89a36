import test from 'ava';
import fc from 'fast-check';
import { assignSlots, slotCountFor } from '../../../agent/network/slots.ts';

const backends = (count: number) =>
  fc
    .uniqueArray(fc.string({ minLength: 5, maxLength: 8 }), { minLength: 1, maxLength: count })
    .map((ids) => ids.map((taskId, i) => ({ taskId, address: `10.0.${i >> 8}.${i & 255}` })));

const shares = (slots: readonly string[]) => {
  const counts = new Map<string, number>();
  for (const slot of slots) counts.set(slot, (counts.get(slot) ?? 0) + 1);
  return counts;
};

for (const [count, slots] of [
  [1, 16],
  [2, 16],
  [3, 64],
  [8, 64],
  [9, 256],
  [32, 256],
  [128, 1024],
  [129, 4096],
  [5000, 4096],
] as const) {
  test(`slotCountFor() gives ${count} back-ends ${slots} slots`, (t) => {
    t.is(slotCountFor(count), slots);
  });
}

test('assignSlots() fills every slot, and shares differ by one at most', (t) => {
  fc.assert(
    fc.property(backends(60), (list) => {
      const slots = assignSlots('10.0.255.1', list);
      const counts = [...shares(slots).values()];
      return (
        slots.length === slotCountFor(list.length) &&
        !slots.includes('') &&
        Math.max(...counts) - Math.min(...counts) <= 1 &&
        counts.length === list.length
      );
    }),
  );
  t.pass();
});

test('assignSlots() is the same on every host, whatever order the back-ends come in', (t) => {
  fc.assert(
    fc.property(backends(40), fc.infiniteStream(fc.nat()), (list, weights) => {
      const shuffled = list
        .map((backend) => ({ backend, weight: weights.next().value ?? 0 }))
        .sort((a, b) => a.weight - b.weight)
        .map(({ backend }) => backend);
      t.deepEqual(assignSlots('10.0.255.1', shuffled), assignSlots('10.0.255.1', list));
    }),
  );
});

test('assignSlots() moves few slots of the others when a back-end leaves', (t) => {
  let moved = 0;
  let kept = 0;
  for (let n = 4; n <= 32; n++) {
    const list = Array.from({ length: n }, (_, i) => ({ taskId: `task${i}`, address: `a${i}` }));
    const before = assignSlots('10.0.255.1', list);
    for (let gone = 0; gone < n; gone++) {
      const after = assignSlots(
        '10.0.255.1',
        list.filter((_, i) => i !== gone),
      );
      if (after.length !== before.length) continue;
      for (const [slot, address] of before.entries()) {
        if (address === `a${gone}`) continue;
        if (after[slot] === address) kept += 1;
        else moved += 1;
      }
    }
  }
  // Modulo by the number of back-ends would move nearly all.
  t.true(moved / (moved + kept) < 0.15, `${moved} of ${moved + kept}`);
});

test('assignSlots() of another service puts the same back-ends elsewhere', (t) => {
  const list = [1, 2, 3].map((i) => ({ taskId: `task${i}`, address: `a${i}` }));
  t.notDeepEqual(assignSlots('10.0.255.1', list), assignSlots('10.0.255.2', list));
});

test('assignSlots() of no back-ends has no slots', (t) => {
  t.deepEqual(assignSlots('10.0.255.1', []), []);
});

test('assignSlots() of a fixed input never changes: hosts of two versions must agree', (t) => {
  const list = ['aa', 'bb', 'cc'].map((taskId) => ({ taskId, address: taskId }));
  t.is(
    assignSlots('10.0.0.2', list).join(' '),
    'aa aa aa aa cc cc bb bb cc cc cc cc bb cc cc cc cc cc cc cc cc cc cc bb bb bb bb aa cc bb bb bb bb aa cc bb bb bb aa cc aa bb bb cc aa cc aa bb bb aa aa aa bb bb aa aa aa aa bb aa aa aa aa aa',
  );
});
