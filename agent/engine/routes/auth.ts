import type { Clock } from '../../../shared/clock.ts';
import { messageOf } from '../../../shared/errors.ts';
import { parseChallenge, tokenUrl } from '../../image/auth.ts';
import { isLoopback } from '../../image/reference.ts';
import { struct, text } from '../codec.ts';
import { type Call, HttpError, json, type Reply } from '../http.ts';
import { withDeadline } from './common.ts';

type Credentials = { username: string; password: string; address: string };
const credentials = struct<Credentials>({
  username: ['username', text],
  password: ['password', text],
  address: ['serveraddress', text],
});

const LOGIN_MS = 15_000;

/** `docker login`: asks the registry whether it takes these credentials; nothing is kept here. */
export async function authenticate(clock: Clock, call: Call): Promise<Reply> {
  const given = credentials.decode(await call.json(), '');
  if (given.username === '') throw new HttpError(400, 'invalid login: username is required');
  const accepted = await withDeadline(clock, LOGIN_MS, call.signal, (signal) =>
    isAccepted(given, signal),
  ).catch((error: unknown) => {
    throw new HttpError(500, `Get "${registryUrl(given.address)}": ${messageOf(error)}`, {
      cause: error,
    });
  });
  if (!accepted) {
    throw new HttpError(
      401,
      `login attempt to ${registryUrl(given.address)} failed with status: 401 Unauthorized`,
    );
  }
  return json({ Status: 'Login Succeeded', IdentityToken: '' });
}

/** Where a registry's API is. Loopback is spoken to without TLS, as for pulls. */
export function registryUrl(address: string): string {
  const host = address.replace(/^https?:\/\//, '').replace(/\/.*$/, '');
  if (host === '' || host === 'docker.io' || host === 'index.docker.io') {
    return 'https://registry-1.docker.io/v2/';
  }
  return `${isLoopback(host) ? 'http' : 'https'}://${host}/v2/`;
}

async function isAccepted(given: Credentials, signal: AbortSignal): Promise<boolean> {
  const pair = Buffer.from(`${given.username}:${given.password}`).toString('base64');
  const headers = { Authorization: `Basic ${pair}` };
  const answer = await fetch(registryUrl(given.address), { headers, signal });
  await answer.body?.cancel();
  if (answer.ok) return true;
  const challenge = parseChallenge(answer.headers.get('www-authenticate') ?? '');
  if (answer.status !== 401 || challenge?.scheme !== 'bearer') return false;
  const token = await fetch(tokenUrl(challenge, '', undefined), { headers, signal });
  await token.body?.cancel();
  return token.ok;
}
