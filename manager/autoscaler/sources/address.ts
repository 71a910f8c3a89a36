import { ShoalError } from '../../../shared/errors.ts';

/** Where a source listens, as its spec names it. */
export type Address = Readonly<{ host: string; port: number }>;

/** An address that a socket can be opened to, and the name that its certificate is checked by. */
export type Dial = Address & Readonly<{ serverName: string }>;

export const REDIS_PORT = 6379;
export const SENTINEL_PORT = 26379;
export const NATS_PORT = 4222;

/**
 * `host:port`, `host` (the port is then `defaultPort`) or `[::1]:port`. Throws ShoalError `invalid-argument` with what
 * is wrong.
 */
export function parseAddress(text: string, defaultPort: number): Address {
  const [, bracketed, plain, digits] =
    /^(?:\[([0-9a-fA-F:.]+)\]|([^[\]:/@\s]+))(?::(\d{1,5}))?$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const port = digits === undefined ? defaultPort : Number(digits);
  if (host === undefined || port < 1 || port > 65_535) {
    throw new ShoalError('invalid-argument', `${shown(text)} is no address: write host:port`);
  }
  return { host, port };
}

/** A URL of http or https. Throws ShoalError `invalid-argument`, also for one with a user or password in it. */
export function parseHttpUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new ShoalError(
      'invalid-argument',
      `${shown(text)} is no URL: write http://host:port/path`,
    );
  }
  refuseCredentials(url);
  return url;
}

/** The host and port that a URL of http or https leads to; an IPv6 host without its brackets. */
export function addressOf(url: URL): Address {
  const port = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);
  return { host: url.hostname.replace(/^\[(.*)\]$/, '$1'), port };
}

/** One of those that a source may be reached at. */
export type Server = Address & Readonly<{ tls: boolean }>;

/** `nats://host:4222` or `tls://host:4222`, several separated by commas. Throws ShoalError `invalid-argument`. */
export function parseNatsUrls(text: string): Server[] {
  const expected = 'server of NATS: write nats://host:4222 or tls://host:4222';
  return parseServers(text, /^(?:nats|(tls)):\/\//, NATS_PORT, expected);
}

/**
 * `host:6379`, `redis://host:6379` or `rediss://host:6379`, several separated by commas. Throws ShoalError
 * `invalid-argument`.
 */
export function parseRedisAddresses(text: string, defaultPort = REDIS_PORT): Server[] {
  const expected = 'address: write host:port, or rediss://host:port for TLS';
  return parseServers(text, /^(?:redis|(rediss)):\/\//, defaultPort, expected);
}

/** `scheme` is what may go before the address, and has a group for TLS. */
function parseServers(
  text: string,
  scheme: RegExp,
  defaultPort: number,
  expected: string,
): Server[] {
  return text.split(',').map((part) => {
    const trimmed = part.trim();
    const [before = '', tls] = scheme.exec(trimmed) ?? [];
    const rest = trimmed.slice(before.length).replace(/\/$/, '');
    if (rest.includes('@')) throw credentialsError();
    if (rest.includes('/')) {
      throw new ShoalError('invalid-argument', `${shown(trimmed)} is no ${expected}`);
    }
    return { ...parseAddress(rest, defaultPort), tls: tls !== undefined };
  });
}

function refuseCredentials(url: URL): void {
  if (url.username !== '' || url.password !== '') throw credentialsError();
}

function credentialsError(): ShoalError {
  return new ShoalError(
    'invalid-argument',
    'a user or password has no place in the URL: put it into a secret, and name that in auth',
  );
}

/** What an operator wrote, unless it could hold a password. */
function shown(text: string): string {
  return text.includes('@') ? 'what is given' : JSON.stringify(text.slice(0, 100));
}
