/** `npm run sim -- --seeds 1000 --from 1`: runs seeds one after the other, and names those that fail. */
import { parseArgs } from 'node:util';
import { PROFILES } from './raft-profile.ts';
import { runRaft } from './raft-run.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '100' },
    from: { type: 'string', default: '1' },
    profile: { type: 'string', default: 'mixed' },
    verbose: { type: 'boolean', default: false },
  },
});
const from = Number(values.from);
const count = Number(values.seeds);
if (!Number.isInteger(from) || !Number.isInteger(count) || count < 1) {
  throw new RangeError('--seeds and --from must be whole numbers, --seeds at least 1');
}
const profile = PROFILES.find((name) => name === values.profile);
if (profile === undefined) throw new RangeError(`--profile must be one of ${PROFILES.join(', ')}`);
let failed = 0;
const total = { acknowledged: 0, reads: 0, terms: 0 };
const startedMs = performance.now();
for (let seed = from; seed < from + count; seed++) {
  try {
    const seedMs = performance.now();
    const { acknowledged, reads, lastTerm } = runRaft(seed, { profile });
    total.acknowledged += acknowledged;
    total.reads += reads;
    total.terms += lastTerm;
    if (values.verbose) {
      const tookMs = Math.round(performance.now() - seedMs);
      console.log(
        `seed ${seed}: ${acknowledged} writes, ${reads} reads, term ${lastTerm}, ${tookMs} ms`,
      );
    }
  } catch (error) {
    failed++;
    console.log(
      `seed ${seed} FAILED: ${error instanceof Error ? (error.stack ?? error.message) : error}`,
    );
  }
}
const tookMs = Math.round(performance.now() - startedMs);
console.log(
  `${count} seeds in ${tookMs} ms, ${failed} failed: ${total.acknowledged} writes acknowledged, ` +
    `${total.reads} reads answered, ${total.terms} terms`,
);
process.exitCode = failed === 0 ? 0 : 1;
