import { compareAll, isAsGood } from './compare.ts';
import type { Outcome } from './run.ts';

/** npm run sim:autoscale [-- SEED]: the ten traces through our defaults and through HPA's. */
const seed = Number(process.argv[2] ?? 1);
const WIDTHS = [24, 6, 10, 11, 10, 9, 7, 9] as const;
const line = (cells: readonly (string | number)[]) =>
  cells.map((cell, i) => String(cell).padEnd(WIDTHS[i] ?? 8)).join(' ');
const row = (name: string, by: string, outcome: Outcome, verdict: string) =>
  line([
    name,
    by,
    outcome.recoverySeconds,
    Math.round(outcome.overProvisioned),
    Math.round(outcome.late),
    ((100 * outcome.late) / outcome.requests).toFixed(2),
    outcome.changedAtMs.length,
    outcome.most,
    verdict,
  ]);

const compared = compareAll(seed);
console.log(
  line(['trace', 'by', 'recover s', 'over task-s', 'late', 'late %', 'changes', 'most', '']),
);
for (const each of compared) {
  console.log(
    row(
      each.trace.name,
      'shoal',
      each.shoal,
      isAsGood(each) ? 'as good or better on both' : 'not on both',
    ),
  );
  console.log(row('', 'hpa', each.hpa, ''));
}
console.log(
  `seed ${seed}: as good or better on both in ${compared.filter(isAsGood).length} of ${compared.length}`,
);
