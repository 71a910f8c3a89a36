import { ShoalError } from '../../shared/errors.ts';
import type { OciUser } from './oci.ts';

/** Text of an image's /etc/passwd and /etc/group; empty where it has none. */
export type UserFiles = Readonly<{ passwd: string; group: string }>;

type Entry = Readonly<{ name: string; id: number; fields: readonly string[] }>;

const MAX_ID = 2 ** 31 - 1;

/**
 * Who a process runs as: `name|uid[:group|gid]`, as Docker reads it. A number need not be in the files. A
 * user without an explicit group also gets the groups that list it as a member. `groups` are more names or
 * numbers. Throws `invalid-argument` with Docker's words.
 */
export function resolveUser(user: string, groups: readonly string[], files: UserFiles): OciUser {
  const [userPart = '', groupPart] = split(user);
  const passwd = parse(files.passwd);
  const group = parse(files.group);
  const asNumber = numeric(userPart);
  const known =
    userPart === ''
      ? passwd.find((entry) => entry.id === 0)
      : passwd.find((entry) => entry.name === userPart || entry.id === asNumber);
  if (known === undefined && userPart !== '' && asNumber === undefined) {
    throw new ShoalError(
      'invalid-argument',
      `unable to find user ${userPart}: no matching entries in passwd file`,
    );
  }
  const uid = known?.id ?? asNumber ?? 0;
  let gid = numeric(known?.fields[3] ?? '') ?? 0;
  const gids = new Set<number>();
  if (groupPart !== undefined) {
    gid = groupId(groupPart, group);
  } else if (known !== undefined) {
    for (const entry of group) {
      if ((entry.fields[3] ?? '').split(',').includes(known.name)) gids.add(entry.id);
    }
  }
  for (const extra of groups) gids.add(groupId(extra, group));
  return { uid, gid, additionalGids: [...new Set([gid, ...gids])] };
}

function split(user: string): [string, string | undefined] {
  const colon = user.indexOf(':');
  return colon < 0 ? [user, undefined] : [user.slice(0, colon), user.slice(colon + 1)];
}

function groupId(wanted: string, group: readonly Entry[]): number {
  const asNumber = numeric(wanted);
  const known = group.find((entry) => entry.name === wanted || entry.id === asNumber);
  const id = known?.id ?? asNumber;
  if (id === undefined) {
    throw new ShoalError(
      'invalid-argument',
      `unable to find group ${wanted}: no matching entries in group file`,
    );
  }
  return id;
}

function parse(text: string): Entry[] {
  return text.split('\n').flatMap((line) => {
    const fields = line.trim().split(':');
    const [name] = fields;
    const id = numeric(fields[2] ?? '');
    return name && !name.startsWith('#') && id !== undefined ? [{ name, id, fields }] : [];
  });
}

function numeric(text: string): number | undefined {
  if (!/^\d+$/.test(text)) return undefined;
  const value = Number(text);
  return value <= MAX_ID ? value : undefined;
}
