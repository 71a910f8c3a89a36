import {
  type Cluster,
  type IpamConfig,
  type Network,
  type NetworkAttachment,
  type PortConfig,
  type Service,
  type Task,
  TaskState,
  type VirtualIp,
} from '../../shared/gen/shoal/v1/objects.ts';
import {
  type Cidr,
  cidrContains,
  cidrsOverlap,
  formatCidr,
  formatIp,
  type IpAddress,
  parseCidr,
  parseIp,
} from '../../shared/model/cidr.ts';
import { DEFAULT_ADDRESS_POOLS, DEFAULT_SUBNET_SIZE } from '../../shared/model/cluster-spec.ts';
import { sameValue } from '../../shared/model/equal.ts';
import { chooseSubnet, defaultGateway } from './ipam.ts';
import type { Ledger, NetworkPools } from './ledger.ts';
import { FIRST_DYNAMIC_PORT, isIngress, LAST_DYNAMIC_PORT } from './ports.ts';

/** Swarm's: numbers below are used by others on the same wires. */
const FIRST_VNI = 4096;
const LAST_VNI = 2 ** 24 - 1;
/** Networks every host has of its own: nothing is allocated on them. */
const LOCAL_NETWORKS = new Set(['host', 'bridge', 'none']);

/** What an object needs and cannot have; says what would help. */
export class Refusal {
  readonly message: string;
  /** The network whose release would help; undefined: something else would. */
  readonly networkId: string | undefined;
  constructor(message: string, networkId?: string) {
    this.message = message;
    this.networkId = networkId;
  }
}

/** Where subnets come from, and addresses that must not be hidden behind one. */
export type Surroundings = Readonly<{
  cluster: Cluster | undefined;
  hostAddresses: readonly IpAddress[];
}>;

function isLocalNetwork(target: string): boolean {
  return LOCAL_NETWORKS.has(target);
}

export function networkNeedsAllocation(network: Network): boolean {
  return network.ipam.length === 0 || network.vni === 0;
}

/** Gives the network a number, subnets and gateways. The ledger remembers them tentatively. */
export function allocateNetwork(
  ledger: Ledger,
  network: Network,
  surroundings: Surroundings,
): Network | Refusal {
  const vni = nextVni(ledger);
  if (vni === undefined) return new Refusal('no VXLAN network number is free: remove a network');
  const wanted = wantedIpam(network, vni);
  const ipam: IpamConfig[] = [];
  const mine: Cidr[] = [];
  for (const config of wanted) {
    const filled =
      config.subnet === ''
        ? fromDefaultPools(ledger, config, mine, surroundings)
        : asGiven(ledger, config, mine);
    if (filled instanceof Refusal) return filled;
    ipam.push(filled.config);
    mine.push(filled.subnet);
  }
  const allocated: Network = { ...network, vni, ipam, allocationError: '' };
  ledger.tryNetwork(allocated);
  return allocated;
}

/** What the spec asks for; nothing asked means one subnet of the pools, and one of IPv6 if enabled. */
function wantedIpam({ spec }: Network, vni: number): IpamConfig[] {
  const given = spec?.ipam ?? [];
  const wanted = given.length > 0 ? [...given] : [emptyIpam('')];
  const hasIpv6 = wanted.some(({ subnet }) => parseCidr(subnet)?.family === 6);
  if (spec?.ipv6 && !hasIpv6) wanted.push(emptyIpam(uniqueLocalSubnet(vni)));
  return wanted;
}

/**
 * A private IPv6 subnet (RFC 4193) that no other network of the cluster has, because its number is
 * in it: fd53:686f:61 and the 24 bits of the VXLAN network number, then 64 bits of host.
 */
function uniqueLocalSubnet(vni: number): string {
  const base = (0xfd53686f61n << 88n) | (BigInt(vni) << 64n);
  return `${formatIp({ family: 6, value: base })}/64`;
}

function emptyIpam(subnet: string): IpamConfig {
  return { subnet, range: '', gateway: '', auxAddresses: {} };
}

type Filled = Readonly<{ config: IpamConfig; subnet: Cidr }>;

function fromDefaultPools(
  ledger: Ledger,
  config: IpamConfig,
  mine: readonly Cidr[],
  { cluster, hostAddresses }: Surroundings,
): Filled | Refusal {
  const given = cluster?.defaultAddressPools ?? [];
  const texts = given.length > 0 ? given : DEFAULT_ADDRESS_POOLS;
  const prefix = cluster?.subnetSize || DEFAULT_SUBNET_SIZE;
  const subnet = chooseSubnet({
    pools: texts.flatMap((text) => parseCidr(text) ?? []),
    prefix,
    taken: [...ledger.subnets(), ...mine],
    avoid: hostAddresses,
    after: ledger.lastSubnet,
  });
  if (subnet === undefined) {
    return new Refusal(
      `no free /${prefix} subnet in ${texts.join(', ')}: remove a network or give one a subnet`,
    );
  }
  const gateway = config.gateway || formatIp(defaultGateway(subnet));
  return { config: { ...config, subnet: formatCidr(subnet), gateway }, subnet };
}

