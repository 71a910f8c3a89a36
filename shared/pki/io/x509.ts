import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  verify,
  X509Certificate,
} from 'node:crypto';
import { messageOf, ShoalError } from '../../errors.ts';
import {
  BACKDATE_MS,
  certificateBody,
  keyBitsOf,
  nameOf,
  parseRequest,
  requestBody,
  signed,
  subjectOf,
} from '../certificate.ts';
import type { TlsIdentity } from '../identity.ts';
import { digestToken } from '../join-token.ts';
import { fromPem, toPem } from '../pem.ts';
import {
  type CertificateRole,
  holderOf,
  organizationalUnit,
  roleOfOrganizationalUnit,
} from '../roles.ts';

/** 20 years, as Swarm's root. */
const ROOT_VALIDITY_MS = 630_720_000_000;
const CURVE = 'prime256v1'; // OpenSSL's name of P-256
const SERIAL_BYTES = 16;
const CERTIFICATE = 'CERTIFICATE';
const REQUEST = 'CERTIFICATE REQUEST';

export type KeyAndCertificate = Readonly<{ certificatePem: string; keyPem: string }>;

/** A self-signed root, ECDSA P-256, valid for 20 years from `nowMs` (back-dated by an hour). */
export function createRootCa(commonName = 'swarm-ca', nowMs = Date.now()): KeyAndCertificate {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: CURVE });
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const name = nameOf({ commonName });
  const keyId = keyIdOf(spki);
  const body = certificateBody({
    serial: newSerial(),
    issuer: name,
    subject: name,
    notBeforeMs: nowMs - BACKDATE_MS,
    notAfterMs: nowMs + ROOT_VALIDITY_MS,
    publicKey: spki,
    subjectKeyId: keyId,
    authorityKeyId: keyId,
    isAuthority: true,
    dnsNames: [],
  });
  return { certificatePem: signWith(privateKey, body, CERTIFICATE), keyPem: keyToPem(privateKey) };
}

/**
 * The key of `next` in a certificate by `root`: who trusts only `root` believes by it what `next` issued. Lives
 * as long as the shorter of the two.
 */
export function crossSign(nextPem: string, root: KeyAndCertificate, nowMs = Date.now()): string {
  const next = new X509Certificate(derOf(nextPem));
  const rootBytes = derOf(root.certificatePem);
  const issuer = new X509Certificate(rootBytes);
  const publicKey = next.publicKey.export({ type: 'spki', format: 'der' });
  const body = certificateBody({
    serial: newSerial(),
    issuer: subjectOf(rootBytes),
    subject: subjectOf(derOf(nextPem)),
    notBeforeMs: nowMs - BACKDATE_MS,
    notAfterMs: Math.min(Date.parse(next.validTo), Date.parse(issuer.validTo)),
    publicKey,
    subjectKeyId: keyIdOf(publicKey),
    authorityKeyId: keyIdOf(issuer.publicKey.export({ type: 'spki', format: 'der' })),
    isAuthority: true,
    dnsNames: [],
  });
  return signWith(createPrivateKey(root.keyPem), body, CERTIFICATE);
}

/** A new P-256 key and a request for it. The request's name says nothing: the CA fills it. */
export function createKeyAndCsr(): { keyPem: string; csrPem: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: CURVE });
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const body = requestBody(nameOf({ commonName: 'swarm-node' }), spki);
  return { keyPem: keyToPem(privateKey), csrPem: signWith(privateKey, body, REQUEST) };
}

export type SignRequest = Readonly<{
  csrPem: string;
  caCertificatePem: string;
  caKeyPem: string;
  nodeId: string;
  role: CertificateRole;
  clusterId: string;
  validityMs: number;
  nowMs?: number;
}>;

/**
 * Issues a node certificate: CN = node id, OU = role, O = cluster id, whatever the request asked
 * for. Throws ShoalError `invalid-argument` when the request is malformed, its key is not P-256 or
 * its signature does not prove possession of the key.
 */
export function signCsr(request: SignRequest): string {
  const publicKey = verifiedKeyOf(request.csrPem);
  const nowMs = request.nowMs ?? Date.now();
  const caBytes = derOf(request.caCertificatePem);
  const ca = new X509Certificate(caBytes);
  const body = certificateBody({
    serial: newSerial(),
    issuer: subjectOf(caBytes),
    subject: nameOf({
      commonName: request.nodeId,
      organization: request.clusterId,
      organizationalUnit: organizationalUnit(request.role),
    }),
    notBeforeMs: nowMs - BACKDATE_MS,
    // Never beyond the root itself: such a certificate would verify nowhere.
    notAfterMs: Math.min(nowMs + request.validityMs, Date.parse(ca.validTo)),
    publicKey,
    subjectKeyId: keyIdOf(publicKey),
    authorityKeyId: keyIdOf(ca.publicKey.export({ type: 'spki', format: 'der' })),
    isAuthority: false,
    dnsNames: [organizationalUnit(request.role), request.nodeId],
  });
  return signWith(createPrivateKey(request.caKeyPem), body, CERTIFICATE);
}

