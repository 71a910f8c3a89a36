import { createHash, createPrivateKey, sign, verify, X509Certificate } from 'node:crypto';
import { messageOf, ShoalError } from '../../errors.ts';
import type { NodeTls } from '../../gen/shoal/v1/objects.ts';
import type { TlsIdentity } from '../identity.ts';
import { digestToken } from '../join-token.ts';
import { fromPem, toPem } from '../pem.ts';
import { recoveryStatement } from '../recovery.ts';
import { isIssuedByAny, rootDigest } from './x509.ts';

const CERTIFICATE = 'CERTIFICATE';
/** Swarm's rule: a root that soon expires would have to be rotated again at once. */
const ROOT_LEAST_MS = 365 * 24 * 3_600_000;

/** The certificates of a PEM text, one text each. */
export function splitPem(pem: string): string[] {
  return fromPem(CERTIFICATE, pem).map((bytes) => toPem(CERTIFICATE, bytes));
}

/** Digest of the public key of the first certificate, in the form of `rootDigest`. */
export function keyDigest(certificatePem: string): string {
  const key = new X509Certificate(certificatePem).publicKey;
  const bytes = key.export({ type: 'spki', format: 'der' });
  return digestToken(createHash('sha256').update(bytes).digest());
}

/** What a node reports of its TLS material. */
export function tlsFacts({ certificatePem, rootsPem }: TlsIdentity): NodeTls {
  const roots = splitPem(rootsPem);
  const issuer = roots.find((root) => isIssuedByAny(certificatePem, root));
  return {
    issuerDigest: issuer === undefined ? '' : rootDigest(issuer),
    rootDigests: roots.map(rootDigest),
    keyDigest: keyDigest(certificatePem),
  };
}

/** Signs for `CertificateAuthority.RecoverNodeCertificate`. */
export function signRecovery(csrPem: string, identity: TlsIdentity): Buffer {
  const { certificatePem, keyPem } = identity;
  const statement = recoveryStatement(csrPem, certificatePem);
  return sign('sha256', statement, { key: createPrivateKey(keyPem), dsaEncoding: 'der' });
}

/** Whether the key of the certificate signed the statement of `recoveryStatement`. */
export function isRecoverySigned(
  csrPem: string,
  certificatePem: string,
  signature: Uint8Array,
): boolean {
  const key = new X509Certificate(certificatePem).publicKey;
  const statement = recoveryStatement(csrPem, certificatePem);
  try {
    return verify('sha256', statement, { key, dsaEncoding: 'der' }, signature);
  } catch {
    return false; // bytes that are no signature at all
  }
}

/**
 * A certificate and key given as the cluster's root. Throws ShoalError `invalid-argument` when they do not belong
 * together, the certificate is not a self-signed authority's of the kind nodes use, or it expires within a year.
 */
export function checkRoot(certificatePem: string, keyPem: string, nowMs: number): void {
  const refuse = (why: string, cause?: unknown) =>
    new ShoalError('invalid-argument', `the CA certificate cannot be used: ${why}`, { cause });
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(certificatePem);
    if (!certificate.checkPrivateKey(createPrivateKey(keyPem))) {
      throw new RangeError('the key is not the one of the certificate');
    }
  } catch (error) {
    throw refuse(messageOf(error), error);
  }
  if (splitPem(certificatePem).length !== 1) throw refuse('it must be a single root certificate');
  if (!certificate.ca || !certificate.verify(certificate.publicKey)) {
    throw refuse('it is not a self-signed certificate of an authority');
  }
  const { asymmetricKeyType, asymmetricKeyDetails } = certificate.publicKey;
  if (asymmetricKeyType !== 'ec' || asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw refuse('its key must be ECDSA on P-256');
  }
  if (Date.parse(certificate.validTo) < nowMs + ROOT_LEAST_MS) {
    throw refuse('it expires in less than a year');
  }
}
