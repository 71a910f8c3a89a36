import type { LogDriver, Node, Task } from '../../shared/gen/shoal/v1/objects.ts';
import type { DirtyCheck } from './dirty.ts';

/** What the leader saw of a task's run, by its own clock. Undefined: not seen since it leads. */
export type Life = Readonly<{ runningSinceMs?: number; endedAtMs?: number }>;

/** The cluster around one service, as it is when a round begins. */
export interface ClusterContext {
  readonly nowMs: number;
  /** Tasks kept per slot, the present one included; negative: all. */
  readonly historyLimit: number;
  readonly defaultLogDriver: LogDriver | undefined;
  node(id: string): Node | undefined;
  nodes(): Iterable<Node>;
  /** From when on the tasks of a node that is down may be replaced. */
  mayReplaceAtMs(nodeId: string): number;
  /** Undefined: it is not down. */
  downSinceMs(nodeId: string): number | undefined;
  /** Only of tasks of services that are being updated. */
  life(taskId: string): Life | undefined;
  newId(): string;
}

/** The same with what is fixed while one service is looked at. */
export type ServiceContext = Readonly<{
  cluster: ClusterContext;
  nowMs: number;
  dirty: DirtyCheck;
}>;

export function isDirty(context: ServiceContext, task: Task): boolean {
  return context.dirty.isDirty(task, nodeOf(context, task));
}

export function nodeOf({ cluster }: ServiceContext, task: Task): Node | undefined {
  return task.nodeId === '' ? undefined : cluster.node(task.nodeId);
}
