import test from 'ava';
import { Channel } from '../../shared/channel.ts';

const tick = () => new Promise((resolve) => setImmediate(resolve));

test('what was pushed is read, then the end or the error', async (t) => {
  const channel = new Channel<number>(10);
  channel.offer(1);
  setImmediate(() => {
    channel.offer(2);
    channel.close();
  });
  t.deepEqual(await Array.fromAsync(channel), [1, 2]);

  const broken = new Channel<number>(10);
  broken.offer(1);
  broken.fail(new Error('later'));
  const seen: number[] = [];
  await t.throwsAsync(
    async () => {
      for await (const item of broken) seen.push(item);
    },
    { message: 'later' },
  );
  t.deepEqual(seen, [1]);
});

test('offer() refuses what has no room, push() waits for it', async (t) => {
  const channel = new Channel<number>(2);
  t.deepEqual(
    [1, 2, 3].map((item) => channel.offer(item)),
    [true, true, false],
  );
  let hadRoom: boolean | undefined;
  const pushed = channel.push(4).then((done) => {
    hadRoom = done;
  });
  await tick();
  t.is(hadRoom, undefined);
  const reader = channel[Symbol.asyncIterator]();
  t.is((await reader.next()).value, 1);
  await pushed;
  t.true(hadRoom);
  channel.close();
  t.is((await reader.next()).value, 2);
  t.is((await reader.next()).value, 4);
  t.true((await reader.next()).done);
});

test('an abort drops what is queued and frees those who wait', async (t) => {
  const stop = new AbortController();
  const channel = new Channel<number>(1, stop.signal);
  channel.offer(1);
  const waiting = channel.push(2);
  stop.abort();
  t.false(await waiting);
  t.deepEqual(await Array.fromAsync(channel), []);
  t.deepEqual(await Array.fromAsync(new Channel<number>(1, stop.signal)), []);
});

test('a reader that leaves ends the sources', async (t) => {
  const channel = new Channel<number>(2);
  let isEnded = false;
  const source = (async function* () {
    try {
      for (let i = 0; ; i++) yield i;
    } finally {
      isEnded = true;
    }
  })();
  const taking = channel.take(source);
  for await (const item of channel) if (item === 5) break;
  await taking;
  t.true(isEnded);
  t.false(await channel.push(1));
});
