import type { IpamConfig, NetworkSpec } from '../../../shared/gen/shoal/v1/objects.ts';
import {
  type Cidr,
  cidrContains,
  cidrsOverlap,
  formatCidr,
  parseCidr,
  parseIp,
} from '../../../shared/model/cidr.ts';
import { checkLabels } from '../../../shared/model/labels.ts';
import { invalid, unimplemented } from '../refuse.ts';
import { checkNetworkName } from './names.ts';

const MTU_OPTION = 'com.docker.network.driver.mtu';
/** The smallest every IPv4 host must take, and the largest of an interface. */
const [MIN_MTU, MAX_MTU] = [576, 65_535];
/** Room for the network's and a few tasks' addresses at least; nothing wider than a private pool. */
const [WIDEST, NARROWEST] = [8, 29];

export function completeNetworkSpec(spec: NetworkSpec): NetworkSpec {
  return { ...spec, driver: spec.driver || 'overlay' };
}

/** Judges what can be judged without other networks. Expects a completed spec. */
export function checkNetworkSpec(spec: NetworkSpec): void {
  checkNetworkName(spec.name);
  checkLabels('labels', spec.labels);
  if (spec.driver !== 'overlay') {
    throw unimplemented(
      `network driver ${JSON.stringify(spec.driver)} is not supported for cluster networks: use overlay`,
    );
  }
  for (const [option, value] of Object.entries(spec.driverOptions)) checkOption(option, value);
  if (spec.ingress && spec.attachable) throw invalid('ingress network cannot be attachable');
  if (spec.ingress && spec.internal) throw invalid('ingress network cannot be internal');
  // The allocator could number them, but hosts would not carry a packet.
  if (spec.ipv6) throw unimplemented('networks with IPv6 are not supported yet: leave out --ipv6');
  const subnets: Cidr[] = [];
  for (const config of spec.ipam) {
    const subnet = checkIpam(config);
    if (subnet === undefined) continue;
    const twice = subnets.find((other) => cidrsOverlap(other, subnet));
    if (twice !== undefined) {
      throw invalid(`IPAM: subnets ${formatCidr(twice)} and ${formatCidr(subnet)} overlap`);
    }
    subnets.push(subnet);
  }
}

/** The subnets a spec asks for; those it leaves to the allocator are not among them. */
export function subnetsOf(ipam: readonly IpamConfig[]): Cidr[] {
  return ipam.flatMap(({ subnet }) => parseCidr(subnet) ?? []);
}

function checkOption(option: string, value: string): void {
  if (option === MTU_OPTION) {
    const mtu = /^\d{1,5}$/.test(value) ? Number(value) : 0;
    if (mtu < MIN_MTU || mtu > MAX_MTU) {
      throw invalid(
        `option ${MTU_OPTION}: ${JSON.stringify(value)} must be a number from ${MIN_MTU} to ${MAX_MTU}`,
      );
    }
    return;
  }
  throw unimplemented(
    `network option ${JSON.stringify(option)} is not supported yet: leave it out`,
  );
}

function checkIpam(config: IpamConfig): Cidr | undefined {
  if (config.subnet === '') {
    if (config.range !== '' || config.gateway !== '') {
      throw invalid('IPAM: a range or a gateway needs the subnet that it lies in');
    }
    return undefined;
  }
  const subnet = parseCidr(config.subnet);
  if (subnet === undefined) {
    throw invalid(
      `IPAM: invalid subnet ${JSON.stringify(config.subnet)}: expected an address and a length, like 10.10.0.0/24`,
    );
  }
  if (subnet.family === 6) {
    throw unimplemented(
      `IPAM: subnet ${config.subnet}: networks with IPv6 are not supported yet: give one of IPv4`,
    );
  }
  if (subnet.address !== subnet.base) {
    throw invalid(
      `IPAM: invalid subnet ${config.subnet}: it should be ${formatCidr(subnet)}, without host bits`,
    );
  }
  if (subnet.prefix < WIDEST || subnet.prefix > NARROWEST) {
    throw invalid(
      `IPAM: invalid subnet ${config.subnet}: its length must be from /${WIDEST} to /${NARROWEST}`,
    );
  }
  if (config.range !== '') {
    const range = parseCidr(config.range);
    if (range === undefined || range.prefix < subnet.prefix || !cidrsOverlap(subnet, range)) {
      throw invalid(
        `IPAM: range ${JSON.stringify(config.range)} is not a part of subnet ${config.subnet}`,
      );
    }
  }
  if (config.gateway !== '') checkInside('gateway', config.gateway, subnet);
  for (const [name, address] of Object.entries(config.auxAddresses)) {
    checkInside(`auxiliary address ${name}`, address, subnet);
  }
  return subnet;
}

function checkInside(what: string, text: string, subnet: Cidr): void {
  const ip = parseIp(text);
  if (ip === undefined) throw invalid(`IPAM: ${what} ${JSON.stringify(text)} is not an address`);
  if (!cidrContains(subnet, ip)) {
    throw invalid(`IPAM: ${what} ${text} is not in subnet ${formatCidr(subnet)}`);
  }
}
