/**
 * Goal: Raft's promises hold whatever happens, and a healed cluster works again.
 *
 * Method: the production core, sessions and memory log on a virtual clock, network and disk, all drawn
 * from one seed: delay, loss, duplication, reordering, partitions also one-way, crashes at each
 * boundary between effects, unsynced writes lost, disks that are slow, full or failing, processes that
 * stand still, clocks that drift and jump, leadership handed over, members that come and go one by one
 * and jointly, snapshots and compaction. After each step an observer checks Raft's invariants; at the
 * end all must converge, and what the clients saw must be linearizable.
 *
 * Again, alone: `npm run sim -- --from SEED --seeds 1`.
 */
import test from 'ava';
import { RaftCore, type RaftStart } from '../../manager/raft/core.ts';
import { Sessions } from '../../manager/raft/sessions.ts';
import { RaftCluster } from './raft-cluster.ts';
import { drawProfile } from './raft-profile.ts';
import { RunFailure, runRaft } from './raft-run.ts';
import { SeededRandom } from './random.ts';

const SEEDS = 2_400;
const EACH_TEST = 200;

for (let from = 1; from <= SEEDS; from += EACH_TEST) {
  const to = from + EACH_TEST - 1;
  test(`raft keeps its promises, seeds ${from} to ${to}`, (t) => {
    let acknowledged = 0;
    let calls = 0;
    let undecided = 0;
    for (let seed = from; seed <= to; seed++) {
      const result = runRaft(seed);
      acknowledged += result.acknowledged;
      calls += result.calls;
      if (result.undecided) undecided++;
    }
    t.log(`${acknowledged} writes acknowledged, ${calls} calls, ${undecided} undecided`);
    // Runs in which hardly anything was done would show little.
    t.true(acknowledged > 15 * EACH_TEST && calls > 30 * EACH_TEST);
    t.true(undecided <= EACH_TEST / 50);
  });
}

test('equal seeds give equal runs, to the last event', (t) => {
  for (const seed of [7, 8, 9, 10]) t.deepEqual(runRaft(seed), runRaft(seed));
  t.notDeepEqual(runRaft(7), runRaft(8));
});

test('a failure tells what broke, what happened last, and how to see it again', (t) => {
  const createCore = (start: RaftStart) => {
    const core = new RaftCore(start);
    core.campaign = () => {
      throw new Error('planted');
    };
    core.ready = core.campaign as unknown as typeof core.ready;
    return core;
  };
  const production = { createCore, Sessions };
  const failure = t.throws(() => runRaft(3, { production, profile: 'mixed' }), {
    instanceOf: RunFailure,
  });
  t.regex(failure.message, /planted/);
  t.regex(failure.message, /last events:\n.*starts/);
  t.regex(failure.message, /again: npm run sim -- --from 3 --seeds 1 --profile mixed/);
});

test('a lost acknowledged write is noticed at the end', (t) => {
  const { cluster: options } = drawProfile(new SeededRandom(5), 'mixed');
  const cluster = new RaftCluster({ ...options, seed: 5 });
  cluster.clock.runFor(3_000);
  cluster.checks.acknowledged(2, 4_711);
  t.throws(() => cluster.healAndConverge(60_000), { message: /no acknowledged write lost/ });
});
