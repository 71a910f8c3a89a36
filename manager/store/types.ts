import type {
  Autoscaling,
  Cluster,
  Config,
  Network,
  Node,
  Secret,
  Service,
  Task,
} from '../../shared/gen/shoal/v1/objects.ts';
import type { StoreAction } from '../../shared/gen/shoal/v1/store.ts';

export interface Tables {
  cluster: Cluster;
  node: Node;
  service: Service;
  task: Task;
  network: Network;
  secret: Secret;
  config: Config;
  autoscaling: Autoscaling;
}
export type TableName = keyof Tables;

/**
 * The replicated tables as they are at `index`. Objects are immutable values: a change makes a new
 * one. Reads are synchronous, so what is read between two awaits is one snapshot.
 */
export interface ReadView {
  /** Raft index of the last entry applied. */
  readonly index: number;
  get<K extends TableName>(table: K, id: string): Tables[K] | undefined;
  all<K extends TableName>(table: K): Iterable<Tables[K]>;
  count(table: TableName): number;
  /** Services, networks, secrets and configs have unique names; nodes are looked up by hostname, the first wins. */
  byName<K extends TableName>(table: K, name: string): Tables[K] | undefined;
  /** At most `limit` objects whose id starts with `prefix`. */
  byIdPrefix<K extends TableName>(table: K, prefix: string, limit: number): readonly Tables[K][];
  tasksOfService(serviceId: string): Iterable<Task>;
  tasksOfNode(nodeId: string): Iterable<Task>;
  /** The one Cluster object; undefined before bootstrap. */
  cluster(): Cluster | undefined;
}

export type Change = {
  [K in TableName]: Readonly<{
    action: 'create' | 'update' | 'remove';
    table: K;
    object: Tables[K];
    /** What it was before: of updates and removes. */
    previous: Tables[K] | undefined;
  }>;
}[TableName];

/** All changes of one applied entry. */
export type ChangeBatch = Readonly<{
  index: number;
  changes: readonly Change[];
  /** When the entry was proposed; not known of a difference that came as a snapshot. */
  atMs?: number;
}>;

export interface WatchableStore extends ReadView {
  /** Called synchronously after each applied entry, in order. Returns how to stop it. */
  onCommit(listener: (batch: ChangeBatch) => void): () => void;
  /**
   * Batches after index `from` (default: from now), in order and without gaps. Throws ShoalError
   * `failed-precondition` when `from` is no longer kept (list again), `resource-exhausted` when the
   * reader is too slow: a watcher is cut, never skipped.
   */
  watch(options: { from?: number; signal: AbortSignal }): AsyncIterable<ChangeBatch>;
}

/**
 * The only way to change the store; works on the leader. One call is one Raft entry, answered after
 * it is committed and applied here, with its index. Throws NotLeaderError (nothing was done),
 * ShoalError `out-of-sequence` / `already-exists` / `not-found` when a check failed (nothing was
 * done), `resource-exhausted` (too large or too much in flight), `unknown-outcome`.
 */
export interface Writer {
  write(actions: readonly StoreAction[], signal?: AbortSignal): Promise<number>;
}
