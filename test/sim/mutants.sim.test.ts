/**
 * Goal: the simulation would notice. Method: one bug at a time is put into the core's own text (see
 * mutants.ts), and the profile that leans toward it is run from seed 1 on until a check fails.
 */
import test from 'ava';
import { loadMutant, MUTANTS } from './mutants.ts';
import { runRaft } from './raft-run.ts';

/** The rarest shows in one run of eighty or so; those that show at all stop the search at once. */
const MOST_SEEDS = 400;

for (const mutant of MUTANTS) {
  test(`the simulation notices a core that ${mutant.name}`, async (t) => {
    const createCore = await loadMutant(mutant);
    for (let seed = 1; seed <= MOST_SEEDS; seed++) {
      try {
        runRaft(seed, { profile: mutant.profile, createCore });
      } catch (error) {
        t.log(`seed ${seed}: ${error instanceof Error ? error.message.slice(0, 120) : error}`);
        t.pass();
        return;
      }
    }
    t.fail(`${MOST_SEEDS} runs went well with it`);
  });
}
