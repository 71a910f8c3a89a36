import test from 'ava';
import { Follower, type Source } from '../../../../manager/autoscaler/sources/follower.ts';
import { READ_EVERY_MS, RETRY_AT_MOST_MS } from '../../../../manager/autoscaler/sources/pace.ts';
import type { OutsideMetric } from '../../../../manager/autoscaler/sources.ts';
import { AutoscaleMetric } from '../../../../shared/gen/shoal/v1/autoscale.ts';
import { silentLog } from '../../../../shared/log.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';

/** A source that does what the test says, and notes when it was asked. */
class FakeSource implements Source {
  readonly kind = 'queue';
  readonly where = 'fake:1';
  readonly askedAtMs: number[] = [];
  readonly signals: AbortSignal[] = [];
  closed = false;
  answer: () => Promise<number> = async () => 1;
  readonly #clock: ManualClock;

  constructor(clock: ManualClock) {
    this.#clock = clock;
  }

  read(signal: AbortSignal): Promise<number> {
    this.askedAtMs.push(this.#clock.monotonicMs());
    this.signals.push(signal);
    return this.answer();
  }

  close(): void {
    this.closed = true;
  }
}

const never = () => new Promise<number>(() => undefined);
const down = () => Promise.reject(new Error('fake:1: connection refused'));

const list = (key: string, redisKey = 'jobs', perReplica = 5): OutsideMetric => ({
  key,
  metric: AutoscaleMetric.fromPartial({
    kind: {
      $case: 'redisList',
      value: { address: 'r:1', key: redisKey, target: { perReplica, activation: 0 } },
    },
  }),
});

function setUp(seed = 1) {
  const clock = new ManualClock();
  const sources: FakeSource[] = [];
  const follower = new Follower({
    open: () => {
      const source = new FakeSource(clock);
      sources.push(source);
      return source;
    },
    clock,
    random: new SeededRandom(seed),
    log: silentLog,
  });
  /** Follows these, and hands out the sources that this opened. */
  const follow = (...wanted: OutsideMetric[]) => {
    const before = sources.length;
    follower.follow(wanted);
    return sources.slice(before);
  };
  return { clock, follower, follow };
}

test('what is followed is read soon, then again and again at an even pace', async (t) => {
  const { clock, follower, follow } = setUp();
  const [source] = follow(list('s/a'));
  t.is(follower.latest('s/a'), undefined);
  await clock.advance(READ_EVERY_MS / 8);
  t.deepEqual(follower.latest('s/a'), { kind: 'value', value: { stable: 1, fast: 1 } });
  await clock.advance(60_000);
  t.is(source?.askedAtMs.length, 31);
  await follower.close();
});

test('pauses grow while a source fails and end with the first answer', async (t) => {
  for (let seed = 1; seed <= 20; seed++) {
    const { clock, follower, follow } = setUp(seed);
    const [source] = follow(list('s/a'));
    if (source === undefined) return t.fail();
    source.answer = down;
    await clock.advance(10 * 60_000);
    const gaps = source.askedAtMs.slice(1).map((atMs, i) => atMs - (source.askedAtMs[i] ?? 0));
    gaps.forEach((gapMs, i) => {
      const spanMs = Math.min(RETRY_AT_MOST_MS, READ_EVERY_MS * 2 ** i);
      t.true(gapMs >= spanMs / 2 && gapMs <= spanMs, `seed ${seed}, gap ${i}: ${gapMs}`);
    });
    t.true(source.askedAtMs.length < 60);
    const failed = follower.latest('s/a');
    t.deepEqual(failed, {
      kind: 'error',
      error: 'fake:1: connection refused',
      failures: source.askedAtMs.length,
    });
    source.answer = async () => 9;
    await clock.advance(RETRY_AT_MOST_MS);
    t.deepEqual(follower.latest('s/a'), { kind: 'value', value: { stable: 9, fast: 9 } });
    const answered = source.askedAtMs.length;
    await clock.advance(10 * READ_EVERY_MS);
    t.is(source.askedAtMs.length, answered + 10, 'the pace is even again');
    await follower.close();
  }
});

test('sources that fail together are not tried together', async (t) => {
  const { clock, follower, follow } = setUp();
  const sources = follow(...Array.from({ length: 50 }, (_, i) => list(`s/${i}`)));
  for (const source of sources) source.answer = down;
  await clock.advance(5 * 60_000);
  const times = new Set(sources.map(({ askedAtMs }) => askedAtMs.at(-1)));
  t.true(times.size > 40, `${times.size} different times`);
  await follower.close();
});

test('a source that never answers fails in time, and holds up no other one', async (t) => {
  const { clock, follower, follow } = setUp();
  const [stuck, well] = follow(list('s/stuck'), list('s/well'));
  if (stuck === undefined || well === undefined) return t.fail();
  stuck.answer = never;
  await clock.advance(60_000);
  const reading = follower.latest('s/stuck');
  t.is(reading?.kind, 'error');
  t.is(reading?.kind === 'error' ? reading.error : '', 'fake:1: no answer within 2 s');
  t.true(stuck.signals.every(({ aborted }, i) => aborted || i === stuck.signals.length - 1));
  t.true(well.askedAtMs.length >= 30);
  t.is(follower.latest('s/well')?.kind, 'value');
  await follower.close();
});

test('a value that came before a failure is not told again', async (t) => {
  const { clock, follower, follow } = setUp();
  const [source] = follow(list('s/a'));
  if (source === undefined) return t.fail();
  await clock.advance(1_000);
  source.answer = down;
  await clock.advance(READ_EVERY_MS);
  t.is(follower.latest('s/a')?.kind, 'error');
  await follower.close();
});

for (const value of [Number.NaN, -1, Number.POSITIVE_INFINITY]) {
  test(`${value} is no load`, async (t) => {
    const { clock, follower, follow } = setUp();
    const [source] = follow(list('s/a'));
    if (source === undefined) return t.fail();
    source.answer = async () => value;
    await clock.advance(1_000);
    t.is(follower.latest('s/a')?.kind, 'error');
    await follower.close();
  });
}

test('a source that throws at once is one that fails', async (t) => {
  const { clock, follower, follow } = setUp();
  const [source] = follow(list('s/a'));
  if (source === undefined) return t.fail();
  source.answer = () => {
    throw new Error('broken');
  };
  await clock.advance(1_000);
  t.deepEqual(follower.latest('s/a'), { kind: 'error', error: 'broken', failures: 1 });
  await follower.close();
});

test('the same metric of a newer version of its service goes on, with another target too', async (t) => {
  const { clock, follower, follow } = setUp();
  follow(list('s/a', 'jobs', 5));
  await clock.advance(1_000);
  t.deepEqual(follow(list('s/a', 'jobs', 5)), []);
  t.deepEqual(follow(list('s/a', 'jobs', 50)), []);
  t.is(follower.latest('s/a')?.kind, 'value');
  await follower.close();
});

test('another metric under the same key begins anew: nothing of the former one is told', async (t) => {
  const { clock, follower, follow } = setUp();
  const [former] = follow(list('s/a', 'jobs'));
  await clock.advance(1_000);
  const [source] = follow(list('s/a', 'mails'));
  t.is(follower.latest('s/a'), undefined);
  t.not(source, undefined);
  await clock.advance(1_000);
  t.true(former?.closed);
  t.is(follower.latest('s/a')?.kind, 'value');
  await follower.close();
});

test('what is no longer followed is not read, not told, and lets go of its source', async (t) => {
  const { clock, follower, follow } = setUp();
  const [a, b] = follow(list('s/a'), list('s/b'));
  await clock.advance(1_000);
  follow(list('s/b'));
  t.is(follower.latest('s/a'), undefined);
  const asked = a?.askedAtMs.length;
  await clock.advance(60_000);
  t.is(a?.askedAtMs.length, asked);
  t.true(a?.closed);
  t.false(b?.closed);
  await follower.close();
});

test('closing gives up what is under way and leaves no timer', async (t) => {
  const { clock, follower, follow } = setUp();
  const [stuck, well] = follow(list('s/stuck'), list('s/well'));
  if (stuck === undefined || well === undefined) return t.fail();
  stuck.answer = never;
  await clock.advance(1_000);
  await follower.close();
  t.true(stuck.closed && well.closed);
  t.true(stuck.signals[0]?.aborted);
  t.is(clock.timers, 0);
  t.deepEqual(follow(list('s/late')), [], 'nothing is opened after the end');
});
