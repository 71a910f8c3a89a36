/** PEM texts (RFC 7468): base 64 in lines of 64 between a header and a footer. */
export function toPem(label: string, bytes: Uint8Array): string {
  const base64 = Buffer.from(bytes).toString('base64');
  const lines = base64.match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** The bytes of each block of that label, in order; text between blocks is skipped. */
export function fromPem(label: string, text: string): Uint8Array[] {
  const pattern = new RegExp(
    `-----BEGIN ${label}-----([A-Za-z0-9+/=\\s]*)-----END ${label}-----`,
    'g',
  );
  return [...text.matchAll(pattern)].map(([, body = '']) =>
    Uint8Array.from(Buffer.from(body.replace(/\s+/g, ''), 'base64')),
  );
}
