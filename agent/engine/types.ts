import type {
  ClusterInfo,
  GetAutoscalingRequest,
  GetAutoscalingResponse,
  ListRequest,
  ServiceStatusCount,
  UpdateClusterRequest,
  UpdateRequest,
  WatchChunk,
} from '../../shared/gen/shoal/v1/control.ts';
import type { LogMessage, LogSubscription } from '../../shared/gen/shoal/v1/logs.ts';
import type {
  ClusterSpec,
  NodeAvailability,
  NodeDescription,
  StoreObject,
} from '../../shared/gen/shoal/v1/objects.ts';

import type { Head } from './list-chunk.ts';

/** Where this host stands, as `docker info` shows it. */
export type NodeStanding = Readonly<{
  localState: 'inactive' | 'active' | 'locked';
  nodeId: string; // empty when inactive
  nodeAddress: string;
  isManager: boolean;
  remoteManagers: readonly Readonly<{ nodeId: string; address: string }>[];
  clusterId: string;
  description: NodeDescription;
  /** What the administrator of this host has to see to. */
  warnings: readonly string[];
}>;

export type InitRequest = Readonly<{
  listenAddress: string;
  advertiseAddress: string;
  dataPathAddress: string;
  dataPathPort: number;
  defaultAddressPools: readonly string[];
  subnetSize: number;
  forceNewCluster: boolean;
  availability: NodeAvailability;
  /** What was left out is 0 or empty. */
  spec: ClusterSpec;
  autoLock: boolean;
}>;

export type JoinRequest = Readonly<{
  remoteAddresses: readonly string[];
  joinToken: string;
  listenAddress: string;
  advertiseAddress: string;
  dataPathAddress: string;
  availability: NodeAvailability;
}>;

export type RestoreRequest = Readonly<{
  listenAddress: string;
  advertiseAddress: string;
  dataPathAddress: string;
  /** Encoded BackupMessages. */
  messages: AsyncIterable<Uint8Array>;
}>;

/** This host's membership in a cluster; implemented by the node supervisor (agent/node). */
export interface Membership {
  standing(): NodeStanding;
  /** The node's id once its manager answers. Throws ShoalError `unavailable`, in Docker's words, on a node of a cluster. */
  init(request: InitRequest, signal: AbortSignal): Promise<string>;
  join(request: JoinRequest, signal: AbortSignal): Promise<void>;
  leave(force: boolean, signal: AbortSignal): Promise<void>;
  /** With the key that `docker swarm unlock-key` showed; `failed-precondition` when nothing is locked. */
  unlock(key: string, signal: AbortSignal): Promise<void>;
  /** Present while this host is a manager. */
  clusterInfo(signal: AbortSignal): Promise<ClusterInfo | undefined>;
  /** Encoded BackupMessages of the whole cluster. Throws ShoalError `unavailable` where this host is no manager. */
  backup(signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** As `init`, with the state of a backup: this host becomes the first manager of that cluster. */
  restore(request: RestoreRequest, signal: AbortSignal): Promise<string>;
}

export type ListFilters = Partial<Omit<ListRequest, 'kind' | 'stale'>>;

type StoreKinds = NonNullable<StoreObject['kind']>;
export type ObjectKind = Exclude<StoreKinds['$case'], 'cluster'>;
export type ObjectOf<K extends ObjectKind> = Extract<StoreKinds, { $case: K }>['value'];

/** How the reads of one request are made, and where that was. */
export interface Reads {
  /** From this manager's replica, however old it is: also without a leader. */
  readonly stale: boolean;
  /** Told the replica's index of each read. */
  note(index: number): void;
}

/** From where on changes are told: now, a time, or after the index of what was told before. */
export type WatchStart =
  | 'now'
  | Readonly<{ kind: 'since'; ms: number }>
  | Readonly<{ kind: 'after'; index: number }>;

/**
 * The cluster, through the manager of this host. Reads are linearizable unless `reads` say else. Objects of another
 * kind than asked for never come back. Errors are ShoalError with the manager's words.
 */
export interface ControlClient {
  /** By full id, else exact name, else unique id prefix. */
  get<K extends ObjectKind>(
    kind: K,
    id: string,
    signal?: AbortSignal,
    reads?: Reads,
  ): Promise<ObjectOf<K>>;
  list<K extends ObjectKind>(
    kind: K,
    request: ListFilters,
    signal?: AbortSignal,
    reads?: Reads,
  ): Promise<
    Readonly<{
      objects: readonly ObjectOf<K>[];
      /** Services listed with `withStatus`: one for each object, in their order. */
      serviceStatus: readonly ServiceStatusCount[];
    }>
  >;
  /**
   * A list of which only what is new needs to be decoded: `each` is called for every object, in order,
   * with its id and version.
   */
  listHeads<K extends ObjectKind, T>(
    kind: K,
    request: ListFilters,
    each: (head: Head, object: () => ObjectOf<K>) => T,
    signal?: AbortSignal,
    reads?: Reads,
  ): Promise<Readonly<{ items: readonly T[]; serviceStatus: readonly ServiceStatusCount[] }>>;
  create(object: StoreObject, signal?: AbortSignal): Promise<StoreObject>;
  update(request: UpdateRequest, signal?: AbortSignal): Promise<StoreObject>;
  remove(kind: ObjectKind, id: string, force: boolean, signal?: AbortSignal): Promise<void>;
  /** Its index is not told. */
  getCluster(signal?: AbortSignal, reads?: Pick<Reads, 'stale'>): Promise<ClusterInfo>;
  updateCluster(request: UpdateClusterRequest, signal?: AbortSignal): Promise<ClusterInfo>;
  /** How services follow their load, as the leader sees it now; without `services` all that do. */
  autoscaling(
    request: GetAutoscalingRequest,
    signal?: AbortSignal,
  ): Promise<GetAutoscalingResponse>;
  /** What opens managers that lock themselves; empty when they do not. */
  unlockKey(signal: AbortSignal): Promise<Uint8Array>;
  /**
   * Changes until the signal aborts; throws when the manager goes away, and `failed-precondition` when those
   * after an index are no longer kept. A chunk without events tells how far all was told, and after those
   * since a time where the present begins.
   */
  watch(
    kinds: readonly ObjectKind[],
    start: WatchStart,
    signal: AbortSignal,
  ): AsyncIterable<WatchChunk>;
  /** Lines as they come; ends after the last one unless it follows. */
  serviceLogs(subscription: LogSubscription, signal: AbortSignal): AsyncIterable<LogMessage>;
}

/** What this host is, as `docker info` and `docker version` show it. Read once. */
export type HostFacts = Readonly<{
  hostname: string;
  kernelVersion: string;
  operatingSystem: string;
  osVersion: string;
  /** As `uname -m`: x86_64. */
  machine: string;
  /** As Go: amd64. */
  architecture: string;
  cpus: number;
  memoryBytes: number;
  cgroupVersion: 1 | 2;
  stateDirectory: string;
  containerdVersion: string;
  runcVersion: string;
  /** Shoal's own version. */
  shoalVersion: string;
}>;

/** One process as `ps -ef` shows it. */
export type ProcessRow = Readonly<{
  user: string;
  pid: number;
  parentPid: number;
  cpuPercent: number;
  /** Unix seconds. */
  startedAt: number;
  tty: string;
  cpuSeconds: number;
  command: string;
}>;

/** The host's process table. Processes that have ended are left out. */
export interface ProcessTable {
  describe(pids: readonly number[]): Promise<readonly ProcessRow[]>;
}
