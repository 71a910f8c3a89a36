import type { Network, PortConfig, Service, Task } from '../../shared/gen/shoal/v1/objects.ts';
import { type Cidr, parseCidr, parseIp } from '../../shared/model/cidr.ts';
import { isTerminal } from '../../shared/model/task-state.ts';
import type { Change, ReadView } from '../store/types.ts';
import { AddressPool } from './ipam.ts';
import { PortRegistry } from './ports.ts';

/** An allocated network: where its addresses come from. */
export type NetworkPools = Readonly<{
  network: Network;
  /** IPv4 before IPv6, else as in `network.ipam`. */
  pools: readonly AddressPool[];
}>;

/** What became free, so that those who wait for it are tried again. */
export type Released = { networks: Set<string>; ports: boolean; subnets: boolean };

export function nothingReleased(): Released {
  return { networks: new Set(), ports: false, subnets: false };
}

type Undo = (released: Released) => void;

/**
 * Everything in use, derived from the objects and never stored: networks hold subnets and numbers,
 * services VIPs and ports, tasks addresses (until their observed state says that they ended).
 *
 * What a round hands out is *tentative* until the commit that shows it comes by. After a write that
 * failed it is given back; after one with an unknown outcome it is kept aside until a later write
 * has been applied, because by then the earlier one has been too, or never will.
 */
export class Ledger {
  readonly networks = new Map<string, NetworkPools>();
  readonly ports = new PortRegistry();
  ingressId: string | undefined;
  /** What the network allocated last got. */
  lastSubnet: Cidr | undefined;
  lastVni = 0;
  readonly #vnis = new Map<number, string>();
  readonly #tentative = new Map<string, Undo>();
  readonly #limbo = new Map<string, Undo>();

  load(view: ReadView): void {
    const byVersion = [...view.all('network')].sort(
      (a, b) => (a.meta?.version ?? 0) - (b.meta?.version ?? 0),
    );
    for (const network of byVersion) this.addNetwork(network);
    for (const service of view.all('service')) this.#hold(serviceHoldings(service));
    for (const task of view.all('task')) this.#hold(taskHoldings(task));
  }

  /** Follows one committed change; `released` notes what it made free. */
  apply(change: Change, released: Released): void {
    switch (change.table) {
      case 'network':
        if (change.action === 'remove') {
          this.removeNetwork(change.object.id);
          released.subnets = true;
        } else {
          this.addNetwork(change.object);
        }
        return;
      case 'service':
        this.#swap(
          change.previous && serviceHoldings(change.previous),
          change.action === 'remove' ? [] : serviceHoldings(change.object),
          released,
        );
        return;
      case 'task': {
        // Most changes are reports of tasks that keep their addresses.
        const before = change.previous;
        const after = change.action === 'remove' ? undefined : change.object;
        if (before && after && sameHold(before, after)) return;
        this.#swap(before && taskHoldings(before), after ? taskHoldings(after) : [], released);
      }
    }
  }

  /** Takes an allocated network's subnets and number; nothing while it is not allocated. */
  addNetwork(network: Network): void {
    this.#tentative.delete(`network/${network.id}`);
    this.#limbo.delete(`network/${network.id}`);
    if (network.spec?.ingress) this.ingressId = network.id;
    if (network.ipam.length === 0) return;
    const known = this.networks.get(network.id);
    if (known !== undefined) {
      this.networks.set(network.id, { ...known, network });
      return;
    }
    if (network.vni > 0) {
      this.#vnis.set(network.vni, network.id);
      this.lastVni = network.vni;
    }
    const pools = poolsOf(network);
    this.networks.set(network.id, { network, pools });
    if ((network.spec?.ipam.length ?? 0) === 0) this.lastSubnet = pools[0]?.subnet;
  }

  removeNetwork(id: string): void {
    const known = this.networks.get(id);
    if (known !== undefined && this.#vnis.get(known.network.vni) === id) {
      this.#vnis.delete(known.network.vni);
    }
    this.networks.delete(id);
    if (this.ingressId === id) this.ingressId = undefined;
  }

  vniTaken(vni: number): boolean {
    return this.#vnis.has(vni);
  }

  subnets(): Cidr[] {
    return [...this.networks.values()].flatMap(({ pools }) => pools.map((pool) => pool.subnet));
  }

  // ---- what a round takes, until its commit is seen ------------------------------------------

  tryNetwork(network: Network): void {
    this.addNetwork(network);
    this.#tentative.set(`network/${network.id}`, (released) => {
      this.removeNetwork(network.id);
      released.subnets = true;
    });
  }

  tryAddress(networkId: string, pool: AddressPool): bigint | undefined {
    const value = pool.take();
    if (value === undefined) return undefined;
    this.#tentative.set(addressKey(networkId, value), (released) => {
      pool.release(value);
      released.networks.add(networkId);
    });
    return value;
  }

  /** Takes back one that the same round does not need after all. */
  untryAddress(networkId: string, pool: AddressPool, value: bigint): void {
    if (this.#tentative.delete(addressKey(networkId, value))) pool.release(value);
  }

  tryPort(port: PortConfig, serviceId: string): void {
    // What the service holds already is not to be given back should the write fail.
    if (port.publishedPort === 0 || this.ports.holds(port, serviceId)) return;
    this.ports.claim(port, serviceId);
    this.#tentative.set(portKey(port, serviceId), (released) => {
      this.ports.release(port, serviceId);
      released.ports = true;
    });
  }

  /** `wrote`: something was, so what was proposed before is settled. Returns what is free again. */
  committed(wrote: boolean): Released {
    const released = nothingReleased();
    if (wrote) {
      for (const undo of this.#limbo.values()) undo(released);
      this.#limbo.clear();
    }
    this.#undoTentative(released);
    return released;
  }

  /** Returns what is free again. */
  failed(outcomeUnknown: boolean): Released {
    const released = nothingReleased();
    if (outcomeUnknown) {
      for (const [key, undo] of this.#tentative) this.#limbo.set(key, undo);
      this.#tentative.clear();
    } else {
      this.#undoTentative(released);
    }
    return released;
  }

  #undoTentative(released: Released): void {
    for (const undo of this.#tentative.values()) undo(released);
    this.#tentative.clear();
  }

  // ---- what objects hold ---------------------------------------------------------------------

  #swap(
    before: readonly Holding[] | undefined,
    after: readonly Holding[],
    released: Released,
  ): void {
    const kept = new Set(after.map(holdingKey));
    const had = new Set<string>();
    for (const holding of before ?? []) {
      const key = holdingKey(holding);
      had.add(key);
      if (!kept.has(key)) this.#release(holding, released);
    }
    this.#hold(after.filter((holding) => !had.has(holdingKey(holding))));
  }

  #hold(holdings: readonly Holding[]): void {
    for (const holding of holdings) {
      const key = holdingKey(holding);
      const expected = this.#tentative.delete(key) || this.#limbo.delete(key);
      if (holding.kind === 'port') {
        if (!expected) this.ports.claim(holding.port, holding.serviceId);
      } else if (!expected) {
        this.#poolOf(holding)?.claim(holding.value);
      }
    }
  }

  #release(holding: Holding, released: Released): void {
    if (holding.kind === 'port') {
      this.ports.release(holding.port, holding.serviceId);
      released.ports = true;
      return;
    }
    this.#poolOf(holding)?.release(holding.value);
    released.networks.add(holding.networkId);
  }

  #poolOf(holding: AddressHolding): AddressPool | undefined {
    const pools = this.networks.get(holding.networkId)?.pools;
    return pools?.find((pool) => pool.subnet.base === holding.base);
  }
}

