import type { Host } from '../../shared/gen/shoal/v1/dispatcher.ts';
import type { Network } from '../../shared/gen/shoal/v1/objects.ts';
import {
  disjoint,
  type EgressLink,
  type HostPort,
  type LocalLink,
  networkMtu,
  subnetsOf,
} from './facts.ts';
import { heldAddresses, heldPorts, publishedKeys, readyByService } from './held.ts';
import {
  containerMac,
  egressLink,
  GATEWAY_LINK,
  gatewayMac,
  HOST_INNER_ADDRESS,
  ipv4Number,
  isIpv4,
  NETWORK_INNER_ADDRESS,
  networkLink,
  VXLAN_LINK,
  vtepMac,
} from './names.ts';
import { assignSlots, type Backend, slotCountFor } from './slots.ts';
import type { LinkState, NamespaceState, TableState } from './state.ts';
import { hostTable, networkTable, slotChain, slotMap, type TableShape } from './tables.ts';
import { countedElements } from './traffic-rules.ts';
import type { NetworkSlice } from './view.ts';

/** What is the same for all plans of this host. */
export type HostSettings = Readonly<{
  nodeId: string;
  /** Underlay source address of this host's VXLAN packets. */
  hostAddress: string;
  dataPathPort: number;
  dnsPort: number;
  /** Largest inner packet that every host of the cluster can carry. */
  mtu: number;
}>;

export type NetworkInputs = Readonly<{
  slice: NetworkSlice;
  hosts: ReadonlyMap<string, Host>;
  locals: readonly LocalLink[];
}>;

/** Slot tables computed before: the same back-ends give the very same array, so that a diff skips them. */
export type SlotMemo = Map<string, Readonly<{ signature: string; slots: readonly string[] }>>;

export function networkTableOf(network: Network, dnsPort: number): TableShape {
  const { internal = false, ingress = false } = network.spec ?? {};
  return networkTable({ internal, ingress, dnsPort });
}

export function hostTableOf(settings: Pick<HostSettings, 'dataPathPort' | 'dnsPort'>): TableShape {
  return hostTable(settings);
}

/** The two devices that a network's namespace has before any container. */
export function networkDevices(settings: HostSettings, network: Network): Map<string, LinkState> {
  const mtu = networkMtu(network, settings.mtu);
  const vxlan = {
    vni: network.vni,
    port: settings.dataPathPort,
    local: settings.hostAddress,
  };
  return new Map<string, LinkState>([
    [VXLAN_LINK, { kind: 'vxlan', up: true, mtu, mac: vtepMac(settings.hostAddress), vxlan }],
    [GATEWAY_LINK, { kind: 'veth', up: true, mtu, mac: gatewayMac(network.id, 'network') }],
  ]);
}

/** The host's end of the second one. */
export function networkHostLink(settings: HostSettings, network: Network): LinkState {
  const mtu = networkMtu(network, settings.mtu);
  return { kind: 'veth', up: true, mtu, mac: gatewayMac(network.id, 'host') };
}

