import { Cluster, Network, type NodeAvailability } from '../../shared/gen/shoal/v1/objects.ts';
import type { StoreAction } from '../../shared/gen/shoal/v1/store.ts';
import { newId } from '../../shared/ids.ts';
import type { ClusterBootstrap, ManagerStart } from '../../shared/manager-start.ts';
import { newJoinSecret } from '../../shared/pki/join-token.ts';
import type { Random } from '../../shared/random.ts';
import { createAction } from '../store/tables.ts';
import { unlockKeyOf } from './cluster.ts';
import { ownManagerNode } from './own-node.ts';

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
 * subnet is cut from the pools by the allocator, which knows the addresses to keep clear of). What
 * `swarm init` asked for was judged before: this process has nobody to tell.
 */
export function bootstrapObjects(options: BootstrapOptions): StoreAction[] {
  const { start, bootstrap, raftId, random } = options;
  const { spec, defaultAddressPools, subnetSize, dataPathPort } = bootstrap;
  const cluster = Cluster.fromPartial({
    id: start.clusterId,
    spec,
    rootCa: {
      certificatePem: bootstrap.rootCertificatePem,
      keyPem: bootstrap.rootKeyPem,
      workerSecret: newJoinSecret(random),
      managerSecret: newJoinSecret(random),
    },
    defaultAddressPools: [...defaultAddressPools],
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