function asGiven(ledger: Ledger, config: IpamConfig, mine: readonly Cidr[]): Filled | Refusal {
  const subnet = parseCidr(config.subnet);
  if (subnet === undefined) return new Refusal(`"${config.subnet}" is not a subnet`);
  const range = config.range === '' ? undefined : parseCidr(config.range);
  if (config.range !== '' && (range === undefined || !contains(subnet, range))) {
    return new Refusal(`range "${config.range}" is not within subnet ${config.subnet}`);
  }
  const gateway = config.gateway === '' ? defaultGateway(subnet) : parseIp(config.gateway);
  if (gateway === undefined || !cidrContains(subnet, gateway)) {
    return new Refusal(`gateway "${config.gateway}" is not within subnet ${config.subnet}`);
  }
  for (const other of mine) {
    if (cidrsOverlap(other, subnet)) return new Refusal(`subnet ${config.subnet} is given twice`);
  }
  for (const { network, pools } of ledger.networks.values()) {
    const overlapping = pools.find((pool) => cidrsOverlap(pool.subnet, subnet));
    if (overlapping !== undefined) {
      const theirs = formatCidr(overlapping.subnet);
      return new Refusal(
        `subnet ${config.subnet} overlaps with ${theirs} of network ${network.spec?.name ?? ''}`,
      );
    }
  }
  return { config: { ...config, subnet: formatCidr(subnet), gateway: formatIp(gateway) }, subnet };
}

function contains(outer: Cidr, inner: Cidr): boolean {
  return inner.prefix >= outer.prefix && cidrsOverlap(outer, inner);
}

function nextVni(ledger: Ledger): number | undefined {
  const count = LAST_VNI - FIRST_VNI + 1;
  const start = Math.max(0, ledger.lastVni - FIRST_VNI + 1);
  // Rotates, like addresses; looks at no more numbers than there are networks.
  for (let step = 0; step <= Math.min(ledger.networks.size, count - 1); step++) {
    const vni = FIRST_VNI + ((start + step) % count);
    if (!ledger.vniTaken(vni)) return vni;
  }
  return undefined;
}

// ---- services -------------------------------------------------------------------------------

/**
 * The service with the ports and virtual addresses its spec asks for; what it has and still needs
 * stays as it is. Undefined when it has them all already.
 */
export function allocateService(ledger: Ledger, service: Service): Service | Refusal | undefined {
  const ports = allocatePorts(ledger, service);
  if (ports instanceof Refusal) return ports;
  const virtualIps = allocateVips(ledger, service, ports.some(isIngress));
  if (virtualIps instanceof Refusal) return virtualIps;
  const had = service.endpoint ?? { ports: [], virtualIps: [] };
  if (sameValue(had, { ports, virtualIps }) && service.allocationError === '') return undefined;
  return { ...service, endpoint: { ports, virtualIps }, allocationError: '' };
}

function allocatePorts(ledger: Ledger, service: Service): PortConfig[] | Refusal {
  const mine = [...(service.endpoint?.ports ?? [])];
  const ports: PortConfig[] = [];
  for (const wanted of service.spec?.endpoint?.ports ?? []) {
    const port: PortConfig = { ...wanted, protocol: wanted.protocol || 'tcp' };
    // A number given out before stays, whatever else changed: clients know it.
    const at = mine.findIndex((held) => answers(held, port));
    const [held] = at < 0 ? [] : mine.splice(at, 1);
    if (held !== undefined) {
      ports.push({ ...port, publishedPort: held.publishedPort });
      continue;
    }
    if (port.publishedPort === 0 && isIngress(port)) {
      const found = ledger.ports.dynamic(port.protocol);
      if (found === undefined) {
        return new Refusal(
          `no free ${port.protocol} port between ${FIRST_DYNAMIC_PORT} and ${LAST_DYNAMIC_PORT}: give a published port`,
        );
      }
      port.publishedPort = found;
    }
    const conflict = ledger.ports.conflict(port, service.id);
    if (conflict !== undefined) {
      const how = conflict.mode === 'ingress' ? 'as an ingress port' : 'as a host-published port';
      return new Refusal(
        `port '${port.publishedPort}' is already in use by service ${conflict.serviceId} ${how}`,
      );
    }
    ledger.tryPort(port, service.id);
    ports.push(port);
  }
  return ports;
}

/** Whether a port held answers what the spec asks for: all equal, a number only where one is asked. */
function answers(held: PortConfig, wanted: PortConfig): boolean {
  const { publishedPort } = held;
  const number =
    wanted.publishedPort === 0 && isIngress(wanted) ? publishedPort : wanted.publishedPort;
  return sameValue(held, { ...wanted, publishedPort: number });
}

