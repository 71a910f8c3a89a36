import type { CertificateRole } from '../../shared/pki/roles.ts';

/** What a node remembers of its membership, beside its certificates. */
export type NodeRecord = Readonly<{
  nodeId: string;
  clusterId: string;
  role: CertificateRole;
  /** host:port. */
  listenAddress: string;
  advertiseAddress: string;
  /** How that one was found: what the request asked for, and the daemon's flag then; '' for nothing. */
  advertise?: Readonly<{ asked: string; flag: string }>;
  /** IP address, where VXLAN packets for this node go. */
  dataPathAddress: string;
  dataPathPort: number;
  /** host:port of managers, those heard of last. */
  managers: readonly Readonly<{ nodeId: string; address: string }>[];
}>;
