import { type Node, type Task, TaskState } from '../../shared/gen/shoal/v1/objects.ts';
import { sameValue } from '../../shared/model/equal.ts';
import { isWanted } from '../../shared/model/task-state.ts';
import type { Change, ReadView } from '../store/types.ts';
import { type ClusterView, FAILURE_WINDOW_MS, FAILURES_TO_AVOID, groupKey } from './plan.ts';
import { claimOf, isOnNode, MutableUsage, NO_USAGE, type NodeUsage } from './usage.ts';

/** What a change means to tasks that wait. */
export type MirrorEffect = Readonly<{
  /** Something was freed, or a node changed: tasks that were refused may fit now. */
  roomMayHaveGrown: boolean;
}>;

/**
 * The scheduler's picture of the cluster: nodes, what their tasks take, and who failed where. Follows
 * the store change by change; nothing in it is stored.
 */
export class Mirror implements ClusterView {
  readonly #nodes = new Map<string, Node>();
  readonly #usage = new Map<string, MutableUsage>();
  /** Node, then group: when tasks failed, newest last, no more than count. */
  readonly #failures = new Map<string, Map<string, number[]>>();
  #nowMs = 0;

  load(view: ReadView, nowMs: number): void {
    this.#nowMs = nowMs;
    for (const node of view.all('node')) this.#nodes.set(node.id, node);
    for (const task of view.all('task')) {
      if (isOnNode(task)) this.#usageOf(task.nodeId).add(claimOf(task));
      else if (failed(task)) this.#noteFailure(task, Math.min(nowMs, task.status?.atMs ?? 0));
    }
  }

  apply(change: Change, nowMs: number): MirrorEffect {
    this.#nowMs = nowMs;
    switch (change.table) {
      case 'node':
        return { roomMayHaveGrown: this.#applyNode(change) };
      case 'task':
        return { roomMayHaveGrown: this.#applyTask(change, nowMs) };
      default:
        return { roomMayHaveGrown: false };
    }
  }

  get nodeCount(): number {
    return this.#nodes.size;
  }

  nodes(): Iterable<Node> {
    return this.#nodes.values();
  }

  node(id: string): Node | undefined {
    return this.#nodes.get(id);
  }

  usage(nodeId: string): NodeUsage {
    return this.#usage.get(nodeId) ?? NO_USAGE;
  }

  failures(nodeId: string, key: string): number {
    const times = this.#failures.get(nodeId)?.get(key);
    if (times === undefined) return 0;
    const since = this.#nowMs - FAILURE_WINDOW_MS;
    return times.filter((atMs) => atMs >= since).length;
  }

  /** Old failures are only looked at, never removed, by `failures`: called now and then. */
  forgetFailures(nowMs: number): void {
    this.#nowMs = nowMs;
    for (const [nodeId, groups] of this.#failures) {
      for (const key of groups.keys()) if (this.failures(nodeId, key) === 0) groups.delete(key);
      if (groups.size === 0) this.#failures.delete(nodeId);
    }
  }

  #applyNode(change: Extract<Change, { table: 'node' }>): boolean {
    const { object, previous } = change;
    if (change.action === 'remove') {
      this.#nodes.delete(object.id);
      this.#failures.delete(object.id);
      return false;
    }
    this.#nodes.set(object.id, object);
    if (previous === undefined) return true;
    return (
      previous.spec !== object.spec ||
      !sameValue(previous.description, object.description) ||
      previous.status?.state !== object.status?.state ||
      previous.certificateRole !== object.certificateRole
    );
  }

  #applyTask(change: Extract<Change, { table: 'task' }>, nowMs: number): boolean {
    const { previous } = change;
    const object = change.action === 'remove' ? undefined : change.object;
    if (object && failed(object) && !(previous && failed(previous))) {
      this.#noteFailure(object, nowMs);
    }
    const was = previous && isOnNode(previous) ? previous : undefined;
    const is = object && isOnNode(object) ? object : undefined;
    if (was && is && sameClaim(was, is)) return false;
    if (was) {
      const usage = this.#usageOf(was.nodeId);
      usage.subtract(claimOf(was));
      if (!is && usage.isEmpty) this.#usage.delete(was.nodeId);
    }
    if (is) this.#usageOf(is.nodeId).add(claimOf(is));
    return was !== undefined;
  }

  #usageOf(nodeId: string): MutableUsage {
    const known = this.#usage.get(nodeId);
    if (known !== undefined) return known;
    const usage = new MutableUsage();
    this.#usage.set(nodeId, usage);
    return usage;
  }

  #noteFailure(task: Task, atMs: number): void {
    if (atMs < this.#nowMs - FAILURE_WINDOW_MS) return;
    const groups = this.#failures.get(task.nodeId) ?? new Map<string, number[]>();
    this.#failures.set(task.nodeId, groups);
    const key = groupKey(task);
    const times = [...(groups.get(key) ?? []), atMs].sort((a, b) => a - b);
    groups.set(key, times.slice(-FAILURES_TO_AVOID));
  }
}

/** Waits for a node: allocated, wanted, not assigned. */
export function isPending(task: Task): boolean {
  return task.status?.state === TaskState.PENDING && isWanted(task.desiredState);
}

function failed(task: Task): boolean {
  const state = task.status?.state;
  return task.nodeId !== '' && (state === TaskState.FAILED || state === TaskState.REJECTED);
}

/** Whether both take the same: what can change while a task runs is whether it shall run. */
function sameClaim(before: Task, after: Task): boolean {
  return isWanted(before.desiredState) === isWanted(after.desiredState);
}
