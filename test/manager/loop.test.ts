import test from 'ava';
import {
  cutUnits,
  type LoopBody,
  type Round,
  runLeaderLoop,
  type Unit,
} from '../../manager/loop.ts';
import { createAction } from '../../manager/store/tables.ts';
import { type ErrorCode, NotLeaderError, ShoalError } from '../../shared/errors.ts';
import { TaskState } from '../../shared/gen/shoal/v1/objects.ts';
import { silentLog } from '../../shared/log.ts';
import { configFixture, serviceFixture, taskOf, taskSpecFixture } from '../support/objects.ts';
import { storeFixture } from '../support/store.ts';

const unit = (): Unit => [createAction('config', configFixture())];

/** A body that writes what `next` says. */
async function looping(next: () => Round) {
  const fixture = await storeFixture();
  const failures: (ErrorCode | undefined)[] = [];
  let rounds = 0;
  const body: LoopBody = {
    name: 'test',
    start: () => undefined,
    onCommit: () => true,
    decide: () => {
      rounds += 1;
      return next();
    },
    failed: (code) => failures.push(code),
  };
  const errors: string[] = [];
  const log = { ...silentLog, error: (message: string) => errors.push(message), with: () => log };
  const { store, writer, clock, random } = fixture;
  const stop = new AbortController();
  const ended = runLeaderLoop({ store, writer, clock, random, log }, body, stop.signal);
  return {
    ...fixture,
    failures,
    errors,
    rounds: () => rounds,
    stop: async () => {
      stop.abort();
      await ended;
    },
  };
}

test('changes that come while a round is written or paused are handled in one round', async (t) => {
  const loop = await looping(() => ({ units: [] }));
  await loop.clock.advance(100);
  t.is(loop.rounds(), 1);
  for (let i = 0; i < 20; i++) await loop.writer.write([...unit()]);
  await loop.clock.advance(100);
  t.true(loop.rounds() <= 4, `${loop.rounds()} rounds`);
  await loop.stop();
});

test('a round may ask to be called again by time', async (t) => {
  const loop = await looping(() => ({ units: [], wakeInMs: 1000 }));
  await loop.clock.advance(10_500);
  t.is(loop.rounds(), 11);
  await loop.stop();
  t.is(loop.clock.timers, 0, 'nothing is left behind');
});

test('a write that was refused is decided again, with growing pauses', async (t) => {
  const failing = await looping(() => ({ units: [unit()] }));
  failing.consensus.proposeError = new NotLeaderError('other');
  await failing.clock.advance(60_000);
  t.true(failing.rounds() > 20 && failing.rounds() < 60, `${failing.rounds()} rounds in a minute`);
  t.true(failing.failures.every((code) => code === 'unavailable'));
  t.deepEqual(failing.errors, []);
  failing.consensus.proposeError = undefined;
  const before = failing.store.count('config');
  await failing.clock.advance(3000);
  t.true(failing.store.count('config') > before);
  await failing.stop();
});

test('conflicts are tried again at once, then with smaller transactions', async (t) => {
  let done = false;
  const loop = await looping(() => ({ units: done ? [] : Array.from({ length: 2000 }, unit) }));
  loop.consensus.proposeError = new ShoalError('out-of-sequence', 'update out of sequence');
  await loop.clock.advance(20);
  t.true(loop.rounds() >= 3, `${loop.rounds()} rounds`);
  loop.consensus.proposeError = undefined;
  const before = loop.consensus.entries.length;
  loop.store.onCommit(() => {
    done = true;
  });
  await loop.clock.advance(500);
  t.true(loop.consensus.entries.length - before > 8, 'cut smaller than 1000');
  await loop.stop();
});

test('a round that throws is logged and tried again, and ends nothing', async (t) => {
  let rounds = 0;
  const loop = await looping(() => {
    rounds += 1;
    if (rounds < 3) throw new TypeError('a bug');
    return { units: [] };
  });
  await loop.clock.advance(10_000);
  t.is(loop.rounds(), 3);
  t.deepEqual(loop.errors, ['a round failed', 'a round failed']);
  await loop.stop();
});

test('the loop ends with its signal, also in the middle of a write', async (t) => {
  const loop = await looping(() => ({ units: [unit()] }));
  await loop.stop();
  const { rounds } = loop;
  const before = rounds();
  await loop.writer.write([...unit()]);
  await loop.clock.advance(1000);
  t.is(rounds(), before);
});

test('cutUnits() keeps the order, keeps units whole and stays below both limits', (t) => {
  const service = serviceFixture({
    spec: { task: taskSpecFixture({ container: { image: 'x'.repeat(1000) } }) },
  });
  const units = Array.from({ length: 100 }, (_, i) => [
    createAction('task', taskOf(service, { slot: i })),
    createAction('task', taskOf(service, { slot: i, desiredState: TaskState.READY })),
  ]);
  for (const limits of [{ maxActions: 7 }, { maxBytes: 10_000 }]) {
    const writes = cutUnits(units, limits);
    t.deepEqual(writes.flat(), units.flat());
    t.true(writes.length > 10);
    t.true(writes.every((actions) => actions.length % 2 === 0 && actions.length <= 8));
  }
  const huge = [
    createAction('config', configFixture({ spec: { name: 'c', data: Buffer.alloc(20_000) } })),
  ];
  const around = [unit(), huge, unit()];
  t.deepEqual(
    cutUnits(around, { maxBytes: 10_000 }).map((actions) => actions.length),
    [1, 1, 1],
  );
  t.deepEqual(cutUnits([]), []);
});
