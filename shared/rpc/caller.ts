import { ShoalError } from '../errors.ts';
import type { CertificateRole } from '../pki/roles.ts';

/** Who makes a call, as its connection proves it: the peer certificate, or the local socket's mode. */
export type Caller = Readonly<{
  nodeId: string;
  role: CertificateRole;
  clusterId: string;
  /** True on the manager's own unix socket (mode 0600): the node itself, and an administrator. */
  local: boolean;
}>;

/** For calls that any member of the cluster may make. `clusterId`: as the called side knows it. */
export function requireNode(caller: Caller | undefined, clusterId: string): Caller {
  if (caller === undefined) {
    throw new ShoalError(
      'unauthenticated',
      'this call needs a client certificate of the cluster: join the cluster first',
    );
  }
  if (caller.clusterId !== clusterId) {
    throw new ShoalError(
      'permission-denied',
      `the caller's certificate is of cluster ${caller.clusterId}, this manager's of ${clusterId}`,
    );
  }
  return caller;
}

/** For calls that command the cluster: a worker's certificate never can. */
export function requireManager(caller: Caller | undefined, clusterId: string): Caller {
  const node = requireNode(caller, clusterId);
  if (node.role !== 'manager') {
    throw new ShoalError(
      'permission-denied',
      `node ${node.nodeId} is a worker: this call needs a manager's certificate`,
    );
  }
  return node;
}
