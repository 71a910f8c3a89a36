import type { CertificateRole } from '../pki/roles.ts';

/** Who makes a call, as its connection proves it: the peer certificate, or the local socket's mode. */
export type Caller = Readonly<{
  nodeId: string;
  role: CertificateRole;
  clusterId: string;
  /** True on the manager's own unix socket (mode 0600): the node itself, and an administrator. */
  local: boolean;
}>;
