import test from 'ava';
import { Broadcast } from '../../../agent/runtime/broadcast.ts';
import { Limiter } from '../../../agent/runtime/limiter.ts';

test('a limiter runs no more than its limit at once, in the order asked', async (t) => {
  const limiter = new Limiter(2);
  const gates = Array.from({ length: 4 }, () => Promise.withResolvers<void>());
  const begun: number[] = [];
  const all = gates.map((gate, index) =>
    limiter.run(async () => {
      begun.push(index);
      await gate.promise;
    }),
  );
  await Promise.resolve();
  t.deepEqual(begun, [0, 1]);
  gates[1]?.resolve();
  await all[1];
  await Promise.resolve();
  t.deepEqual(begun, [0, 1, 2]);
  for (const gate of gates) gate.resolve();
  await Promise.all(all);
  t.deepEqual(begun, [0, 1, 2, 3]);
  t.false(limiter.busy);
});

test('who waits in line may leave it, and failures give the place back', async (t) => {
  const limiter = new Limiter(1);
  const gate = Promise.withResolvers<void>();
  const first = limiter.run(() => gate.promise);
  const leaving = new AbortController();
  const second = limiter.run(async () => t.fail('it left the line'), leaving.signal);
  const third = limiter.run(async () => 'third');
  leaving.abort(new Error('no longer wanted'));
  await t.throwsAsync(second, { message: 'no longer wanted' });
  gate.reject(new Error('failed'));
  await t.throwsAsync(first, { message: 'failed' });
  t.is(await third, 'third');
});

test('a listener that falls behind is told to read everything anew', async (t) => {
  const events = new Broadcast<string>('resync', 3);
  const stop = new AbortController();
  const slow = events.listen(stop.signal);
  for (const event of ['a', 'b', 'c', 'd', 'e']) events.emit(event);
  const seen: string[] = [];
  for await (const event of slow) {
    seen.push(event);
    if (event === 'e') stop.abort();
  }
  t.deepEqual(seen, ['resync', 'e']);
});

test('listeners get what happens from the call on, and end with their signal', async (t) => {
  const events = new Broadcast<number>(-1);
  events.emit(0);
  const stop = new AbortController();
  const listening = events.listen(stop.signal);
  events.emit(1);
  const seen: number[] = [];
  const reading = (async () => {
    for await (const event of listening) seen.push(event);
  })();
  await new Promise(setImmediate);
  events.emit(2);
  await new Promise(setImmediate);
  stop.abort();
  await reading;
  t.deepEqual(seen, [1, 2]);
});
