import { ShoalError } from '../errors.ts';
import type { Random } from '../random.ts';

/**
 * Swarm's join tokens: `SWMTKN-1-<digest>-<secret>`. The digest is SHA-256 of the root certificate's
 * DER bytes and pins the cluster before anything is trusted; the secret (128 bits) says which role
 * the node gets. Both in base 36, padded to fixed lengths.
 */
export type JoinToken = Readonly<{
  /** 50 characters of [0-9a-z]; see rootDigest(). */
  rootDigest: string;
  /** 25 characters of [0-9a-z]. */
  secret: string;
}>;

const PREFIX = 'SWMTKN-1-';
const DIGEST_LENGTH = 50;
const SECRET_LENGTH = 25;
const SECRET_BYTES = 16;
const PATTERN = /^SWMTKN-1-([0-9a-z]{50})-([0-9a-z]{25})$/;

/** Throws ShoalError `invalid-argument`; the token itself never shows up in the message. */
export function parseJoinToken(text: string): JoinToken {
  const [, rootDigest, secret] = PATTERN.exec(text.trim()) ?? [];
  if (rootDigest === undefined || secret === undefined) {
    throw new ShoalError(
      'invalid-argument',
      'token: not a join token: expected SWMTKN-1-, 50 characters, a dash and 25 characters, ' +
        'as `docker swarm join-token` prints it',
    );
  }
  return { rootDigest, secret };
}

export function formatJoinToken(token: JoinToken): string {
  return `${PREFIX}${token.rootDigest}-${token.secret}`;
}

export function newJoinSecret(random: Random): string {
  return toBase36(random.bytes(SECRET_BYTES), SECRET_LENGTH);
}

/** The digest part of a token. `sha256`: 32 bytes. */
export function digestToken(sha256: Uint8Array): string {
  return toBase36(sha256, DIGEST_LENGTH);
}

/** Compares secrets in a time that depends on their length only. */
export function sameSecret(a: string, b: string): boolean {
  let difference = a.length ^ b.length;
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i % b.length);
  return difference === 0;
}

function toBase36(bytes: Uint8Array, length: number): string {
  let value = 0n;
  for (const byte of bytes) value = (value << 8n) | BigInt(byte);
  return value.toString(36).padStart(length, '0');
}
