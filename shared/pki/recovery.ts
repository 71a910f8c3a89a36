/**
 * What a node signs, with the key of a certificate that TLS takes no more, to get the next one. Names its
 * purpose, so that the signature says nothing elsewhere; tied to the request, so that a replay gains nothing.
 */
export function recoveryStatement(csrPem: string, certificatePem: string): Uint8Array {
  return new TextEncoder().encode(
    `shoal: recover a node certificate\n${certificatePem.trim()}\n${csrPem.trim()}\n`,
  );
}
