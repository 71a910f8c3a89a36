import { decide } from '../../../manager/autoscaler/decide.ts';
import { EMPTY_MEMORY } from '../../../manager/autoscaler/memory.ts';
import type { TaskView, Windowed } from '../../../manager/autoscaler/types.ts';
import type { AutoscaleSpec, ScaleMemory } from '../../../shared/gen/shoal/v1/autoscale.ts';
import {
  DECISION_INTERVAL_MS,
  METRIC_WINDOW_MS,
  withAutoscaleDefaults,
} from '../../../shared/model/autoscale.ts';
import { nsToMs } from '../../../shared/model/units.ts';
import { WrittenMemory } from '../../support/written-memory.ts';
import type { Controller } from './controller.ts';
import type { PlantTask } from './plant.ts';

/** The production decision, fed as the leader feeds it: once a second, from samples of a second. */
export class ShoalController implements Controller {
  readonly intervalMs = DECISION_INTERVAL_MS;
  /** Samples are on their way for half a second. */
  readonly phaseMs = 500;
  readonly #spec: AutoscaleSpec;
  readonly #fastMs: number;
  #memory: ScaleMemory = EMPTY_MEMORY;
  readonly #written = new WrittenMemory();
  #ledSinceMs = 0;
  #setReplicas: number | undefined;

  constructor(spec: AutoscaleSpec) {
    this.#spec = spec;
    this.#fastMs = nsToMs(withAutoscaleDefaults(spec).fast.windowNs);
  }

  decide(nowMs: number, replicas: number, tasks: readonly PlantTask[]): number {
    const loads = tasks.map(
      (task): Windowed => ({
        stable: this.#mean(task, nowMs - METRIC_WINDOW_MS),
        fast: this.#mean(task, nowMs - this.#fastMs),
      }),
    );
    const views = tasks.map((task): TaskView => {
      const ready = task.readyMs <= nowMs;
      return { phase: ready ? 'ready' : 'starting', readySinceMs: ready ? task.readyMs : 0 };
    });
    const input = {
      replicas,
      setReplicas: this.#setReplicas,
      tasks: views,
      metrics: [{ kind: 'tasks', loads } as const],
      request: { cores: 1, memoryBytes: undefined },
      updating: false,
      knocks: 0,
    };
    const decision = decide(this.#spec, this.#memory, input, nowMs);
    this.#memory = decision.memory;
    this.#written.decided(decision, nowMs);
    if (decision.replicas !== replicas) this.#setReplicas = decision.replicas;
    return decision.replicas;
  }

  restart(nowMs: number, replicas: number): void {
    this.#ledSinceMs = nowMs;
    this.#memory = this.#written.resumed(replicas, nowMs);
  }

  #mean(task: PlantTask, sinceMs: number): number | undefined {
    let sum = 0;
    let count = 0;
    for (let i = task.samples.length - 1; i >= 0; i--) {
      const sample = task.samples[i];
      // A new leader has only what agents sent to it.
      if (sample === undefined || sample.atMs <= Math.max(sinceMs, this.#ledSinceMs)) break;
      sum += sample.cpu;
      count++;
    }
    return count === 0 ? undefined : sum / count;
  }
}