/** The namespace of one network on this host. `memo` may be any one; it is kept for the next plan. */
export function planNetwork(
  settings: HostSettings,
  inputs: NetworkInputs,
  memo: SlotMemo = new Map(),
): NamespaceState {
  const { locals } = inputs;
  const { network, endpoints } = inputs.slice;
  const { internal = false, ingress = false } = network.spec ?? {};
  const links = networkDevices(settings, network);
  const routes = new Map<string, string>();
  const neighbours = new Map<string, string>();
  const forwarding = new Map<string, string>();
  const rules = new Set<string>();
  const vtep = new Map<string, string>();

  routes.set(`main ${HOST_INNER_ADDRESS}`, `dev ${GATEWAY_LINK} scope link`);
  neighbours.set(`${GATEWAY_LINK} ${HOST_INNER_ADDRESS}`, gatewayMac(network.id, 'host'));
  if (!internal) routes.set('main default', via(HOST_INNER_ADDRESS, GATEWAY_LINK));
  // An address without a task answers at once, and its packets never leak to the default route.
  for (const subnet of subnetsOf(network)) routes.set(`main ${subnet}`, 'unreachable');

  const peers = peersOf(settings, inputs);
  for (const address of new Set(peers.values())) {
    const mac = vtepMac(address);
    forwarding.set(mac, address);
    neighbours.set(`${VXLAN_LINK} ${address}`, mac);
    if (!ingress) continue;
    // Host number, mark and routing table of a peer are its underlay address: nothing to allot.
    const mark = ipv4Number(address);
    vtep.set(mac, String(mark));
    routes.set(`${mark} default`, via(address, VXLAN_LINK));
    rules.add(`pref 101 fwmark 0x${mark.toString(16)} lookup ${mark}`);
  }
  // Without a mark, which is nearly always, the list of peers' rules is stepped over.
  if (rules.size > 0) rules.add('pref 100 fwmark 0 goto 32766');

  for (const endpoint of endpoints) {
    const peer = peers.get(endpoint.nodeId);
    if (peer === undefined || !isIpv4(endpoint.address)) continue;
    routes.set(`main ${endpoint.address}`, via(peer, VXLAN_LINK));
  }
  // After the remote ones: what is wired here is here, whatever an older view says.
  const hairpin = new Map<string, string>();
  for (const { address, link, taskId } of locals) {
    links.set(link, { kind: 'veth', up: true });
    routes.set(`main ${address}`, `dev ${link} scope link`);
    neighbours.set(`${link} ${address}`, containerMac(taskId, network.id));
    hairpin.set(`${address} . ${address}`, '');
  }
  return {
    links,
    addresses: new Set([`${GATEWAY_LINK} ${NETWORK_INNER_ADDRESS}/32`]),
    routes,
    neighbours,
    forwarding,
    rules,
    table: {
      fingerprint: networkTableOf(network, settings.dnsPort).fingerprint,
      ...vipElements(inputs.slice, memo, {
        hairpin,
        vtep,
        subnets: elementsOf(disjoint(subnetsOf(network))),
        ...countedElements(locals),
      }),
    },
  };
}

export type HostInputs = Readonly<{
  networks: readonly Network[];
  hosts: ReadonlyMap<string, Host>;
  ingress: NetworkSlice | undefined;
  egressLinks: readonly EgressLink[];
  /** Subnet of the containers without networks. */
  egressPool: string;
  hostPorts: readonly HostPort[];
}>;

/** Our part of the host's own namespace. */
export function planHost(
  settings: HostSettings,
  inputs: HostInputs,
  memo: SlotMemo = new Map(),
): NamespaceState {
  const links = new Map<string, LinkState>();
  const routes = new Map<string, string>();
  const neighbours = new Map<string, string>();
  const egress = [inputs.egressPool];
  const closed = new Map<string, string>();
  const loops = new Map<string, string>();
  for (const network of inputs.networks) {
    const link = networkLink(network.id);
    links.set(link, networkHostLink(settings, network));
    neighbours.set(`${link} ${NETWORK_INNER_ADDRESS}`, gatewayMac(network.id, 'network'));
    loops.set(`${link} . ${link}`, '');
    if (network.spec?.internal === true) closed.set(link, '');
    for (const subnet of subnetsOf(network)) {
      routes.set(`main ${subnet}`, via(NETWORK_INNER_ADDRESS, link));
      if (network.spec?.internal !== true) egress.push(subnet);
    }
  }
  for (const { taskId, address } of inputs.egressLinks) {
    const link = egressLink(taskId);
    links.set(link, { kind: 'veth', up: true });
    routes.set(`main ${address}`, `dev ${link} scope link`);
    neighbours.set(`${link} ${address}`, containerMac(taskId, ''));
    loops.set(`${link} . ${link}`, '');
  }
  const nodes = new Map<string, string>();
  for (const { dataPathAddress } of inputs.hosts.values()) {
    if (isIpv4(dataPathAddress)) nodes.set(dataPathAddress, '');
  }
  const ports = new Map(
    inputs.hostPorts.map(({ protocol, published, address, target }) => [
      `${protocol} . ${published}`,
      `${address} . ${target}`,
    ]),
  );
  return {
    links,
    addresses: new Set([`lo ${HOST_INNER_ADDRESS}/32`]),
    routes,
    neighbours,
    forwarding: new Map(),
    rules: new Set(),
    table: {
      fingerprint: hostTableOf(settings).fingerprint,
      ...publishedElements(inputs, memo, {
        nodes,
        egress: elementsOf(disjoint(egress)),
        closed,
        loops,
        ports,
        ...countedElements(inputs.egressLinks),
      }),
    },
  };
}

