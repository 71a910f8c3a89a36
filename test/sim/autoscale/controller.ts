import type { PlantTask } from './plant.ts';

/** Whoever decides about the count in a simulation. */
export interface Controller {
  readonly intervalMs: number;
  /** When in the interval it decides. */
  readonly phaseMs: number;
  decide(nowMs: number, replicas: number, tasks: readonly PlantTask[]): number;
  /** The process that decides is another one from now on. */
  restart(nowMs: number, replicas: number): void;
}
