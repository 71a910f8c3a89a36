import type { ClusterSpec } from './gen/shoal/v1/objects.ts';

/**
 * What shoald tells a manager process on its standard input, as one JSON text: how to be the manager of this
 * node. Goes over a pipe because a bootstrap carries the cluster's signing key, which must not lie in argv, in
 * the environment or on a disk in clear.
 */
export type ManagerStart = Readonly<{
  nodeId: string;
  clusterId: string;
  /** Raft log and snapshots. */
  stateDir: string;
  /** node.pem (key and certificate) and ca.crt; written anew by shoald when renewed. */
  certificateDir: string;
  /** Unix socket for this host's own shoald. */
  socketPath: string;
  /** host:port to listen on and to be reached at, for gRPC and for Raft. */
  listenAddress: string;
  advertiseAddress: string;
  raftListenAddress: string;
  raftAdvertiseAddress: string;
  /** What opens log and TLS key when they lock themselves, as `swarm unlock-key` shows it. */
  unlockKey?: string;
  mode: ManagerMode;
}>;

export type ManagerMode =
  /** The first manager of a new cluster. */
  | Readonly<{ kind: 'bootstrap'; bootstrap: ClusterBootstrap }>
  /** Goes on from its log; without one, or when it was removed, it asks a manager in `remotes` (host:port) to be added. */
  | Readonly<{ kind: 'run'; remotes: readonly string[] }>
  /** The first manager of a cluster that was lost, with the state of a backup. */
  | Readonly<{ kind: 'restore'; restore: ClusterRestore }>
  /** Goes on from its log as the only member: the other managers are lost for good. */
  | Readonly<{ kind: 'force-new' }>;

export type ClusterRestore = Readonly<{
  hostname: string;
  /** Of the backup. */
  index: number;
  /** Chunks of the store's snapshot, base64. */
  chunks: readonly string[];
}>;

export type ClusterBootstrap = Readonly<{
  rootCertificatePem: string;
  rootKeyPem: string;
  hostname: string;
  /** 0 active, 1 pause, 2 drain. */
  availability: number;
  defaultAddressPools: readonly string[];
  subnetSize: number;
  dataPathPort: number;
  /** As the rest, judged already and without anything left out (`model/cluster-spec.ts`). */
  spec: ClusterSpec;
}>;

/** Ports of a cluster's nodes, the same as Swarm's, so that firewall rules for Swarm fit. */
export const CONTROL_PORT = 2377;
export const RAFT_PORT = 7946;
export const DATA_PATH_PORT = 4789;