function allocateVips(ledger: Ledger, service: Service, publishes: boolean): VirtualIp[] | Refusal {
  const targets = networkTargets(service.spec?.task?.networks ?? []);
  if (publishes) {
    if (ledger.ingressId === undefined) {
      return new Refusal(
        'there is no ingress network: create one (network create --ingress) or publish ports with mode=host',
      );
    }
    targets.add(ledger.ingressId);
  }
  const dnsrr = service.spec?.endpoint?.mode === 'dnsrr';
  const vips: VirtualIp[] = [];
  for (const networkId of targets) {
    const held = service.endpoint?.virtualIps.find((vip) => vip.networkId === networkId);
    if (dnsrr) {
      vips.push({ networkId, address: '' });
    } else if (held !== undefined && held.address !== '') {
      vips.push(held);
    } else {
      const address = takeAddress(ledger, networkId, 4);
      if (address instanceof Refusal) return address;
      vips.push({ networkId, address });
    }
  }
  return vips;
}

/** Cluster networks of a spec, each once. */
function networkTargets(networks: readonly Readonly<{ target: string }>[]): Set<string> {
  const targets = networks.map(({ target }) => target).filter((target) => !isLocalNetwork(target));
  return new Set(targets);
}

// ---- tasks ----------------------------------------------------------------------------------

/**
 * The task with its addresses and its service's ports, PENDING: ready to be scheduled. All its
 * addresses or none are taken.
 */
export function allocateTask(
  ledger: Ledger,
  task: Task,
  service: Service | undefined,
  nowMs: number,
): Task | Refusal {
  const aliases = new Map<string, string[]>();
  if (task.ports.some(isIngress) && ledger.ingressId !== undefined) {
    aliases.set(ledger.ingressId, []);
  }
  for (const { target, aliases: given } of task.spec?.networks ?? []) {
    if (isLocalNetwork(target)) continue;
    aliases.set(target, [...(aliases.get(target) ?? []), ...given]);
  }
  const networks: NetworkAttachment[] = [];
  for (const [networkId, names] of aliases) {
    const addresses = takeAddresses(ledger, networkId);
    if (addresses instanceof Refusal) {
      for (const attachment of networks) giveBack(ledger, attachment);
      return addresses;
    }
    networks.push({ networkId, addresses, aliases: names });
  }
  const ports = service?.endpoint?.ports ?? [];
  const status = {
    ...(task.status ?? { container: undefined, ports: [], healthy: false }),
    atMs: Math.max(nowMs, task.status?.atMs ?? 0),
    state: TaskState.PENDING,
    message: 'pending task scheduling',
    err: '',
  };
  return { ...task, networks, ports: filledPorts(task.ports, ports), status };
}

/** The task's own ports, as they were when it was made, with the numbers that its service got. */
function filledPorts(own: readonly PortConfig[], allocated: readonly PortConfig[]): PortConfig[] {
  const left = [...allocated];
  return own.map((port) => {
    const at = left.findIndex((candidate) =>
      answers(candidate, { ...port, protocol: port.protocol || 'tcp' }),
    );
    const [found] = at < 0 ? [] : left.splice(at, 1);
    return found ?? port;
  });
}

/** One address of each family that the network has. */
function takeAddresses(ledger: Ledger, networkId: string): string[] | Refusal {
  const known = ledger.networks.get(networkId);
  if (known === undefined) return unallocated(networkId);
  const addresses: string[] = [];
  for (const family of familiesOf(known)) {
    const address = takeAddress(ledger, networkId, family);
    if (address instanceof Refusal) {
      giveBack(ledger, { networkId, addresses, aliases: [] });
      return address;
    }
    addresses.push(address);
  }
  return addresses;
}

/** In CIDR form, from the first subnet of the family that has one left. */
function takeAddress(ledger: Ledger, networkId: string, family: 4 | 6): string | Refusal {
  const known = ledger.networks.get(networkId);
  if (known === undefined) return unallocated(networkId);
  // A network of IPv6 alone has virtual addresses of IPv6.
  const usable = familiesOf(known).includes(family) ? family : 6;
  const pools = known.pools.filter((pool) => pool.subnet.family === usable);
  for (const pool of pools) {
    const value = ledger.tryAddress(networkId, pool);
    if (value !== undefined) {
      return `${formatIp({ family: usable, value })}/${pool.subnet.prefix}`;
    }
  }
  const name = known.network.spec?.name ?? networkId;
  const subnets = pools.map((pool) => formatCidr(pool.subnet)).join(', ');
  return new Refusal(`network ${name} has no free address in ${subnets}`, networkId);
}

function unallocated(networkId: string): Refusal {
  return new Refusal(`network ${networkId} is not allocated yet or does not exist`, networkId);
}

function giveBack(ledger: Ledger, { networkId, addresses }: NetworkAttachment): void {
  for (const address of addresses) {
    const cidr = parseCidr(address);
    const pools = ledger.networks.get(networkId)?.pools;
    const pool = cidr && pools?.find(({ subnet }) => subnet.base === cidr.base);
    if (cidr && pool) ledger.untryAddress(networkId, pool, cidr.address);
  }
}

function familiesOf({ pools }: NetworkPools): (4 | 6)[] {
  return [...new Set(pools.map((pool) => pool.subnet.family))];
}
