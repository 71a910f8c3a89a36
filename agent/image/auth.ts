/** What a registry answers with 401: how to prove who we are. */
export type Challenge =
  | Readonly<{ scheme: 'basic' }>
  | Readonly<{ scheme: 'bearer'; realm: string; service: string; scope: string }>;

/** The header `WWW-Authenticate`; undefined for a scheme that we do not know. */
export function parseChallenge(header: string | undefined): Challenge | undefined {
  const [, scheme = '', rest = ''] = /^\s*(\S+)\s*(.*)$/.exec(header ?? '') ?? [];
  if (scheme.toLowerCase() === 'basic') return { scheme: 'basic' };
  if (scheme.toLowerCase() !== 'bearer') return undefined;
  const values: Record<string, string> = {};
  for (const [, key = '', quoted, plain] of rest.matchAll(/(\w+)=(?:"([^"]*)"|([^\s,]+))/g)) {
    values[key.toLowerCase()] = quoted ?? plain ?? '';
  }
  if (values.realm === undefined || !URL.canParse(values.realm)) return undefined;
  return {
    scheme: 'bearer',
    realm: values.realm,
    service: values.service ?? '',
    scope: values.scope ?? '',
  };
}

/** Where to ask for a token: one for `scope`, or for none, which only proves who asks. */
export function tokenUrl(
  challenge: Challenge & { scheme: 'bearer' },
  scope: string,
  account: string | undefined,
): string {
  const url = new URL(challenge.realm);
  if (challenge.service !== '') url.searchParams.set('service', challenge.service);
  if (scope !== '') url.searchParams.set('scope', scope);
  if (account) url.searchParams.set('account', account);
  return url.toString();
}
