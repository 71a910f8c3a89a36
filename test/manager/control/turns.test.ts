import test from 'ava';
import { Turns } from '../../../manager/control/turns.ts';

test('turns are taken one at a time, in order, also after one that failed', async (t) => {
  const turns = new Turns();
  const log: string[] = [];
  const take = (name: string, fail = false) =>
    turns.alone(async () => {
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
  const first = turns.alone(() => promise);
  await Promise.resolve();
  const stop = new AbortController();
  let done = false;
  const second = turns.alone(async () => {
    done = true;
  }, stop.signal);
  const third = turns.alone(async () => 'third');
  await t.throwsAsync(
    turns.alone(async () => undefined),
    { code: 'resource-exhausted' },
  );
  stop.abort();
  open();
  await first;
  await t.throwsAsync(second, { name: 'AbortError' });
  t.false(done);
  t.is(await third, 'third');
});

test('those who go together do, and nobody overtakes who goes alone', async (t) => {
  const turns = new Turns();
  const log: string[] = [];
  const doors = new Map<string, () => void>();
  const visit = (name: string) => async () => {
    log.push(name);
    await new Promise<void>((resolve) => doors.set(name, resolve));
  };
  const settled = () => new Promise(setImmediate);
  const all = [
    turns.together(visit('a')),
    turns.together(visit('b')),
    turns.alone(visit('C')),
    turns.together(visit('d')),
    turns.together(visit('e')),
  ];
  await settled();
  t.deepEqual(log, ['a', 'b']);
  doors.get('a')?.();
  await settled();
  t.deepEqual(log, ['a', 'b'], 'one of them is still inside');
  doors.get('b')?.();
  await settled();
  t.deepEqual(log, ['a', 'b', 'C']);
  doors.get('C')?.();
  await settled();
  t.deepEqual(log, ['a', 'b', 'C', 'd', 'e']);
  doors.get('d')?.();
  doors.get('e')?.();
  await Promise.all(all);
});
