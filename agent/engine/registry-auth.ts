import type { RegistryAuth } from '../image/types.ts';
import { isObject } from './codec.ts';

/**
 * Credentials out of `X-Registry-Auth`: base64url of JSON. Clients send it always, mostly empty, and
 * some send nonsense: what cannot be read counts as none, as in Docker.
 */
export function registryAuth(header: string | undefined): RegistryAuth | undefined {
  if (header === undefined || header === '') return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(header, 'base64url').toString('utf8'));
  } catch {
    return undefined;
  }
  if (!isObject(parsed)) return undefined;
  const field = (name: string) => (typeof parsed[name] === 'string' ? parsed[name] : '');
  const [user = '', ...rest] = Buffer.from(field('auth'), 'base64').toString('utf8').split(':');
  const auth = {
    username: field('username') || user,
    password: field('password') || rest.join(':'),
    identityToken: field('identitytoken'),
  };
  return auth.username === '' && auth.identityToken === '' ? undefined : auth;
}
