import type { Task } from '../../shared/gen/shoal/v1/objects.ts';
import { groupKey } from './plan.ts';

/** Tasks of one group that wait for a node. */
export type WaitingGroup = {
  readonly key: string;
  readonly serviceId: string;
  readonly nodeId: string | undefined;
  readonly tasks: Map<string, Task>;
  /** When a reason why they wait was replaced by another one last. */
  wordedAtMs: number;
};

/**
 * The tasks that wait for a node, in groups. A group is *fresh* until it is refused, and fresh again
 * when a task joins it or `refresh` is called.
 */
export class Queue {
  readonly #groups = new Map<string, WaitingGroup>();
  readonly #fresh = new Set<string>();

  get size(): number {
    return this.#groups.size;
  }

  put(task: Task): void {
    const id = queueKey(task);
    let group = this.#groups.get(id);
    if (group === undefined) {
      group = {
        key: groupKey(task),
        serviceId: task.serviceId,
        nodeId: task.nodeId || undefined,
        tasks: new Map(),
        wordedAtMs: 0,
      };
      this.#groups.set(id, group);
    }
    // A changed status is mostly our own note why the task waits: no reason to try again.
    if (!group.tasks.has(task.id)) this.#fresh.add(id);
    group.tasks.set(task.id, task);
  }

  /** `task` as it was put. */
  delete(task: Task): void {
    const id = queueKey(task);
    const group = this.#groups.get(id);
    if (group?.tasks.delete(task.id) && group.tasks.size === 0) {
      this.#groups.delete(id);
      this.#fresh.delete(id);
    }
  }

  /** Groups to try, oldest first. */
  fresh(): WaitingGroup[] {
    return [...this.#fresh].flatMap((id) => this.#groups.get(id) ?? []);
  }

  /** The group is not tried again until something helps. */
  refused(group: WaitingGroup): void {
    this.#fresh.delete(this.#idOf(group));
  }

  /** All groups are tried again. */
  refresh(): void {
    for (const id of this.#groups.keys()) this.#fresh.add(id);
  }

  #idOf(group: WaitingGroup): string {
    return group.nodeId === undefined ? group.key : `${group.key}/${group.nodeId}`;
  }
}

function queueKey(task: Task): string {
  return task.nodeId === '' ? groupKey(task) : `${groupKey(task)}/${task.nodeId}`;
}
