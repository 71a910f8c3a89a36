import type { ClusterInfo } from '../../../shared/gen/shoal/v1/control.ts';
import type { Cluster, ClusterSpec, LogDriver } from '../../../shared/gen/shoal/v1/objects.ts';
import {
  type Codec,
  flag,
  int64,
  maybe,
  sparse,
  struct,
  text,
  textMap,
  uint64,
  via,
} from '../codec.ts';
import { metaFields } from './meta.ts';
import type { TlsInfo } from './node.ts';
import { logDriver } from './task-spec.ts';
import { tlsInfo } from './tls-info.ts';

type WireRaft = Pick<
  ClusterSpec,
  | 'snapshotInterval'
  | 'keepOldSnapshots'
  | 'logEntriesForSlowFollowers'
  | 'electionTick'
  | 'heartbeatTick'
>;
type WireSpec = {
  name: string;
  labels: { [key: string]: string };
  orchestration: { taskHistoryLimit: number | undefined };
  raft: WireRaft;
  dispatcher: { heartbeatNs: number };
  ca: { expiryNs: number; forceRotate: number };
  tasks: { logDriver: LogDriver | undefined };
  encryption: { autolock: boolean };
};

/** Tasks kept per slot when nothing is said, as in Swarm. */
const DEFAULT_TASK_HISTORY = 5;

export const clusterSpec: Codec<ClusterSpec> = via(
  struct<WireSpec>({
    name: ['Name', text],
    labels: ['Labels', textMap],
    orchestration: [
      'Orchestration',
      struct<WireSpec['orchestration']>({
        taskHistoryLimit: ['TaskHistoryRetentionLimit', maybe(int64)],
      }),
    ],
    raft: [
      'Raft',
      struct<WireRaft>({
        snapshotInterval: ['SnapshotInterval', sparse(uint64)],
        keepOldSnapshots: ['KeepOldSnapshots', uint64],
        logEntriesForSlowFollowers: ['LogEntriesForSlowFollowers', sparse(uint64)],
        electionTick: ['ElectionTick', int64],
        heartbeatTick: ['HeartbeatTick', int64],
      }),
    ],
    dispatcher: [
      'Dispatcher',
      struct<{ heartbeatNs: number }>({ heartbeatNs: ['HeartbeatPeriod', sparse(int64)] }),
    ],
    ca: [
      'CAConfig',
      struct<WireSpec['ca']>(
        {
          expiryNs: ['NodeCertExpiry', sparse(int64)],
          forceRotate: ['ForceRotate', sparse(int64)],
        },
        ['ExternalCAs'],
      ),
    ],
    tasks: [
      'TaskDefaults',
      struct<WireSpec['tasks']>({ logDriver: ['LogDriver', maybe(logDriver)] }),
    ],
    encryption: [
      'EncryptionConfig',
      struct<{ autolock: boolean }>({ autolock: ['AutoLockManagers', flag] }),
    ],
  }),
  ({ name, labels, orchestration, raft, dispatcher, ca, tasks, encryption }) => ({
    name,
    labels,
    taskHistoryLimit: orchestration.taskHistoryLimit ?? DEFAULT_TASK_HISTORY,
    ...raft,
    dispatcherHeartbeatNs: dispatcher.heartbeatNs,
    nodeCertExpiryNs: ca.expiryNs,
    forceRotate: ca.forceRotate,
    autolockManagers: encryption.autolock,
    defaultLogDriver: tasks.logDriver,
  }),
  (spec) => ({
    name: spec.name,
    labels: spec.labels,
    orchestration: { taskHistoryLimit: spec.taskHistoryLimit },
    raft: spec,
    dispatcher: { heartbeatNs: spec.dispatcherHeartbeatNs },
    ca: { expiryNs: spec.nodeCertExpiryNs, forceRotate: spec.forceRotate },
    tasks: { logDriver: spec.defaultLogDriver },
    encryption: { autolock: spec.autolockManagers },
  }),
);

/** A root that a client gives the cluster: beside the spec, because its key is never shown again. */
const givenRoot = struct<{ ca: { certificatePem: string; keyPem: string } }>({
  ca: [
    'CAConfig',
    struct<{ certificatePem: string; keyPem: string }>({
      certificatePem: ['SigningCACert', text],
      keyPem: ['SigningCAKey', text],
    }),
  ],
});

const givenRootOfInitSpec = struct({ spec: ['Spec', givenRoot] as const });

export function givenRootOf(json: unknown): { certificatePem: string; keyPem: string } {
  return givenRoot.decode(json, '').ca;
}

/** Of an init, where the spec is a part of the body. */
export function givenRootOfInit(json: unknown): { certificatePem: string; keyPem: string } {
  return givenRootOfInitSpec.decode(json, '').spec.ca;
}

/**
 * What nodes trust and who issues their certificates. While a root is rotated the issuer is the next root, and the
 * trusted one still the old: a node is done when it shows the same as the cluster.
 */
export function clusterTls(cluster: Cluster | undefined): TlsInfo {
  const root = cluster?.rootCa;
  const info = tlsInfo(root?.certificatePem ?? '');
  if (root?.rotation === undefined) return info;
  return { ...tlsInfo(root.rotation.certificatePem), TrustRoot: info.TrustRoot };
}

/** The cluster as `GET /info` shows it; `GET /swarm` adds the join tokens. */
export function clusterJson(cluster: Cluster) {
  return {
    ...metaFields(cluster),
    Spec: clusterSpec.encode(cluster.spec ?? clusterSpec.decode(undefined, '')),
    TLSInfo: clusterTls(cluster),
    RootRotationInProgress: cluster.rootCa?.rotation !== undefined,
    DataPathPort: cluster.dataPathPort,
    DefaultAddrPool: cluster.defaultAddressPools,
    SubnetSize: cluster.subnetSize,
  };
}

export function swarmJson(info: ClusterInfo): Record<string, unknown> {
  return {
    ...(info.cluster && clusterJson(info.cluster)),
    JoinTokens: { Worker: info.workerToken, Manager: info.managerToken },
  };
}
