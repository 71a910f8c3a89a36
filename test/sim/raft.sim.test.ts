/**
 * Goal: Raft's promises hold whatever happens, and a healed cluster works again.
 *
 * Method: the production core on a virtual clock, network and disk, all drawn from one seed: delay,
 * loss, duplication, reordering, partitions also one-way, crashes at each boundary between effects,
 * unsynced writes lost, processes that stand still, leadership handed over, members that come and
 * go, snapshots and compaction. After each step an observer checks election safety, log matching,
 * leader completeness, durability and finality of commits, state machine safety and the
 * linearizability of reads; at the end, convergence and that no acknowledged write is lost.
 *
 * Again, alone: `npm run sim -- --from SEED --seeds 1 --profile PROFILE`.
 */
import test from 'ava';
import type { ProfileName } from './raft-profile.ts';
import { runRaft } from './raft-run.ts';

const SEEDS: Readonly<Record<ProfileName, number>> = {
  mixed: 80,
  'short-leaders': 60,
  members: 50,
  snapshots: 40,
};

for (const [profile, seeds] of Object.entries(SEEDS) as [ProfileName, number][]) {
  for (let seed = 1; seed <= seeds; seed++) {
    test(`raft keeps its promises, ${profile}, seed ${seed}`, (t) => {
      const { acknowledged } = runRaft(seed, { profile });
      t.true(acknowledged > 0);
    });
  }
}

test('equal seeds give equal runs', (t) => {
  t.deepEqual(runRaft(7), runRaft(7));
});
