import type { TlsInfo } from './node.ts';

const NONE: TlsInfo = { TrustRoot: '', CertIssuerSubject: '', CertIssuerPublicKey: '' };

/**
 * The root certificate as the API shows it: the PEM text, and its subject and public key as base64
 * of their DER. Text that is no certificate gives empty fields: it is for display only.
 */
export function tlsInfo(certificatePem: string): TlsInfo {
  const body = /-----BEGIN CERTIFICATE-----([\s\S]+?)-----END CERTIFICATE-----/.exec(
    certificatePem,
  );
  if (body?.[1] === undefined) return NONE;
  const certificate = Buffer.from(body[1], 'base64');
  const tbs = childrenOf(
    certificate,
    childrenOf(certificate, { start: 0, from: 0, end: certificate.length })[0],
  )[0];
  // [0] version, serial, algorithm, issuer, validity, subject, public key (RFC 5280, 4.1); the
  // version is left out in version 1.
  const parts = childrenOf(certificate, tbs);
  const first = parts[0];
  const offset = first !== undefined && certificate[first.start] === 0xa0 ? 1 : 0;
  const slice = (span: Span | undefined) =>
    span === undefined ? '' : certificate.subarray(span.start, span.end).toString('base64');
  return {
    TrustRoot: certificatePem,
    CertIssuerSubject: slice(parts[offset + 4]),
    CertIssuerPublicKey: slice(parts[offset + 5]),
  };
}

/** Where an element is: its first byte, the first of its content, and the byte behind it. */
type Span = Readonly<{ start: number; from: number; end: number }>;

function childrenOf(der: Uint8Array, parent: Span | undefined): Span[] {
  const children: Span[] = [];
  let at = parent?.from ?? 0;
  while (parent !== undefined && at + 2 <= parent.end) {
    const short = der[at + 1] ?? 0;
    const lengthBytes = short < 0x80 ? 0 : short & 0x7f;
    let length = short < 0x80 ? short : 0;
    for (let i = 0; i < lengthBytes; i++) length = length * 256 + (der[at + 2 + i] ?? 0);
    const from = at + 2 + lengthBytes;
    if (from + length > parent.end) break;
    children.push({ start: at, from, end: from + length });
    at = from + length;
  }
  return children;
}
