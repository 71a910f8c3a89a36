/** Goal: a seed names a run. Method: plans of many seeds. */
import test from 'ava';
import { SeededRandom } from '../sim/random.ts';
import { FAULT_KINDS, planFaults } from './plan.ts';

const plan = (seed: number, durationMs: number) =>
  planFaults(new SeededRandom(seed), 3, durationMs);

test('a seed gives the same plan each time, and another seed another', (t) => {
  t.deepEqual(plan(1, 60_000), plan(1, 60_000));
  t.notDeepEqual(plan(1, 60_000), plan(2, 60_000));
});

test('a longer run begins as the shorter one of its seed', (t) => {
  const short = plan(5, 60_000);
  t.deepEqual(plan(5, 600_000).slice(0, short.length), short);
});

test('a minute has nearly every kind, five minutes have all', (t) => {
  for (let seed = 1; seed <= 50; seed++) {
    t.true(new Set(plan(seed, 60_000).map(({ kind }) => kind)).size >= FAULT_KINDS.length - 3);
    t.is(new Set(plan(seed, 300_000).map(({ kind }) => kind)).size, FAULT_KINDS.length);
  }
});

test('all faults end before the run does, and leaders are hit as well as the others', (t) => {
  for (let seed = 1; seed <= 50; seed++) {
    const faults = plan(seed, 120_000);
    t.true(faults.every(({ atMs, forMs }) => atMs + forMs <= 120_000));
    t.true(faults.some(({ target }) => target === 'leader'));
    t.true(faults.some(({ target }) => target !== 'leader'));
  }
});
