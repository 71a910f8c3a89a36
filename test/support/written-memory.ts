import { handedOn, worthHandingOn } from '../../manager/autoscaler/handed-on.ts';
import { resumeMemory } from '../../manager/autoscaler/memory.ts';
import type { Decision } from '../../manager/autoscaler/types.ts';
import { worthRecording } from '../../manager/autoscaler/worth-recording.ts';
import type { ScaleMemory, ScaleRecord } from '../../shared/gen/shoal/v1/autoscale.ts';

/** What leaders write of the memory of one service, by the rules of the autoscaler's loop, and what the next one begins with. */
export class WrittenMemory {
  writes = 0;
  #memory: ScaleMemory | undefined;
  #atMs = 0;
  #record: ScaleRecord | undefined;

  decided({ memory, record, replicas }: Decision, nowMs: number): void {
    const tells = worthRecording(this.#record, record);
    const stored = { memory: this.#memory, atMs: this.#atMs };
    if (!tells && worthHandingOn(stored, memory, replicas, nowMs) === undefined) return;
    this.writes += 1;
    this.#memory = handedOn(memory, replicas, nowMs);
    this.#atMs = nowMs;
    if (tells) this.#record = record;
  }

  resumed(replicas: number, nowMs: number): ScaleMemory {
    return resumeMemory(this.#memory, replicas, nowMs);
  }
}
