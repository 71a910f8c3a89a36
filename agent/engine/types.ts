import type { ClusterInfo } from '../../shared/gen/shoal/v1/control.ts';
import type { NodeAvailability, NodeDescription } from '../../shared/gen/shoal/v1/objects.ts';

/** Where this host stands, as `docker info` shows it. */
export type NodeStanding = Readonly<{
  localState: 'inactive' | 'pending' | 'active' | 'error' | 'locked';
  nodeId: string; // empty when inactive
  nodeAddress: string;
  isManager: boolean;
  error: string;
  remoteManagers: readonly Readonly<{ nodeId: string; address: string }>[];
  clusterId: string;
  description: NodeDescription;
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
  /** Swarm's Spec as it came, for control to judge. */
  spec: unknown;
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

/** This host's membership in a cluster; implemented by the node supervisor (agent/node). */
export interface Membership {
  standing(): NodeStanding;
  /** Returns the node id once the manager answers. Throws ShoalError `unavailable` with Docker's words when already in a cluster. */
  init(request: InitRequest, signal: AbortSignal): Promise<string>;
  join(request: JoinRequest, signal: AbortSignal): Promise<void>;
  leave(force: boolean, signal: AbortSignal): Promise<void>;
  /** Present while this host is a manager. */
  clusterInfo(signal: AbortSignal): Promise<ClusterInfo | undefined>;
}
