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
