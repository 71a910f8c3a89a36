/**
 * Goal: whole managers keep Raft's promises, and come together again once all is healed.
 *
 * Method: the production node with its orders about members, its snapshots and its way with full disks
 * on a virtual clock, disk and links; power fails at calls to the disk and the links, processes stand
 * still, links are cut, disks fill up, members come and go. Clients judge, as in raft.sim.test.ts.
 *
 * Again, alone: `npm run sim -- --managers --from SEED --seeds 1`.
 */
import test from 'ava';
import { runManagers } from './managers-run.ts';
import { loadNodeMutant, NODE_MUTANTS } from './node-mutants.ts';

const SEEDS = 300;
const EACH_TEST = 100;
const MOST_SEEDS = 400;

for (let from = 1; from <= SEEDS; from += EACH_TEST) {
  test(`managers keep their promises, seeds ${from} to ${from + EACH_TEST - 1}`, (t) => {
    let acknowledged = 0;
    for (let seed = from; seed < from + EACH_TEST; seed++) {
      acknowledged += runManagers(seed).acknowledged;
    }
    t.true(acknowledged > 30 * EACH_TEST);
  });
}

/** A newcomer, or a member that was away, was led by one whose address it had never heard. */
for (const seed of [218, 371, 421]) {
  test(`a member finds the way to a leader that joined while it was away, seed ${seed}`, (t) => {
    t.true(runManagers(seed).acknowledged > 0);
  });
}

test('equal seeds give equal runs of managers', (t) => {
  t.deepEqual(runManagers(5), runManagers(5));
});

for (const mutant of NODE_MUTANTS) {
  test.serial(`the simulation notices a node that ${mutant.name}`, async (t) => {
    const createNode = await loadNodeMutant(mutant);
    for (let seed = 1; seed <= MOST_SEEDS; seed++) {
      try {
        runManagers(seed, createNode);
      } catch (error) {
        t.log(`seed ${seed}: ${error instanceof Error ? error.message.slice(0, 100) : error}`);
        t.pass();
        return;
      }
    }
    t.fail(`${MOST_SEEDS} runs went well with it`);
  });
}
