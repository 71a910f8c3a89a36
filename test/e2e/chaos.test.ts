// A minute of faults under clients of all managers. `npm run chaos` does the same for longer.

import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { runChaos, summaryOf } from '../chaos/run.ts';
import { faultsOf, withLostWrite, withStaleRead } from '../chaos/verdict.ts';

const SEED = 7;
const CHAOS_MS = 45_000;

test('what was acknowledged stays, and reads are linearizable, whatever fails', async (t) => {
  const historyFile = join(tmpdir(), 'shoal-chaos', `e2e-${SEED}.jsonl`);
  const again = `npm run chaos -- --seed ${SEED}, history in ${historyFile}`;
  const result = await runChaos({
    cluster: 'e2e-chs',
    seed: SEED,
    durationMs: CHAOS_MS,
    historyFile,
    tell: (line) => t.log(line),
  }).catch((error: unknown) => {
    throw new Error(`the run broke: ${again}`, { cause: error });
  });
  t.log(summaryOf(result));
  t.deepEqual(result.found, [], again);
  const { calls } = result.history;
  const won = calls.filter(({ input, output }) => input.kind === 'cas' && output === 1);
  t.true(won.length > 100, `only ${won.length} writes were acknowledged`);
  t.true(result.nemesis.done.size >= 8, 'hardly anything failed');
  // The same history with one wrong answer in it is not let through.
  t.not(faultsOf(withStaleRead(calls) ?? []).length, 0);
  t.not(faultsOf(withLostWrite(calls) ?? []).length, 0);
});
