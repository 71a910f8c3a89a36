import { parseIp } from '../../../shared/model/cidr.ts';

/** More are not tried: with each one's time-out the container would have given up. */
const MAX_SERVERS = 3;

/**
 * Name servers of a host's /etc/resolv.conf, without our own: else a query would go round for ever, as it
 * would when a host's resolv.conf was copied from a container.
 */
export function forwardersOf(resolvConf: string, own: readonly string[]): string[] {
  const servers: string[] = [];
  for (const line of resolvConf.split('\n')) {
    const address = /^\s*nameserver\s+(\S+)/.exec(line)?.[1];
    // A zone (fe80::1%eth0) is left on: sockets understand it.
    if (address === undefined || parseIp(address.replace(/%.*/, '')) === undefined) continue;
    if (!own.includes(address) && !servers.includes(address)) servers.push(address);
  }
  return servers.slice(0, MAX_SERVERS);
}
