import type { CertificateRole } from '../../shared/pki/roles.ts';

/** What a node knows of its role: what the cluster wants, and how far it is. */
export type RoleView = Readonly<{
  /** Of the node object, as a manager told it last. That manager may be behind. */
  wanted: CertificateRole;
  /** Whether the cluster still counts this node among its managers. */
  isMember: boolean;
  /** Of the certificate held: what the leader said when it signed. */
  certificate: CertificateRole;
  runsManager: boolean;
}>;

export type RoleStep = 'none' | 'await-removal' | 'renew' | 'start-manager' | 'stop-manager';

/**
 * The next step towards the role that is wanted. A certificate comes from the leader, so it is what a
 * change is confirmed by: a manager's log is never deleted because of a word of one that is behind.
 * On the way down the manager runs until it is out of the quorum, which counts on its answers.
 */
export function nextRoleStep({ wanted, isMember, certificate, runsManager }: RoleView): RoleStep {
  if (wanted === 'manager') {
    if (certificate !== 'manager') return 'renew';
    return runsManager ? 'none' : 'start-manager';
  }
  if (runsManager && isMember) return 'await-removal';
  if (certificate === 'manager') return 'renew';
  return runsManager ? 'stop-manager' : 'none';
}
