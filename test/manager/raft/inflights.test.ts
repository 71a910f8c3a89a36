import test from 'ava';
import fc from 'fast-check';
import { Inflights } from '../../../manager/raft/inflights.ts';

test('Inflights is full at its count, and room comes back in order', (t) => {
  const inflights = new Inflights(3, 1_000);
  for (const index of [5, 7, 9]) inflights.add(index, 10);
  t.true(inflights.full());
  inflights.freeTo(6);
  t.is(inflights.count, 2);
  t.false(inflights.full());
  inflights.freeTo(9);
  t.is(inflights.count, 0);
});

test('Inflights is full at its bytes, also by one append larger than all of them', (t) => {
  const inflights = new Inflights(100, 50);
  inflights.add(1, 49);
  t.false(inflights.full());
  inflights.add(2, 1);
  t.true(inflights.full());
  inflights.freeTo(2);
  inflights.add(3, 5_000);
  t.true(inflights.full());
  inflights.freeTo(3);
  t.false(inflights.full());
});

test('Inflights behaves as a plain list of (index, bytes) would', (t) => {
  const action = fc.oneof(
    fc.record({ add: fc.nat(30) }),
    fc.record({ free: fc.nat(60) }),
    fc.constant({ clear: true }),
  );
  fc.assert(
    fc.property(fc.array(action, { maxLength: 200 }), (actions) => {
      const inflights = new Inflights(20, 200);
      let model: { index: number; bytes: number }[] = [];
      let index = 0;
      for (const step of actions) {
        if ('add' in step) {
          inflights.add(++index, step.add);
          model.push({ index, bytes: step.add });
        } else if ('free' in step) {
          inflights.freeTo(index - step.free);
          model = model.filter((append) => append.index > index - step.free);
        } else {
          inflights.clear();
          model = [];
        }
        const bytes = model.reduce((sum, append) => sum + append.bytes, 0);
        t.is(inflights.count, model.length);
        t.is(inflights.full(), model.length >= 20 || bytes >= 200);
      }
    }),
  );
});
