import test from 'ava';
import { SnapshotPace } from '../../../manager/raft/snapshot-pace.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { id } from './letters.ts';

function paced() {
  const clock = new ManualClock();
  const told: [string, boolean, number][] = [];
  const began = clock.monotonicMs();
  const pace = new SnapshotPace({
    clock,
    report: (to, ok) => told.push([to[0] ?? '', ok, clock.monotonicMs() - began]),
  });
  return { clock, told, pace };
}

test('a member that cannot keep a snapshot is sent the next one after longer and longer', async (t) => {
  const { clock, told, pace } = paced();
  for (let i = 0; i < 6; i++) {
    const before = told.length;
    pace.begun(id('b'));
    pace.ended(id('b'), false);
    while (told.length === before) await clock.advance(500);
  }
  t.deepEqual(
    told.map(([, ok, atMs], i) => [ok, atMs - (told[i - 1]?.[2] ?? 0)]),
    [0, 1_000, 2_000, 4_000, 5_000, 5_000].map((ms) => [false, ms]),
  );
});

test('one that arrives is told at once, and ends the pauses', async (t) => {
  const { clock, told, pace } = paced();
  pace.ended(id('b'), false);
  pace.ended(id('b'), false);
  pace.ended(id('b'), true);
  pace.ended(id('b'), false);
  await clock.advance(60_000);
  t.deepEqual(told, [
    ['b', false, 0],
    ['b', true, 0],
    ['b', false, 0],
  ]);
});

test('each member has a pace of its own', (t) => {
  const { told, pace } = paced();
  for (const to of ['b', 'b', 'c']) pace.ended(id(to), false);
  t.deepEqual(told, [
    ['b', false, 0],
    ['c', false, 0],
  ]);
});

test('what became of one is not told of another that is on its way, nor by whoever does not lead', async (t) => {
  const { clock, told, pace } = paced();
  pace.ended(id('b'), false);
  pace.ended(id('b'), false);
  pace.begun(id('b'));
  await clock.advance(60_000);
  t.is(told.length, 1);
  pace.ended(id('b'), false);
  pace.stop();
  await clock.advance(60_000);
  t.is(told.length, 1);
  pace.ended(id('b'), false);
  t.is(told.length, 2, 'who leads again begins again');
});
