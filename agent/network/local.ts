import { ShoalError } from '../../shared/errors.ts';
import type { Network, PortConfig } from '../../shared/gen/shoal/v1/objects.ts';
import {
  cidrContains,
  formatIp,
  parseCidr,
  parseIp,
  withoutPrefix,
} from '../../shared/model/cidr.ts';
import { networkMtu, subnetsOf } from './facts.ts';
import {
  CONTAINER_GATEWAY,
  CONTAINER_GATEWAY_MAC,
  CONTAINER_NAMESERVER,
  containerLink,
  containerMac,
  egressLink,
  networkNamespace,
  taskNamespace,
} from './names.ts';
import type { LocalTask, Wiring } from './types.ts';

/** The pseudo network that containers without networks are on, by Docker's name for it. */
export const EGRESS_NETWORK = 'bridge';

/** One interface of a container, in the order eth0, eth1, … of the task's attachments. */
export type Interface = Readonly<{
  networkId: string;
  name: string;
  /** Without a prefix length. */
  address: string;
  /** As allocated. */
  cidr: string;
  mac: string;
  mtu: number;
  /** The other end, and the namespace it is in; undefined is the host's. */
  peer: string;
  peerNamespace: string | undefined;
  subnets: readonly string[];
}>;

export type ContainerPlan = Readonly<{
  namespace: string;
  interfaces: readonly Interface[];
  /** The interface that everything else leaves by; undefined when all networks are internal. */
  gateway: Interface | undefined;
}>;

/** Where `hostPorts` lead to: the interface that answers leave by. */
export function portAddress(plan: ContainerPlan): string | undefined {
  return (plan.gateway ?? plan.interfaces[0])?.address;
}

/**
 * The interfaces of a task. Its networks must be in `networks`. What is on none of them goes by the ingress
 * network where the task is on it, else by the first one that is not internal: published ports keep the
 * clients' addresses, and a UDP server that listens on all addresses answers them from that of the route.
 * Throws ShoalError `failed-precondition` for networks that cannot be wired.
 */
export function planContainer(
  task: LocalTask,
  networks: ReadonlyMap<string, Network>,
  mtu: number,
  egressAddress: string | undefined,
): ContainerPlan {
  const namespace = taskNamespace(task.taskId);
  if (task.attachments.length === 0) {
    if (egressAddress === undefined) return { namespace, interfaces: [], gateway: undefined };
    const link: Interface = {
      networkId: EGRESS_NETWORK,
      name: 'eth0',
      address: egressAddress,
      cidr: `${egressAddress}/32`,
      mac: containerMac(task.taskId, ''),
      mtu,
      peer: egressLink(task.taskId),
      peerNamespace: undefined,
      subnets: [],
    };
    return { namespace, interfaces: [link], gateway: link };
  }
  const interfaces = task.attachments.map(({ networkId, address: cidr }, index): Interface => {
    const network = networks.get(networkId);
    if (network === undefined) {
      throw new ShoalError('failed-precondition', `network ${networkId} is not known on this host`);
    }
    refuseEncrypted(network);
    const address = withoutPrefix(cidr);
    if (parseIp(address)?.family !== 4) {
      throw new ShoalError(
        'failed-precondition',
        `address "${cidr}" of task ${task.taskId} on network ${network.spec?.name} is not an IPv4 address`,
      );
    }
    return {
      networkId,
      name: `eth${index}`,
      address,
      cidr,
      mac: containerMac(task.taskId, networkId),
      mtu: networkMtu(network, mtu),
      peer: containerLink(task.taskId),
      peerNamespace: networkNamespace(networkId),
      subnets: subnetsOf(network),
    };
  });
  const open = interfaces.filter(({ networkId }) => !networks.get(networkId)?.spec?.internal);
  const gateway = open.find(({ networkId }) => networks.get(networkId)?.spec?.ingress) ?? open[0];
  return { namespace, interfaces, gateway };
}

/** An encrypted network must never carry a packet in clear, and encryption is not there yet. */
function refuseEncrypted(network: Network): void {
  const option = network.spec?.driverOptions.encrypted;
  if (option === undefined || option === 'false' || option === '0') return;
  throw new ShoalError(
    'failed-precondition',
    `network ${network.spec?.name} asks for encryption, which this host cannot do: remove the option "encrypted"`,
  );
}

/**
 * Commands of `ip -batch` in the container's namespace. Running them again mends what is missing: `link add`
 * and `rule add` then say "File exists". `hostNamespace` is a name or a process id.
 */
export function containerCommands(
  { interfaces, gateway }: ContainerPlan,
  hostNamespace: string,
): string[] {
  const lines = ['link set lo up'];
  for (const [index, link] of interfaces.entries()) {
    const { name, address, mac, mtu, peer, peerNamespace } = link;
    const onward = `via ${CONTAINER_GATEWAY} dev ${name} onlink`;
    const place = peerNamespace ?? hostNamespace;
    lines.push(
      `link add ${name} address ${mac} mtu ${mtu} type veth peer name ${peer} address ${CONTAINER_GATEWAY_MAC} mtu ${mtu} netns ${place}`,
      `link set ${name} addrgenmode none`,
      `addr replace ${address}/32 dev ${name}`,
      `link set ${name} up`,
      `neigh replace ${CONTAINER_GATEWAY} lladdr ${CONTAINER_GATEWAY_MAC} dev ${name} nud permanent`,
    );
    if (link === gateway) {
      lines.push(`route replace default ${onward} src ${address}`);
    } else {
      lines.push(...link.subnets.map((to) => `route replace ${to} ${onward} src ${address}`));
    }
    if (interfaces.length > 1) {
      // An answer leaves by the interface that the question came to, whoever else is reached by another.
      const table = 100 + index;
      lines.push(
        `route replace default ${onward} table ${table}`,
        `rule add pref ${table} from ${address} lookup ${table}`,
      );
    }
  }
  const resolver = gateway ?? interfaces[0];
  if (resolver !== undefined) {
    // More specific than 127.0.0.0/8 on lo: the query leaves for the network's namespace.
    lines.push(
      `route replace ${CONTAINER_NAMESERVER} via ${CONTAINER_GATEWAY} dev ${resolver.name} onlink table local src ${resolver.address}`,
    );
  }
  return lines;
}

export function wiringOf(
  plan: ContainerPlan,
  netnsPath: string,
  hostPorts: readonly PortConfig[],
): Wiring {
  const reachable = plan.interfaces.length > 0;
  return {
    netnsPath,
    nameservers: reachable ? [CONTAINER_NAMESERVER] : [],
    sysctls: reachable ? { 'net.ipv4.conf.all.route_localnet': '1' } : {},
    hostPorts,
    interfaces: plan.interfaces.map(({ networkId, cidr, mac, name }) => ({
      networkId,
      address: cidr,
      gateway: CONTAINER_GATEWAY,
      macAddress: mac,
      name,
    })),
  };
}

/** The first free address of the pool, the first two of it left out; undefined when all are taken. */
export function freeEgressAddress(pool: string, taken: ReadonlySet<string>): string | undefined {
  const cidr = parseCidr(pool);
  if (cidr?.family !== 4) return undefined;
  for (let value = cidr.base + 2n; ; value++) {
    const ip = { family: 4 as const, value };
    // The last one is the subnet's broadcast address.
    if (!cidrContains(cidr, { family: 4, value: value + 1n })) return undefined;
    const address = formatIp(ip);
    if (!taken.has(address)) return address;
  }
}
