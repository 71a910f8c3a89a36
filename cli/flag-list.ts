/** What a source may say of itself; a comma ends a value only before one of these, as queries have commas of their own. */
const LEAVES = [
  'name',
  'address',
  'key',
  'stream',
  'group',
  'database',
  'tls',
  'url',
  'consumer',
  'query',
  'path',
  'per-replica',
  'activation',
  'username',
  'password-secret',
  'token-secret',
  'ca-secret',
];
const BETWEEN = new RegExp(`,(?=(?:${LEAVES.join('|')})=)`);

/** `address=redis:6379,key=jobs` as an object. Throws an Error that names the flag. */
export function readFlagList(flag: string, text: string): Record<string, string> {
  const entries: Record<string, string> = {};
  for (const part of text.split(BETWEEN)) {
    const [, key, value] = /^([a-z-]+)=(.*)$/s.exec(part) ?? [];
    if (key === undefined || value === undefined) {
      throw new Error(
        `--${flag} is KEY=VALUE,KEY=VALUE..., with keys of ${LEAVES.join(', ')}, not "${text}"`,
      );
    }
    if (Object.hasOwn(entries, key)) throw new Error(`--${flag}: ${key} is given twice`);
    entries[key] = value;
  }
  return entries;
}
