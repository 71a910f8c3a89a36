/**
 * `npm run chaos -- [--minutes N] [--seed S] [--history FILE] [--stale]`: a run on real processes, as root. Ends
 * with 1 and says what is wrong, the seed and where the history lies when something is.
 */
import { parseArgs } from 'node:util';
import { ChaosCluster } from './cluster.ts';
import { runChaos, summaryOf } from './run.ts';

const CLUSTER = 'chaos';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    seed: { type: 'string' },
    history: { type: 'string' },
    stale: { type: 'boolean', default: false },
  },
});
const minutes = Number(values.minutes);
const seed = Number(values.seed ?? Date.now() % 1_000_000_007);
if (!(minutes > 0) || !Number.isInteger(seed)) throw new RangeError('see the head of this file');
const historyFile = values.history ?? `/tmp/shoal-chaos/${seed}.jsonl`;
process.once('SIGINT', async () => {
  await new ChaosCluster(CLUSTER).down();
  process.exit(130);
});

console.log(`chaos: seed ${seed}, ${minutes} minutes, history in ${historyFile}`);
const result = await runChaos({
  cluster: CLUSTER,
  seed,
  durationMs: minutes * 60_000,
  historyFile,
  staleReads: values.stale,
  tell: console.log,
});
console.log(summaryOf(result));
for (const line of result.found.slice(0, 20)) console.error(line);
console.log(
  result.found.length === 0
    ? 'verdict: linearizable, nothing acknowledged was lost, all managers hold the same'
    : `verdict: ${result.found.length} faults; again with --seed ${seed} --minutes ${minutes}, history in ${historyFile}`,
);
process.exitCode = result.found.length === 0 ? 0 : 1;
