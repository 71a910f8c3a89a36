/** What a certificate says its holder may do; the OU of the subject, in Swarm's words. */
export type CertificateRole = 'manager' | 'worker';

const OU: Record<CertificateRole, string> = { manager: 'swarm-manager', worker: 'swarm-worker' };

export function organizationalUnit(role: CertificateRole): string {
  return OU[role];
}

export function roleOfOrganizationalUnit(unit: string | undefined): CertificateRole | undefined {
  if (unit === OU.manager) return 'manager';
  if (unit === OU.worker) return 'worker';
  return undefined;
}

/** Subject of a peer's certificate as Node's TLS shows it; a repeated field comes as a list. */
export type PeerSubject = Readonly<{
  CN?: string | readonly string[] | undefined;
  O?: string | readonly string[] | undefined;
  OU?: string | readonly string[] | undefined;
}>;
export type CertificateHolder = Readonly<{
  nodeId: string;
  role: CertificateRole;
  clusterId: string;
}>;

/** Undefined when the subject is not that of a node: then the certificate proves nothing here. */
export function holderOf(subject: PeerSubject): CertificateHolder | undefined {
  const { CN: nodeId, O: clusterId, OU: unit } = subject;
  if (typeof nodeId !== 'string' || typeof clusterId !== 'string' || typeof unit !== 'string') {
    return undefined;
  }
  const role = roleOfOrganizationalUnit(unit);
  return role === undefined || nodeId === '' ? undefined : { nodeId, role, clusterId };
}

/**
 * Why a peer, whose certificate chain TLS has verified, is not who is wanted; undefined: it is. Its
 * address is never looked at: the certificate alone says who someone is.
 */
export function peerRefusal(
  subject: PeerSubject,
  role: CertificateRole,
  clusterId: string,
): string | undefined {
  const holder = holderOf(subject);
  if (holder === undefined) return 'the peer has no node certificate';
  if (holder.clusterId !== clusterId) {
    return `the peer is of cluster ${holder.clusterId}, not of ${clusterId}`;
  }
  return holder.role === role ? undefined : `peer ${holder.nodeId} is not a ${role}`;
}
