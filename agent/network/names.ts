import { parseIp } from '../../shared/model/cidr.ts';
import { hash32 } from './hash.ts';

/** All our namespaces start with one of these; nothing else under /run/netns is ever touched. */
export const NETWORK_NAMESPACE_PREFIX = 'sw-n-';
export const TASK_NAMESPACE_PREFIX = 'sw-t-';
/** Links of ours in the host's namespace: to a network's namespace, and to a container without networks. */
export const HOST_LINK_PREFIX = 'sw-';
export const NETWORK_LINK_PREFIX = 'sw-n';
export const EGRESS_LINK_PREFIX = 'sw-g';
/** Devices in a network's namespace. */
export const VXLAN_LINK = 'vx';
export const GATEWAY_LINK = 'gw';
export const CONTAINER_LINK_PREFIX = 'c';
export const NETWORK_TABLE = 'sw';
export const HOST_TABLE = 'swi';

/** The containers' gateway: on no device at all, known to them by a static neighbour entry. */
export const CONTAINER_GATEWAY = '169.254.1.1';
export const CONTAINER_GATEWAY_MAC = 'ee:ee:ee:ee:ee:ee';
/** The host as the networks' namespaces see it (on the host's `lo`); the name server listens there. */
export const HOST_INNER_ADDRESS = '169.254.64.1';
/** A network's namespace as the host sees it. The same in each: routes name the device. */
export const NETWORK_INNER_ADDRESS = '169.254.64.2';
/** What containers have in /etc/resolv.conf, as with Docker: images hard-code it. */
export const CONTAINER_NAMESERVER = '127.0.0.11';

export function networkNamespace(networkId: string): string {
  return NETWORK_NAMESPACE_PREFIX + networkId.slice(0, 8);
}

export function taskNamespace(taskId: string): string {
  return TASK_NAMESPACE_PREFIX + taskId.slice(0, 12);
}

/** The host's end of the link to a network's namespace. */
export function networkLink(networkId: string): string {
  return NETWORK_LINK_PREFIX + networkId.slice(0, 8);
}

/** The host's end of the link to a container that is on no network. */
export function egressLink(taskId: string): string {
  return EGRESS_LINK_PREFIX + taskId.slice(0, 10);
}

/** A container's link in a network's namespace. */
export function containerLink(taskId: string): string {
  return CONTAINER_LINK_PREFIX + taskId.slice(0, 12);
}

/**
 * A container's MAC address: from task and network, so that nothing has to be remembered, and not from the
 * IP address, so that state left from a former owner of the address can never match.
 */
export function containerMac(taskId: string, networkId: string): string {
  return `02:42:${hexBytes(hash32(`${taskId}/${networkId}`))}`;
}

/** MAC addresses of the link between host and network namespace; `end` is whose end it is. */
export function gatewayMac(networkId: string, end: 'host' | 'network'): string {
  return `02:${end === 'host' ? '45' : '46'}:${hexBytes(hash32(networkId))}`;
}

/** MAC address of a host's VXLAN device: known to all others from the host's underlay address. */
export function vtepMac(hostAddress: string): string {
  return `02:44:${hexBytes(ipv4Number(hostAddress))}`;
}

/** An IPv4 address as a number of 32 bits. Throws RangeError when it is not one. */
export function ipv4Number(address: string): number {
  const ip = parseIp(address);
  if (ip?.family !== 4) throw new RangeError(`Cannot read "${address}" as an IPv4 address`);
  return Number(ip.value);
}

export function isIpv4(address: string): boolean {
  return parseIp(address)?.family === 4;
}

function hexBytes(value: number): string {
  return [24, 16, 8, 0]
    .map((shift) => ((value >>> shift) & 0xff).toString(16).padStart(2, '0'))
    .join(':');
}
