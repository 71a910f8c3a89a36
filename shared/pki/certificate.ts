import {
  bitString,
  boolean,
  contextTag,
  der,
  objectId,
  octetString,
  readDer,
  sequence,
  TAG,
  time,
  unsignedInteger,
  utf8String,
} from './der.ts';

/**
 * The bytes of the cluster's certificates and requests (RFC 5280, RFC 2986), without the signatures:
 * those are made in io/. Keys are ECDSA P-256 and digests SHA-256 throughout.
 */
export type SubjectName = Readonly<{
  commonName: string;
  organization?: string;
  organizationalUnit?: string;
}>;

export type CertificateContent = Readonly<{
  /** Big-endian; at most 20 bytes, not all zero. */
  serial: Uint8Array;
  /** DER Name: nameOf(), or the issuer certificate's subject as it stands there. */
  issuer: Uint8Array;
  subject: Uint8Array;
  notBeforeMs: number;
  notAfterMs: number;
  /** DER SubjectPublicKeyInfo. */
  publicKey: Uint8Array;
  /** SHA-1 or any other short digest of the key: RFC 5280 4.2.1.2. */
  subjectKeyId: Uint8Array;
  authorityKeyId: Uint8Array;
  isAuthority: boolean;
  /** Names for a TLS client that insists on one; ours check role and cluster instead. */
  dnsNames: readonly string[];
}>;

/** Certificates count from an hour before they are made, for hosts whose clocks run behind; as Swarm's. */
export const BACKDATE_MS = 3_600_000;

const OID = {
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  commonName: '2.5.4.3',
  organization: '2.5.4.10',
  organizationalUnit: '2.5.4.11',
  subjectKeyId: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyId: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const;

const SIGNATURE_ALGORITHM = sequence(objectId(OID.ecdsaWithSha256));
/** digitalSignature: bit 0, seven bits unused; keyCertSign and cRLSign: bits 5 and 6, one unused. */
const USAGE_LEAF = bitString(Uint8Array.of(0b1000_0000), 7);
const USAGE_AUTHORITY = bitString(Uint8Array.of(0b0000_0110), 1);

export function nameOf(name: SubjectName): Uint8Array {
  const attribute = (oid: string, value: string | undefined) =>
    value === undefined ? [] : [der(TAG.set, sequence(objectId(oid), utf8String(value)))];
  return sequence(
    ...attribute(OID.organization, name.organization),
    ...attribute(OID.organizationalUnit, name.organizationalUnit),
    ...attribute(OID.commonName, name.commonName),
  );
}

/** TBSCertificate: what the issuer signs. */
export function certificateBody(content: CertificateContent): Uint8Array {
  const extension = (oid: string, critical: boolean, value: Uint8Array) =>
    sequence(objectId(oid), ...(critical ? [boolean(true)] : []), octetString(value));
  const extensions = [
    extension(OID.keyUsage, true, content.isAuthority ? USAGE_AUTHORITY : USAGE_LEAF),
    extension(
      OID.basicConstraints,
      true,
      content.isAuthority ? sequence(boolean(true)) : sequence(),
    ),
    extension(OID.subjectKeyId, false, octetString(content.subjectKeyId)),
    extension(
      OID.authorityKeyId,
      false,
      sequence(der(contextTag(0, false), content.authorityKeyId)),
    ),
  ];
  if (!content.isAuthority) {
    const purposes = sequence(objectId(OID.serverAuth), objectId(OID.clientAuth));
    extensions.push(extension(OID.extendedKeyUsage, false, purposes));
  }
  if (content.dnsNames.length > 0) {
    const names = content.dnsNames.map((name) =>
      der(contextTag(2, false), new TextEncoder().encode(name)),
    );
    extensions.push(extension(OID.subjectAltName, false, sequence(...names)));
  }
  return sequence(
    der(contextTag(0, true), unsignedInteger(Uint8Array.of(2))), // version 3
    unsignedInteger(content.serial),
    SIGNATURE_ALGORITHM,
    content.issuer,
    sequence(time(content.notBeforeMs), time(content.notAfterMs)),
    content.subject,
    content.publicKey,
    der(contextTag(3, true), sequence(...extensions)),
  );
}

/** CertificationRequestInfo: what the holder of the key signs. */
export function requestBody(subject: Uint8Array, publicKey: Uint8Array): Uint8Array {
  const version = unsignedInteger(Uint8Array.of(0));
  return sequence(version, subject, publicKey, der(contextTag(0, true)));
}

/** A certificate or a request: both are body, algorithm and signature. */
export function signed(body: Uint8Array, signature: Uint8Array): Uint8Array {
  return sequence(body, SIGNATURE_ALGORITHM, bitString(signature));
}

export type ParsedRequest = Readonly<{
  body: Uint8Array;
  publicKey: Uint8Array;
  signature: Uint8Array;
}>;

/**
 * Takes a request apart. Of what it asks for only the key is used: name and role come from the
 * cluster. Throws RangeError when the bytes are no request with an ECDSA-SHA256 signature.
 */
export function parseRequest(bytes: Uint8Array): ParsedRequest {
  const [outer, ...rest] = readDer(bytes);
  if (outer?.tag !== TAG.sequence || rest.length > 0) throw notARequest();
  const [body, algorithm, signature] = readDer(outer.content);
  if (body?.tag !== TAG.sequence || signature?.tag !== TAG.bitString) throw notARequest();
  if (algorithm === undefined || !sameBytes(algorithm.raw, SIGNATURE_ALGORITHM)) {
    throw new RangeError('The request is not signed with ECDSA and SHA-256');
  }
  const publicKey = readDer(body.content)[2];
  if (publicKey?.tag !== TAG.sequence || signature.content[0] !== 0) throw notARequest();
  return { body: body.raw, publicKey: publicKey.raw, signature: signature.content.subarray(1) };
}

/** The key bits inside a SubjectPublicKeyInfo: what key ids are digests of. */
export function keyBitsOf(publicKey: Uint8Array): Uint8Array {
  const [outer] = readDer(publicKey);
  const bits = outer === undefined ? undefined : readDer(outer.content)[1];
  if (bits?.tag !== TAG.bitString) throw new RangeError('Cannot parse a public key');
  return bits.content.subarray(1);
}

/** Subject Name, as DER, of a certificate. */
export function subjectOf(certificate: Uint8Array): Uint8Array {
  const [outer] = readDer(certificate);
  const [body] = outer === undefined ? [] : readDer(outer.content);
  // Version is there in each version 3 certificate, so the subject is the sixth field.
  const subject = body === undefined ? undefined : readDer(body.content)[5];
  if (subject?.tag !== TAG.sequence) throw new RangeError('Cannot parse a certificate');
  return subject.raw;
}

function notARequest(): RangeError {
  return new RangeError('Cannot parse a certificate request');
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
