import { ShoalError } from '../../shared/errors.ts';
import type { CertificateAuthorityService } from '../../shared/gen/shoal/v1/ca.ts';
import type { ControlService } from '../../shared/gen/shoal/v1/control.ts';
import type { DispatcherService } from '../../shared/gen/shoal/v1/dispatcher.ts';
import { type Node, NodeRole } from '../../shared/gen/shoal/v1/objects.ts';
import type { PeerService } from '../../shared/gen/shoal/v1/peer.ts';
import type { Caller } from '../../shared/rpc/caller.ts';

/**
 * Who calls: nobody known (no certificate), a node with a worker's or a manager's certificate, or
 * somebody on this manager's own socket, who is its administrator and its node in one.
 */
export type CallerKind = 'none' | 'worker' | 'manager' | 'local';

type PathOf<S> = { [K in keyof S]: S[K] extends { path: infer P } ? P : never }[keyof S];
export type MethodPath =
  | PathOf<typeof ControlService>
  | PathOf<typeof DispatcherService>
  | PathOf<typeof CertificateAuthorityService>
  | PathOf<typeof PeerService>;

const ANYONE: readonly CallerKind[] = ['none', 'worker', 'manager', 'local'];
const NODES: readonly CallerKind[] = ['worker', 'manager', 'local'];
const ADMINISTRATORS: readonly CallerKind[] = ['manager', 'local'];
const MANAGERS: readonly CallerKind[] = ['manager'];
const THIS_HOST: readonly CallerKind[] = ['local'];

/**
 * Who may call what: the whole of it, and what is not named is refused. A new method does not compile
 * until it stands here.
 */
export const ACCESS: Readonly<Record<MethodPath, readonly CallerKind[]>> = {
  '/shoal.v1.CertificateAuthority/GetRootCertificate': ANYONE,
  '/shoal.v1.CertificateAuthority/IssueNodeCertificate': ANYONE, // the join token authorises
  '/shoal.v1.CertificateAuthority/RenewNodeCertificate': NODES,
  '/shoal.v1.CertificateAuthority/RecoverNodeCertificate': ANYONE, // the key of a former certificate authorises

  '/shoal.v1.Dispatcher/Session': NODES,
  '/shoal.v1.Dispatcher/PublishLogs': NODES,

  '/shoal.v1.Control/Get': ADMINISTRATORS,
  '/shoal.v1.Control/List': ADMINISTRATORS,
  '/shoal.v1.Control/Create': ADMINISTRATORS,
  '/shoal.v1.Control/Update': ADMINISTRATORS,
  '/shoal.v1.Control/Remove': ADMINISTRATORS,
  '/shoal.v1.Control/GetCluster': ADMINISTRATORS,
  '/shoal.v1.Control/UpdateCluster': ADMINISTRATORS,
  '/shoal.v1.Control/Watch': ADMINISTRATORS,
  '/shoal.v1.Control/GetAutoscaling': ADMINISTRATORS,
  '/shoal.v1.Control/ServiceLogs': ADMINISTRATORS,
  '/shoal.v1.Control/GetUnlockKey': THIS_HOST,
  '/shoal.v1.Control/FollowUnlockKey': THIS_HOST,
  '/shoal.v1.Control/Backup': THIS_HOST, // it holds the key of the cluster

  '/shoal.v1.Peer/JoinRaft': MANAGERS,
  '/shoal.v1.Peer/LeaveRaft': ADMINISTRATORS, // also the host's own shoald, on leaving the cluster
  '/shoal.v1.Peer/ReportTaskStatuses': MANAGERS,
  '/shoal.v1.Peer/ReportLiveness': MANAGERS,
  '/shoal.v1.Peer/AwaitApplied': MANAGERS,
  '/shoal.v1.Peer/ReportSamples': MANAGERS,
  '/shoal.v1.Peer/Logs': MANAGERS,
};

export type Verdict =
  | Readonly<{ kind: 'allowed'; as: CallerKind }>
  | Readonly<{ kind: 'refused'; error: ShoalError }>
  /** The caller's node is not in this replica: removed, or not here yet. */
  | Readonly<{ kind: 'node-unknown'; nodeId: string }>;

/**
 * Judges one call. `node`: the caller's, as the store has it. A manager's certificate counts as one
 * only while its node is meant to be a manager, or is still a member of consensus on its way out: a
 * certificate outlives a demotion by weeks.
 */
export function judge(
  path: MethodPath,
  caller: Caller | undefined,
  node: Node | undefined,
  clusterId: string,
): Verdict {
  const allowed: readonly CallerKind[] = ACCESS[path] ?? [];
  if (allowed.includes('none'))
    return { kind: 'allowed', as: caller ? kindOf(caller, node) : 'none' };
  if (caller === undefined) {
    return refused(
      'unauthenticated',
      `${path} needs a client certificate of the cluster: join the cluster first`,
    );
  }
  if (caller.clusterId !== clusterId) {
    return refused(
      'permission-denied',
      `the certificate of node ${caller.nodeId} is of cluster ${caller.clusterId}, not of ${clusterId}`,
    );
  }
  if (!caller.local && node === undefined) return { kind: 'node-unknown', nodeId: caller.nodeId };
  const as = kindOf(caller, node);
  if (allowed.includes(as)) return { kind: 'allowed', as };
  return refused('permission-denied', WHY_NOT[as](path, caller.nodeId));
}

const WHY_NOT: Readonly<Record<CallerKind, (path: string, nodeId: string) => string>> = {
  none: (path) => `${path} is not for everybody`,
  worker: (path, nodeId) => `node ${nodeId} is a worker: only managers may call ${path}`,
  manager: (path) => `${path} is for the manager's own host, by its local socket`,
  local: (path) => `${path} is for other managers, not for the local socket`,
};

function kindOf(caller: Caller, node: Node | undefined): CallerKind {
  if (caller.local) return 'local';
  const isManager =
    caller.role === 'manager' &&
    (node?.spec?.role === NodeRole.MANAGER || node?.managerStatus !== undefined);
  return isManager ? 'manager' : 'worker';
}

function refused(code: 'unauthenticated' | 'permission-denied', message: string): Verdict {
  return { kind: 'refused', error: new ShoalError(code, message) };
}