type Elements = Pick<TableState, 'sets' | 'slots'>;
type Sets = Readonly<Record<string, ReadonlyMap<string, string>>>;

function vipElements(slice: NetworkSlice, memo: SlotMemo, sets: Sets): Elements {
  const { vips, endpoints, network } = slice;
  const backends = readyByService(endpoints);
  const verdicts = new Map<string, string>();
  const empty = new Map<string, string>();
  const slots = new Map<string, readonly string[]>();
  const seen = new Set<string>();
  for (const { serviceId, address } of vips) {
    if (!isIpv4(address)) continue;
    const ready = backends.get(serviceId) ?? [];
    if (ready.length === 0) {
      empty.set(address, '');
      continue;
    }
    const count = slotCountFor(ready.length);
    verdicts.set(address, `goto ${slotChain(count)}`);
    const key = `${network.id}/${address}`;
    seen.add(key);
    slots.set(`${slotMap(count)} ${address}`, remembered(memo, seen, key, address, ready));
  }
  forget(memo, seen);
  const knocks = elementsOf(heldAddresses(slice).keys());
  const own = { svc: verdicts, empty, knocks };
  return { sets: new Map(Object.entries({ ...sets, ...own })), slots };
}

function publishedElements(inputs: HostInputs, memo: SlotMemo, sets: Sets): Elements {
  const backends = readyByService(inputs.ingress?.endpoints ?? []);
  const verdicts = new Map<string, string>();
  const slots = new Map<string, readonly string[]>();
  const seen = new Set<string>();
  for (const vip of inputs.ingress?.vips ?? []) {
    const ready = backends.get(vip.serviceId) ?? [];
    if (ready.length === 0) continue;
    const count = slotCountFor(ready.length);
    for (const { key, targetPort } of publishedKeys(vip)) {
      verdicts.set(key, `goto ${slotChain(count)}`);
      const targets = ready.map(({ taskId, address }) => ({
        taskId,
        address: `${address} . ${targetPort}`,
      }));
      seen.add(key);
      slots.set(`${slotMap(count)} ${key}`, remembered(memo, seen, key, key, targets));
    }
  }
  forget(memo, seen);
  const held = elementsOf(heldPorts(inputs.ingress).keys());
  const own = { pub: verdicts, held, knocks: held };
  return { sets: new Map(Object.entries({ ...sets, ...own })), slots };
}

function remembered(
  memo: SlotMemo,
  seen: Set<string>,
  memoKey: string,
  slotKey: string,
  backends: readonly Backend[],
): readonly string[] {
  const signature = backends.map(({ taskId, address }) => `${taskId} ${address}`).join();
  const known = memo.get(memoKey);
  seen.add(memoKey);
  if (known?.signature === signature) return known.slots;
  const slots = assignSlots(slotKey, backends);
  memo.set(memoKey, { signature, slots });
  return slots;
}

function forget(memo: SlotMemo, seen: ReadonlySet<string>): void {
  for (const key of memo.keys()) if (!seen.has(key)) memo.delete(key);
}

/**
 * Underlay addresses of the other hosts that this network reaches, by node. On the ingress network that is
 * all of them: any host may take a client's connection and must get its answers.
 */
function peersOf(settings: HostSettings, inputs: NetworkInputs): Map<string, string> {
  const wanted =
    inputs.slice.network.spec?.ingress === true
      ? inputs.hosts.keys()
      : new Set(inputs.slice.endpoints.map(({ nodeId }) => nodeId));
  const peers = new Map<string, string>();
  for (const nodeId of wanted) {
    const address = inputs.hosts.get(nodeId)?.dataPathAddress ?? '';
    if (nodeId === settings.nodeId || address === settings.hostAddress || !isIpv4(address))
      continue;
    peers.set(nodeId, address);
  }
  return peers;
}

function elementsOf(keys: Iterable<string>): Map<string, string> {
  return new Map([...keys].map((key) => [key, '']));
}

function via(gateway: string, device: string): string {
  return `via ${gateway} dev ${device} onlink`;
}
