import type { Clock } from '../../shared/clock.ts';
import type { BackupMessage, ClusterInfo } from '../../shared/gen/shoal/v1/control.ts';
import type { NodeAvailability, NodeDescription } from '../../shared/gen/shoal/v1/objects.ts';
import type { Log } from '../../shared/log.ts';
import type { ManagerMode } from '../../shared/manager-start.ts';
import type { TlsIdentity } from '../../shared/pki/identity.ts';
import type { InterfaceAddress } from './address.ts';
import type { ManagerCounts } from './quorum.ts';
import type { NodeRecord } from './record.ts';

/** All that runs on a node because it is in a cluster: manager process, session, tasks, data plane. */
export interface ClusterSide {
  /** As it is now: the role and the list of managers change while it runs. */
  readonly record: NodeRecord;
  /** Resolves when the node does what its role asks: on a manager, when the manager answers. */
  ready(signal: AbortSignal): Promise<void>;
  clusterInfo(signal: AbortSignal): Promise<ClusterInfo | undefined>;
  /** How the managers are, as the cluster sees them; undefined where this host is none. */
  quorum(signal: AbortSignal): Promise<ManagerCounts | undefined>;
  /** The whole cluster's state; undefined where this host is no manager. */
  backup(signal: AbortSignal): AsyncIterable<BackupMessage> | undefined;
  managers(): readonly Readonly<{ nodeId: string; address: string }>[];
  /** What the administrator of this host has to see to. */
  warnings(): readonly string[];
  /** Asks the cluster to take this manager out of the quorum. */
  resign(signal: AbortSignal): Promise<void>;
  /** Ends and removes everything that the membership brought: containers, links, processes. */
  tearDown(): Promise<void>;
  /** Lets go without changing anything that runs. */
  close(): Promise<void>;
}

export interface MembershipStore {
  /** Without an identity while its key is locked. */
  load(): Promise<{ record: NodeRecord; identity: TlsIdentity | undefined } | undefined>;
  saveRecord(record: NodeRecord): Promise<void>;
  saveIdentity(identity: TlsIdentity): Promise<void>;
  /** Of a node whose TLS key is locked. Throws `unauthenticated` when `key` is not the one. */
  unlock(key: Uint8Array): Promise<TlsIdentity>;
  clear(): Promise<void>;
}

export type Founding = Readonly<{
  nodeId: string;
  clusterId: string;
  identity: TlsIdentity;
  rootCertificatePem: string;
  rootKeyPem: string;
}>;

export type Enrolment = Readonly<{
  nodeId: string;
  clusterId: string;
  role: NodeRecord['role'];
  identity: TlsIdentity;
  managers: NodeRecord['managers'];
}>;

export type MembershipDeps = Readonly<{
  store: MembershipStore;
  clock: Clock;
  log: Log;
  hostname: string;
  /** Used where the request names no address. */
  advertiseAddress: string;
  interfaces(): readonly InterfaceAddress[];
  describe(): NodeDescription;
  found(validityMs: number): Founding;
  /** For a cluster that there was, of which only this is left. */
  refound(
    root: Readonly<{ clusterId: string; certificatePem: string; keyPem: string }>,
    validityMs: number,
  ): Founding;
  enroll(
    remotes: readonly string[],
    token: string,
    availability: NodeAvailability,
    signal: AbortSignal,
  ): Promise<Enrolment>;
  /** Ends a manager process that an earlier daemon left, if there is one. */
  endManager(): Promise<void>;
  /** Ends and removes the containers of a membership that nothing runs for, because it is locked. */
  endTasks(record: NodeRecord): Promise<void>;
  startSide(record: NodeRecord, identity: TlsIdentity, mode: ManagerMode): Promise<ClusterSide>;
}>;
