/**
 * Goal: the simulation would notice. Method: one bug at a time is put into the production text (see
 * mutants.ts), and the profile that leans toward it is run from seed 1 on until a check fails.
 */
import test from 'ava';
import { MUTANTS } from './mutant-list.ts';
import { catchMutant, loadMutant } from './mutants.ts';

/** Several times what the rarest needs; those that show at all stop the search at once. */
const MOST_SEEDS = 600;

for (const mutant of MUTANTS) {
  // One after the other: they share the loader, and each may take seconds.
  test.serial(`the simulation notices a manager that ${mutant.name}`, async (t) => {
    const caught = await catchMutant(mutant, MOST_SEEDS);
    t.log(caught === undefined ? 'never' : `seed ${caught.seed}: ${caught.why}`);
    t.truthy(caught, `${MOST_SEEDS} runs went well with it`);
  });
}

test.serial('a mutant whose text is not there fails loudly', async (t) => {
  const stale = { name: 'old', edits: [{ file: 'vote.ts', find: 'no such text', replace: '' }] };
  await t.throwsAsync(loadMutant(stale), { message: /is 0 times in vote.ts/ });
});
