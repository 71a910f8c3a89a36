import { ShoalError } from '../../shared/errors.ts';

/** An address of this host, as the operating system lists them. */
export type InterfaceAddress = Readonly<{ name: string; address: string; internal: boolean }>;

/** `host[:port]`, IPv6 in brackets when a port follows. */
export function splitHostPort(text: string, defaultPort: number): { host: string; port: number } {
  const match =
    /^(?:\[([^\]]+)\]|([^:]+|[0-9a-fA-F]*:[0-9a-fA-F]*:[0-9a-fA-F:.]*))?(?::(\d+))?$/.exec(text);
  const host = match?.[1] ?? match?.[2] ?? '';
  const port = match?.[3] === undefined ? defaultPort : Number(match[3]);
  if (match === null || port < 1 || port > 65535) {
    throw new ShoalError('invalid-argument', `invalid address "${text}": expected ADDRESS[:PORT]`);
  }
  return { host, port };
}

/**
 * The IP address to be reached at: an address, or the name of an interface that has one; empty chooses the
 * host's only address. Throws ShoalError `invalid-argument` in Docker's words when it cannot choose.
 */
export function resolveAdvertised(asked: string, interfaces: readonly InterfaceAddress[]): string {
  const outside = interfaces.filter(({ internal }) => !internal);
  if (asked === '') {
    const [only, ...others] = outside;
    if (only !== undefined && others.length === 0) return only.address;
    throw new ShoalError(
      'invalid-argument',
      only === undefined
        ? "could not find the system's IP address: specify one with --advertise-addr"
        : `could not choose an IP address to advertise since this system has multiple addresses (${outside
            .map(({ name, address }) => `${address} on ${name}`)
            .join(', ')}) - specify one with --advertise-addr`,
    );
  }
  const named = interfaces.find(({ name }) => name === asked);
  if (named !== undefined) return named.address;
  if (/^[\d.]+$|:/.test(asked)) return asked;
  throw new ShoalError(
    'invalid-argument',
    `advertise address must be a non-zero IP address or network interface, "${asked}" is neither`,
  );
}

/**
 * The IP address to be reached at after a restart; `recorded` is that of before. The daemon's flag
 * counts when it is another than it was; an address that was asked for stays, and so does one that
 * this host still has. Else the host has moved, and it is found again the way it was found at first.
 */
export function advertisedNow(
  recorded: string,
  found: Readonly<{ asked: string; flag: string }> | undefined,
  flag: string,
  interfaces: readonly InterfaceAddress[],
): string {
  if (found === undefined) return recorded; // of a version that did not write it down
  if (flag !== '' && flag !== found.flag) return resolveAdvertised(flag, interfaces);
  const way = found.asked || flag;
  const isNamed = way !== '' && !interfaces.some(({ name }) => name === way);
  if (isNamed || interfaces.some(({ address }) => address === recorded)) return recorded;
  return resolveAdvertised(way, interfaces);
}
