import test from 'ava';
import { ReadBarriers } from '../../../manager/raft/read-barriers.ts';
import { isShoalError } from '../../../shared/errors.ts';

/** Timers that fire when told to. */
class HandClock {
  nowMs = 0;
  timers: { atMs: number; fn: () => void }[] = [];
  now = () => this.nowMs;
  monotonicMs = () => this.nowMs;
  after = (delayMs: number, fn: () => void) => {
    const timer = { atMs: this.nowMs + delayMs, fn };
    this.timers.push(timer);
    return {
      cancel: () => {
        this.timers = this.timers.filter((one) => one !== timer);
      },
    };
  };
  advance(ms: number): void {
    this.nowMs += ms;
    for (const timer of this.timers.filter(({ atMs }) => atMs <= this.nowMs)) {
      this.timers = this.timers.filter((one) => one !== timer);
      timer.fn();
    }
  }
}

function begin() {
  const clock = new HandClock();
  const asked: number[] = [];
  const reads = new ReadBarriers({
    clock,
    timeoutMs: 3_000,
    ask: (context) => asked.push(context),
  });
  return { clock, asked, reads };
}

async function settled(promise: Promise<number>): Promise<number | string | undefined> {
  const pending = Symbol('pending');
  await new Promise(setImmediate);
  try {
    const result = await Promise.race([promise, Promise.resolve(pending)]);
    return typeof result === 'number' ? result : undefined;
  } catch (error) {
    return isShoalError(error) ? error.code : String(error);
  }
}

test('reads of one turn share a question, and nobody joins one that has left', (t) => {
  const { asked, reads } = begin();
  void reads.wait(undefined);
  void reads.wait(undefined);
  t.deepEqual(asked, [1]);
  reads.sent();
  void reads.wait(undefined);
  t.deepEqual(asked, [1, 2]);
});

test('a read waits until its index is applied', async (t) => {
  const { reads } = begin();
  const read = reads.wait(undefined);
  reads.ready(1, 7, 5);
  t.is(await settled(read), undefined);
  reads.applied(6);
  t.is(await settled(read), undefined);
  reads.applied(9);
  t.is(await settled(read), 9);
});

test('a dropped read is asked again under a new context, and the old answer counts for nothing', async (t) => {
  const { clock, asked, reads } = begin();
  const read = reads.wait(undefined);
  reads.sent();
  reads.dropped(1);
  clock.advance(60);
  t.deepEqual(asked, [1, 2]);
  reads.ready(1, 3, 100);
  t.is(await settled(read), undefined);
  reads.ready(2, 3, 100);
  t.is(await settled(read), 100);
});

test('a read that nobody answers ends as unavailable, and one that is aborted as cancelled', async (t) => {
  const { clock, reads } = begin();
  const abort = new AbortController();
  const [slow, cancelled] = [reads.wait(undefined), reads.wait(abort.signal)];
  abort.abort(new Error('enough'));
  t.is(await settled(cancelled), 'cancelled');
  reads.sent();
  reads.dropped(1);
  clock.advance(3_000);
  t.is(await settled(slow), 'unavailable');
  t.deepEqual(clock.timers, [], 'no timer is left behind');
});

test('the end fails every read that waits', async (t) => {
  const { reads } = begin();
  const first = reads.wait(undefined);
  reads.sent();
  const second = reads.wait(undefined);
  reads.ready(1, 9, 0);
  const third = reads.wait(undefined);
  reads.fail(new Error('the end'));
  for (const read of [first, second, third]) t.is(await settled(read), 'Error: the end');
});