type AddressHolding = Readonly<{
  kind: 'address';
  networkId: string;
  base: bigint;
  value: bigint;
}>;
type PortHolding = Readonly<{ kind: 'port'; serviceId: string; port: PortConfig }>;
type Holding = AddressHolding | PortHolding;

function holdingKey(holding: Holding): string {
  return holding.kind === 'address'
    ? addressKey(holding.networkId, holding.value)
    : portKey(holding.port, holding.serviceId);
}

const addressKey = (networkId: string, value: bigint) => `${networkId}/${value}`;
const portKey = ({ publishMode, protocol, publishedPort }: PortConfig, serviceId: string) =>
  `port/${serviceId}/${publishMode}/${protocol}/${publishedPort}`;

function sameHold(before: Task, after: Task): boolean {
  return before.networks === after.networks
    ? isTerminal(before.status?.state ?? 0) === isTerminal(after.status?.state ?? 0)
    : before.networks.length === 0 && after.networks.length === 0;
}

function taskHoldings(task: Task): Holding[] {
  if (task.networks.length === 0 || isTerminal(task.status?.state ?? 0)) return [];
  return task.networks.flatMap(({ networkId, addresses }) =>
    addresses.flatMap((address) => addressHolding(networkId, address)),
  );
}

function serviceHoldings(service: Service): Holding[] {
  const holdings: Holding[] = (service.endpoint?.virtualIps ?? []).flatMap((vip) =>
    addressHolding(vip.networkId, vip.address),
  );
  for (const port of service.endpoint?.ports ?? []) {
    if (port.publishedPort !== 0) holdings.push({ kind: 'port', serviceId: service.id, port });
  }
  return holdings;
}

function addressHolding(networkId: string, address: string): Holding[] {
  const cidr = parseCidr(address);
  if (cidr === undefined) return [];
  return [{ kind: 'address', networkId, base: cidr.base, value: cidr.address }];
}

function poolsOf(network: Network): AddressPool[] {
  const pools: AddressPool[] = [];
  for (const config of network.ipam) {
    const subnet = parseCidr(config.subnet);
    if (subnet === undefined) continue;
    const reserved = [config.gateway, ...Object.values(config.auxAddresses)].flatMap((text) => {
      const ip = parseIp(text);
      return ip === undefined ? [] : [ip.value];
    });
    const range = config.range === '' ? undefined : parseCidr(config.range);
    pools.push(new AddressPool({ subnet, range, reserved }));
  }
  return pools.sort((a, b) => a.subnet.family - b.subnet.family);
}