export type CertificateInfo = Readonly<{
  /** CN. */
  nodeId: string;
  /** Undefined for certificates that are not a node's, such as the root's. */
  role: CertificateRole | undefined;
  /** O. */
  clusterId: string;
  /** CN of the issuer. */
  issuer: string;
  serial: string;
  notBeforeMs: number;
  notAfterMs: number;
  /** DER of the issuer's public key is not in a certificate; this is its own, for rotation checks. */
  publicKeyDer: Uint8Array;
  subjectDer: Uint8Array;
}>;

/** Reads the first certificate of a PEM text. Throws ShoalError `invalid-argument`. */
export function parseCertificate(pem: string): CertificateInfo {
  const bytes = derOf(pem);
  const certificate = new X509Certificate(bytes);
  const subject = fieldsOf(certificate.subject);
  return {
    nodeId: subject.get('CN') ?? '',
    role: roleOfOrganizationalUnit(subject.get('OU')),
    clusterId: subject.get('O') ?? '',
    issuer: fieldsOf(certificate.issuer).get('CN') ?? '',
    serial: certificate.serialNumber,
    notBeforeMs: Date.parse(certificate.validFrom),
    notAfterMs: Date.parse(certificate.validTo),
    publicKeyDer: certificate.publicKey.export({ type: 'spki', format: 'der' }),
    subjectDer: subjectOf(bytes),
  };
}

/**
 * Puts a node's TLS material together and checks that its parts belong together. Throws ShoalError
 * `invalid-argument` when key and certificate differ, the certificate is not a node's, or none of
 * the roots issued it.
 */
export function createIdentity(
  certificatePem: string,
  keyPem: string,
  rootsPem: string,
): TlsIdentity {
  const certificate = new X509Certificate(derOf(certificatePem));
  const info = parseCertificate(certificatePem);
  const holder = holderOf({ CN: info.nodeId, O: info.clusterId, OU: ouOf(info.role) });
  if (holder === undefined) {
    throw new ShoalError('invalid-argument', 'the certificate is not that of a node of a cluster');
  }
  if (!certificate.checkPrivateKey(createPrivateKey(keyPem))) {
    throw new ShoalError('invalid-argument', 'the key is not the one of the certificate');
  }
  if (!isIssuedByAny(certificatePem, rootsPem)) {
    throw new ShoalError(
      'invalid-argument',
      "the certificate was not issued by any of the cluster's root certificates",
    );
  }
  return { certificatePem, keyPem, rootsPem, holder };
}

/** Whether one of the roots signed the certificate. Says nothing about time. */
export function isIssuedByAny(certificatePem: string, rootsPem: string): boolean {
  const certificate = new X509Certificate(derOf(certificatePem));
  return fromPem(CERTIFICATE, rootsPem).some((bytes) => {
    const root = new X509Certificate(bytes);
    return certificate.checkIssued(root) && certificate.verify(root.publicKey);
  });
}

/** The digest part of join tokens: SHA-256 of the first certificate's DER bytes, in base 36. */
export function rootDigest(rootPem: string): string {
  return digestToken(createHash('sha256').update(derOf(rootPem)).digest());
}

function verifiedKeyOf(csrPem: string): Uint8Array {
  try {
    const [bytes] = fromPem(REQUEST, csrPem);
    if (bytes === undefined) throw new RangeError('there is no CERTIFICATE REQUEST block');
    const parsed = parseRequest(bytes);
    const key = createPublicKey({
      key: Buffer.from(parsed.publicKey),
      format: 'der',
      type: 'spki',
    });
    if (key.asymmetricKeyType !== 'ec' || key.asymmetricKeyDetails?.namedCurve !== CURVE) {
      throw new RangeError('the key is not an ECDSA key on P-256');
    }
    if (!verify('sha256', parsed.body, { key, dsaEncoding: 'der' }, parsed.signature)) {
      throw new RangeError('its signature was not made with its key');
    }
    // Encoded anew: bytes of a stranger never go into a certificate as they came.
    return key.export({ type: 'spki', format: 'der' });
  } catch (error) {
    throw new ShoalError('invalid-argument', `csr: ${messageOf(error)}`, { cause: error });
  }
}

function derOf(pem: string): Uint8Array {
  const [bytes] = fromPem(CERTIFICATE, pem);
  if (bytes === undefined) {
    throw new ShoalError('invalid-argument', 'there is no CERTIFICATE block in the PEM text');
  }
  return bytes;
}

function signWith(key: KeyObject, body: Uint8Array, label: string): string {
  return toPem(label, signed(body, sign('sha256', body, { key, dsaEncoding: 'der' })));
}

function keyToPem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

function keyIdOf(spki: Uint8Array): Uint8Array {
  return createHash('sha1').update(keyBitsOf(spki)).digest();
}

function newSerial(): Uint8Array {
  const serial = randomBytes(SERIAL_BYTES);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40; // positive, and never shortened by leading zeros
  return serial;
}

function ouOf(role: CertificateRole | undefined): string | undefined {
  return role === undefined ? undefined : organizationalUnit(role);
}

/** Node prints one `KEY=value` a line. */
function fieldsOf(name: string): Map<string, string> {
  return new Map(
    name.split('\n').map((line): [string, string] => {
      const at = line.indexOf('=');
      return [line.slice(0, at), line.slice(at + 1)];
    }),
  );
}
