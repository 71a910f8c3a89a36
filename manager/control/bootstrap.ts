import { Cluster, Network, type NodeAvailability } from '../../shared/gen/shoal/v1/objects.ts';
import type { StoreAction } from '../../shared/gen/shoal/v1/store.ts';
import { newId } from '../../shared/ids.ts';
import {
  type ClusterBootstrap,
  DATA_PATH_PORT,
  type ManagerStart,
} from '../../shared/manager-start.ts';
import { newJoinSecret } from '../../shared/pki/join-token.ts';
import type { Random } from '../../shared/random.ts';
import { createAction } from '../store/tables.ts';
import { unlockKeyOf } from './cluster.ts';
import { ownManagerNode } from './own-node.ts';
import {
  checkAddressPools,
  checkClusterSpec,
  checkDataPathPort,
  DEFAULT_CLUSTER_SPEC,
} from './validation/cluster-spec.ts';

const DEFAULT_POOLS = ['10.0.0.0/8'];
const DEFAULT_SUBNET_SIZE = 24;
const NO_KEY = new Uint8Array(0);

export type BootstrapOptions = Readonly<{
  start: Pick<ManagerStart, 'nodeId' | 'clusterId' | 'advertiseAddress' | 'raftAdvertiseAddress'>;
  bootstrap: ClusterBootstrap;
  /** The first member's identity in the Raft group. */
  raftId: string;
  random: Random;
}>;

/**
 * The first transaction of a new cluster: the cluster object with fresh join secrets, its first node
 * (a manager; what runs on it is told by its agent when it connects), and the ingress network (its
 * subnet is cut from the pools by the allocator, which knows the addresses to keep clear of). Throws
 * ShoalError `invalid-argument` or `unimplemented` for what `swarm init` must not ask for.
 */
export function bootstrapObjects(options: BootstrapOptions): StoreAction[] {
  const { start, bootstrap, raftId, random } = options;
  // Absent parts keep the defaults; undefined ones too, which a spread alone would copy.
  const asked = Object.fromEntries(
    Object.entries(bootstrap.spec).filter(([, value]) => value !== undefined),
  );
  const spec = { ...DEFAULT_CLUSTER_SPEC, ...asked };
  checkClusterSpec(spec, DEFAULT_CLUSTER_SPEC);
  const pools =
    bootstrap.defaultAddressPools.length > 0 ? bootstrap.defaultAddressPools : DEFAULT_POOLS;
  const subnetSize = bootstrap.subnetSize || DEFAULT_SUBNET_SIZE;
  checkAddressPools(pools, subnetSize);
  const dataPathPort = bootstrap.dataPathPort || DATA_PATH_PORT;
  checkDataPathPort(dataPathPort);

  const cluster = Cluster.fromPartial({
    id: start.clusterId,
    spec,
    rootCa: {
      certificatePem: bootstrap.rootCertificatePem,
      keyPem: bootstrap.rootKeyPem,
      workerSecret: newJoinSecret(random),
      managerSecret: newJoinSecret(random),
    },
    defaultAddressPools: [...pools],
    subnetSize,
    dataPathPort,
    unlockKey: unlockKeyOf(spec, NO_KEY, false, random),
  });
  const availability = bootstrap.availability as NodeAvailability;
  const node = ownManagerNode(start, raftId, bootstrap.hostname, availability);
  const ingress = Network.fromPartial({
    id: newId(random),
    spec: { name: 'ingress', driver: 'overlay', ingress: true },
  });
  return [
    createAction('cluster', cluster),
    createAction('node', node),
    createAction('network', ingress),
  ];
}
