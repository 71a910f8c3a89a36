import { type Task, TaskState } from '../../shared/gen/shoal/v1/objects.ts';
import { isWanted } from '../../shared/model/task-state.ts';
import type { ChangeBatch, ReadView } from '../store/types.ts';
import { endpointOf, takesTraffic } from './items.ts';

/**
 * How long a stop waits for hosts to take the task out of their back-ends. They do within 0.2 s; a host that does
 * not, because it is dead, cut off or busy, must not hold a stop much longer than that.
 */
export const DRAIN_WAIT_MS = 2_000;

/** A task that was a back-end until `revision`, and shall stop. */
export type Drain = Readonly<{
  taskId: string;
  nodeId: string;
  /** Store index of the commit that took it out of the back-ends. */
  revision: number;
  networkIds: readonly string[];
}>;

/** Drains that wait for the same word of the leader. */
export type DrainGroup = Readonly<{
  drains: readonly Drain[];
  revision: number;
  networkIds: readonly string[];
  /** Begun by an earlier process of this manager: whose sessions they are is not known yet. */
  isResumed: boolean;
}>;

/**
 * The tasks whose stop waits for the hosts' acknowledgement. Every manager that saw the commit knows the same
 * ones, so an agent that changes sides meanwhile is told the same.
 */
export class Drains {
  readonly #open = new Set<string>();
  #gathered: Drain[] = [];
  #isResumed = false;

  /** Takes note of the tasks that cease to be back-ends; true when there are any. The view is at the batch. */
  committed(batch: ChangeBatch, view: ReadView): boolean {
    let isNews = false;
    for (const change of batch.changes) {
      if (change.table !== 'task' || change.previous === undefined) continue;
      if (change.action === 'remove') {
        this.#open.delete(change.object.id);
        continue;
      }
      const networkIds = drainedNetworks(change.previous, change.object, view);
      if (networkIds.length === 0) continue;
      const { id: taskId, nodeId } = change.object;
      this.#open.add(taskId);
      this.#gathered.push({ taskId, nodeId, revision: batch.index, networkIds });
      isNews = true;
    }
    return isNews;
  }

  /**
   * At the start: back-ends that shall stop and still run may be in the midst of it. The commit that stopped one is
   * no later than its last change, so a drain that was over is found to be so at once. True when there are any.
   */
  resume(view: ReadView): boolean {
    for (const task of view.all('task')) {
      if (isWanted(task.desiredState)) continue;
      const before = { ...task, desiredState: TaskState.RUNNING };
      const networkIds = drainedNetworks(before, task, view);
      if (networkIds.length === 0) continue;
      const { id: taskId, nodeId } = task;
      this.#open.add(taskId);
      this.#gathered.push({
        taskId,
        nodeId,
        revision: task.meta?.version ?? view.index,
        networkIds,
      });
      this.#isResumed = true;
    }
    return this.#isResumed;
  }

  /** What came since the last call, to be asked for together; undefined when nothing did. */
  take(): DrainGroup | undefined {
    const drains = this.#gathered;
    if (drains.length === 0) return undefined;
    const isResumed = this.#isResumed;
    this.#gathered = [];
    this.#isResumed = false;
    return {
      isResumed,
      drains,
      revision: Math.max(...drains.map(({ revision }) => revision)),
      networkIds: [...new Set(drains.flatMap(({ networkIds }) => networkIds))],
    };
  }

  has(taskId: string): boolean {
    return this.#open.has(taskId);
  }

  /** True while hosts' progress matters to somebody. */
  get isAnyOpen(): boolean {
    return this.#open.size > 0;
  }

  /** True when the task was still waiting. */
  close(taskId: string): boolean {
    return this.#open.delete(taskId);
  }
}

/**
 * The networks on which a task that shall stop from now on was a back-end. None, so that it stops at once: of a
 * task that never got ready or ended, and of one whose service is gone, for nobody may ask it any more.
 */
export function drainedNetworks(before: Task, after: Task, view: ReadView): readonly string[] {
  if (!isWanted(before.desiredState) || isWanted(after.desiredState)) return [];
  if (view.get('service', after.serviceId) === undefined) return [];
  const isOnline = takesTraffic(view.get('node', after.nodeId));
  const networkIds = new Set<string>();
  for (const { networkId } of after.networks) {
    const wasReady = endpointOf(before, networkId, isOnline)?.ready === true;
    if (wasReady && endpointOf(after, networkId, isOnline) !== undefined) networkIds.add(networkId);
  }
  return [...networkIds];
}
