import type { TlsIdentity } from '../../shared/pki/identity.ts';
import {
  createIdentity,
  createKeyAndCsr,
  type KeyAndCertificate,
  signCsr,
} from '../../shared/pki/io/x509.ts';
import type { CertificateRole } from '../../shared/pki/roles.ts';

export const CLUSTER_ID = 'cluster1';

/** A node with a key and a certificate that `ca` signed, and which trusts `ca` alone. */
export function issueIdentity(
  ca: KeyAndCertificate,
  nodeId: string,
  role: CertificateRole = 'manager',
  clusterId = CLUSTER_ID,
  validity: Readonly<{ validityMs?: number; nowMs?: number }> = {},
): TlsIdentity {
  const { keyPem, csrPem } = createKeyAndCsr();
  const certificatePem = signCsr({
    csrPem,
    caCertificatePem: ca.certificatePem,
    caKeyPem: ca.keyPem,
    nodeId,
    role,
    clusterId,
    validityMs: 3_600_000,
    ...validity,
  });
  return createIdentity(certificatePem, keyPem, ca.certificatePem);
}
