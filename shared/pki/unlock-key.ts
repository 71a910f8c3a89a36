/** The text of a swarm's unlock key, as Docker's: `SWMKEY-1-` and 32 bytes in base64 without padding. */
export const UNLOCK_KEY_BYTES = 32;
const PREFIX = 'SWMKEY-1-';
const BODY = /^[A-Za-z0-9+/]{43}$/;

export function formatUnlockKey(key: Uint8Array): string {
  return PREFIX + Buffer.from(key).toString('base64').replaceAll('=', '');
}

/** Undefined for what is no unlock key. */
export function parseUnlockKey(text: string): Uint8Array | undefined {
  const trimmed = text.trim();
  const body = trimmed.slice(PREFIX.length);
  if (!trimmed.startsWith(PREFIX) || !BODY.test(body)) return undefined;
  return new Uint8Array(Buffer.from(body, 'base64'));
}
