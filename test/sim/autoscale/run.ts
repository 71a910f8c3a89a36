import { SeededRandom } from '../random.ts';
import type { Controller } from './controller.ts';
import { Plant, SERVICE_RATE, TICK_MS } from './plant.ts';
import type { Trace } from './traces.ts';

export const TARGET = 0.7;
export const MAX = 40;
/** Seconds with a smaller share of late requests are good ones. */
const LATE_SHARE = 0.01;

export type Outcome = Readonly<{
  /** The longest time in which each second had late requests, seconds. */
  recoverySeconds: number;
  /** Task-seconds above what the load needed at the target. */
  overProvisioned: number;
  /** Requests that waited longer than they should. */
  late: number;
  requests: number;
  /** When the count was changed, milliseconds of the trace. */
  changedAtMs: readonly number[];
  most: number;
}>;

/** Plays a trace through a controller. The first minute, in which both find their count, is not judged. */
export function run(trace: Trace, controller: Controller, seed: number): Outcome {
  const plant = new Plant(trace.plant, new SeededRandom(seed));
  const needed = (rate: number) => Math.max(1, Math.ceil(rate / SERVICE_RATE / TARGET - 1e-9));
  let replicas = needed(trace.rate(0));
  plant.scale(replicas, -120_000, 0);
  const outcome = { overProvisioned: 0, late: 0, requests: 0, most: replicas };
  const changedAtMs: number[] = [];
  let second = { arrived: 0, late: 0 };
  let bad = 0;
  let recoverySeconds = 0;
  for (let nowMs = -60_000; nowMs < trace.durationMs; nowMs += TICK_MS) {
    const judged = nowMs >= 0;
    const rate = trace.rate(Math.max(0, nowMs));
    const { arrived, late } = plant.tick(nowMs, rate);
    second = { arrived: second.arrived + arrived, late: second.late + late };
    if (judged) {
      outcome.late += late;
      outcome.requests += arrived;
      outcome.overProvisioned += (Math.max(0, replicas - needed(rate)) * TICK_MS) / 1000;
    }
    const endMs = nowMs + TICK_MS;
    if (endMs % 1000 === 0) {
      plant.measure(endMs);
      bad = judged && second.late > second.arrived * LATE_SHARE ? bad + 1 : 0;
      recoverySeconds = Math.max(recoverySeconds, bad);
      second = { arrived: 0, late: 0 };
    }
    if (trace.restartMs > 0 && endMs % trace.restartMs === 0) controller.restart(endMs, replicas);
    if ((endMs - controller.phaseMs) % controller.intervalMs !== 0) continue;
    const next = Math.min(MAX, controller.decide(endMs, replicas, plant.tasks));
    if (next === replicas) continue;
    if (judged) changedAtMs.push(endMs);
    replicas = next;
    outcome.most = Math.max(outcome.most, next);
    plant.scale(replicas, endMs);
  }
  return { ...outcome, changedAtMs, recoverySeconds };
}
