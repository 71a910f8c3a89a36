const MAX_LENGTH = 300;
const SHORTEST_SECRET = 3;

/**
 * An error text of a source as it may be kept and shown: one line, at most 300 characters, without the secrets that the
 * source was given. Redis repeats the arguments of a command that it does not know, and AUTH may be such a one.
 */
export function redact(text: string, secrets: readonly string[]): string {
  let clean = text;
  // Longest first: one secret may hold another one.
  for (const secret of [...secrets].sort((a, b) => b.length - a.length)) {
    if (secret.length >= SHORTEST_SECRET) clean = clean.replaceAll(secret, '***');
  }
  const line = clean.replaceAll(/[\p{Cc}\s]+/gu, ' ').trim();
  return line.length <= MAX_LENGTH ? line : `${line.slice(0, MAX_LENGTH - 1)}…`;
}
