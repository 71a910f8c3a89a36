import type { AutoscaleSpec } from '../../../shared/gen/shoal/v1/autoscale.ts';
import { HpaController } from './hpa.ts';
import { MAX, type Outcome, run, TARGET } from './run.ts';
import { ShoalController } from './shoal.ts';
import { TRACES, type Trace } from './traces.ts';

export type Compared = Readonly<{ trace: Trace; shoal: Outcome; hpa: Outcome }>;

/** Nothing but what an operator must say: the target, and how many at most. */
export const SPEC: AutoscaleSpec = {
  mode: '',
  max: MAX,
  metrics: [{ name: '', kind: { $case: 'cpu', value: { utilization: TARGET } } }],
  schedules: [],
};

/** Each trace through both, with the same chance. */
export function compareAll(seed: number, spec: AutoscaleSpec = SPEC): Compared[] {
  return TRACES.map((trace) => ({
    trace,
    shoal: run(trace, new ShoalController(spec), seed),
    hpa: run(trace, new HpaController(TARGET, MAX), seed),
  }));
}

/** Better than HPA, or as good, by cost and by late requests. */
export function isAsGood({ shoal, hpa }: Compared): boolean {
  return shoal.overProvisioned <= hpa.overProvisioned && shoal.late <= hpa.late;
}
