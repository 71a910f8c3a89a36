import type { Host } from '../../shared/gen/shoal/v1/dispatcher.ts';
import type { Network } from '../../shared/gen/shoal/v1/objects.ts';
import { cidrsOverlap, formatCidr, parseCidr } from '../../shared/model/cidr.ts';
import type { LocalTask } from './types.ts';

/** A container's link in the namespace of one network; what clients do with it may be counted. */
export type LocalLink = Readonly<{
  taskId: string;
  address: string;
  link: string;
  counted: boolean;
}>;

/** A container without networks: its address of this host's own pool. */
export type EgressLink = Readonly<{ taskId: string; address: string; counted: boolean }>;

/** A host-mode port: `published` on this host leads to `address`:`target`. */
export type HostPort = Readonly<{
  protocol: string;
  published: number;
  address: string;
  target: number;
}>;

/** A wired task with the addresses it sends from. */
export type AttachedTask = Readonly<{
  task: LocalTask;
  addresses: readonly Readonly<{ networkId: string; address: string }>[];
}>;

/** IPv4 subnets of a network, in canonical form. */
export function subnetsOf(network: Network): string[] {
  return network.ipam.flatMap(({ subnet }) => {
    const cidr = parseCidr(subnet);
    return cidr?.family === 4 ? [formatCidr(cidr)] : [];
  });
}

/** The subnets without those that lie in another one: an interval set takes no overlaps. */
export function disjoint(subnets: Iterable<string>): string[] {
  const cidrs = [...new Set(subnets)].flatMap((subnet) => parseCidr(subnet) ?? []);
  // The widest first: of two that overlap one contains the other.
  cidrs.sort((a, b) => a.prefix - b.prefix);
  return cidrs
    .filter((cidr, index) => !cidrs.slice(0, index).some((wider) => cidrsOverlap(wider, cidr)))
    .map(formatCidr);
}

/** MTU of a network: the cluster's, or what its driver option asks for when that is less. */
export function networkMtu(network: Network, clusterMtu: number): number {
  const asked = Number(network.spec?.driverOptions['com.docker.network.driver.mtu'] ?? Number.NaN);
  return Number.isInteger(asked) && asked >= MIN_MTU ? Math.min(asked, clusterMtu) : clusterMtu;
}

/** Every IPv4 host can take packets of 576 bytes (RFC 791); below it something is misread. */
const MIN_MTU = 576;
/** Of Ethernet, less VXLAN's 50 bytes over IPv4. */
const DEFAULT_MTU = 1450;

/** The largest inner packet that all hosts carry: a larger one would be lost on its way to some. */
export function clusterMtu(hosts: Iterable<Pick<Host, 'overlayMtu'>>): number {
  let mtu = Number.POSITIVE_INFINITY;
  for (const { overlayMtu } of hosts) if (overlayMtu >= MIN_MTU) mtu = Math.min(mtu, overlayMtu);
  return Number.isFinite(mtu) ? mtu : DEFAULT_MTU;
}

/** Whether this network is wired by us: an overlay that the managers have given its number and subnet. */
export function isWirable(network: Network): boolean {
  return network.vni > 0 && subnetsOf(network).length > 0;
}
