import test from 'ava';
import { Turns } from '../../../manager/control/turns.ts';

test('turns are taken one at a time, in order, also after one that failed', async (t) => {
  const turns = new Turns();
  const log: string[] = [];
  const take = (name: string, fail = false) =>
    turns.run(async () => {
      log.push(`${name} in`);
      await Promise.resolve();
      log.push(`${name} out`);
      if (fail) throw new Error(name);
      return name;
    });
  const outcomes = await Promise.allSettled([take('a'), take('b', true), take('c')]);
  t.deepEqual(log, ['a in', 'a out', 'b in', 'b out', 'c in', 'c out']);
  t.deepEqual(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  );
});

test('who gave up while waiting does nothing, and the line is bounded', async (t) => {
  const turns = new Turns(2);
  const { promise, resolve: open } = Promise.withResolvers<void>();
  const first = turns.run(() => promise);
  await Promise.resolve();
  const stop = new AbortController();
  let done = false;
  const second = turns.run(async () => {
    done = true;
  }, stop.signal);
  const third = turns.run(async () => 'third');
  await t.throwsAsync(
    turns.run(async () => undefined),
    { code: 'resource-exhausted' },
  );
  stop.abort();
  open();
  await first;
  await t.throwsAsync(second, { name: 'AbortError' });
  t.false(done);
  t.is(await third, 'third');
});
