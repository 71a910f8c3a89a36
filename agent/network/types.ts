import type { Endpoint, Host, ServiceVip } from '../../shared/gen/shoal/v1/dispatcher.ts';
import type { Network, PortConfig } from '../../shared/gen/shoal/v1/objects.ts';

/** A task of this host as the data plane sees it: it is wired from `attach` to `detach`. */
export type LocalTask = Readonly<{
  taskId: string;
  serviceId: string;
  /** The container's hostname, for its own lookups. */
  hostname: string;
  attachments: readonly Readonly<{
    networkId: string;
    /** CIDR, as allocated by the manager. */
    address: string;
  }>[];
  /** Ports in host mode: bound on this host's addresses and forwarded to the task. */
  hostPorts: readonly PortConfig[];
}>;

/** What `attach` made: the namespace for the container, and what its files shall say. */
export type Wiring = Readonly<{
  netnsPath: string;
  /** Nameserver lines and the rest of /etc/resolv.conf are made from these. */
  nameservers: readonly string[];
  /** Must be set in the container's network namespace (linux.sysctl of its OCI spec): the name server is reached by them. */
  sysctls: Readonly<Record<string, string>>;
  /** Host-mode ports with the published port that was bound (dynamic ones filled in). */
  hostPorts: readonly PortConfig[];
  interfaces: readonly Readonly<{
    networkId: string;
    address: string;
    gateway: string;
    macAddress: string;
    name: string;
  }>[];
}>;

/**
 * What the managers told this host, whole: the last versioned view. `revision` is the store index it was
 * read at. Only networks that concern this host are in it (plus the ingress network).
 */
export type NetworkView = Readonly<{
  revision: number;
  nodeId: string;
  dataPathPort: number;
  networks: ReadonlyMap<string, Network>;
  vips: ReadonlyMap<string, ServiceVip>; // key "NETWORK/SERVICE"
  endpoints: ReadonlyMap<string, Endpoint>; // key "NETWORK/TASK"
  hosts: ReadonlyMap<string, Host>; // key node id, this host included
}>;

/** Packets of one task, since it is counted; they begin anew when its table is made anew. */
export type TaskTraffic = Readonly<{
  /** Writes of clients, and of the task to them: with questions and answers each is one of both. */
  requests: number;
  replies: number;
  connections: number;
}>;

/** Tries to reach a service that has no task, by one of its ports or addresses; `total` may begin anew. */
export type Knocking = Readonly<{ key: string; serviceId: string; total: number }>;

/** What the data plane counts on the way of packets. */
export interface TrafficMeter {
  /** Counts these tasks' packets from the next round on, and no others'. */
  count(taskIds: ReadonlySet<string>): void;
  /** Those of the counted tasks that could be read. */
  traffic(): Promise<ReadonlyMap<string, TaskTraffic>>;
  /** Whether some service's clients may be held here now. */
  readonly isHolding: boolean;
  knocks(): Promise<readonly Knocking[]>;
}

/**
 * The data plane of this host. Everything in the kernel is derived from the view plus the local tasks:
 * at start, after an error and once a minute it is compared and mended. Crashing or stopping changes nothing.
 */
export interface DataPlane {
  /** Takes a new view; returns at once. Changes are coalesced; `appliedRevision` says how far the kernel is. */
  setView(view: NetworkView): void;
  readonly appliedRevision: number;
  /** What on this host stands in the way of services, for the administrator; found at start and once a minute. */
  readonly warnings: readonly string[];
  onApplied(listener: (revision: number) => void): () => void;
  /**
   * Makes the task's namespace and its links, addresses and routes; its networks must be in the view
   * (waits for them until the signal aborts). Repeating it is safe: the same wiring comes back.
   * Throws ShoalError `failed-precondition` when a host port is taken ("port 80/tcp is already in use on this host").
   */
  attach(task: LocalTask, signal: AbortSignal): Promise<Wiring>;
  /** Takes it all away. No error when it is gone already. */
  detach(taskId: string): Promise<void>;
  /**
   * At start, before anything else is done (none on a fresh host): tasks whose containers still run, so that their
   * wiring is kept. Everything else that is ours goes.
   */
  adopt(tasks: readonly LocalTask[]): Promise<void>;
  /** Removes everything of ours from the kernel: on leaving a cluster. */
  removeAll(): Promise<void>;
  /** Host side interface of a task's attachment, for counters. */
  hostInterface(taskId: string, networkId: string): { netnsPath: string; name: string } | undefined;
  close(): Promise<void>;
}
