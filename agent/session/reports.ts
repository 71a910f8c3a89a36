import type { TaskStatusReport } from '../../shared/gen/shoal/v1/dispatcher.ts';
import type { TaskStatusChange } from '../../shared/gen/shoal/v1/store.ts';

const BATCH_MOST = 1024; // as Swarm's agents

/**
 * Statuses on their way to the managers: the last one per task counts. One batch is on its way at a time; it is
 * kept until it is acknowledged, and sent again on the next session.
 */
export class ReportQueue {
  readonly #waiting = new Map<string, TaskStatusChange>();
  #underway: { sequence: number; changes: readonly TaskStatusChange[] } | undefined;
  #sequence = 0;

  put(change: TaskStatusChange): void {
    this.#waiting.set(change.taskId, change);
  }

  /** The next batch to send; undefined when none waits or one is under way. */
  next(): TaskStatusReport | undefined {
    if (this.#underway !== undefined || this.#waiting.size === 0) return undefined;
    const changes = [...this.#waiting.values()].slice(0, BATCH_MOST);
    for (const { taskId } of changes) this.#waiting.delete(taskId);
    this.#sequence += 1;
    this.#underway = { sequence: this.#sequence, changes };
    return { sequence: this.#sequence, changes: [...changes] };
  }

  acknowledge(sequence: number): void {
    if (this.#underway !== undefined && sequence >= this.#underway.sequence)
      this.#underway = undefined;
  }

  /** A session began or was lost: what was not acknowledged waits again, unless something newer does. */
  restart(): void {
    for (const change of this.#underway?.changes ?? []) {
      if (!this.#waiting.has(change.taskId)) this.#waiting.set(change.taskId, change);
    }
    this.#underway = undefined;
    this.#sequence = 0;
  }
}
