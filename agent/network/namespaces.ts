import { messageOf, ShoalError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { diff, isEmpty, missingLinks, withoutLinks } from './diff.ts';
import type { EgressLink, HostPort, LocalLink } from './facts.ts';
import type { Kernel } from './kernel.ts';
import type { ContainerPlan } from './local.ts';
import { GATEWAY_LINK, HOST_TABLE, networkLink, networkNamespace, VXLAN_LINK } from './names.ts';
import {
  type HostSettings,
  hostTableOf,
  networkDevices,
  networkHostLink,
  networkTableOf,
  planHost,
  planNetwork,
  type SlotMemo,
} from './plan.ts';
import { makeGateway, makeVxlan, tableTransactions } from './render.ts';
import { EMPTY_NAMESPACE, type LinkState, type NamespaceState } from './state.ts';
import type { TableShape } from './tables.ts';
import type { NetworkView } from './types.ts';
import { keepUnseen } from './unseen.ts';
import { type NetworkSlice, sameHosts, sameItems, sameSlice, sliceView } from './view.ts';

const PARALLEL_NAMESPACES = 4;

/** A namespace that we keep: what it holds as far as known, and what its last plan was made from. */
type Space = {
  /** Undefined: to be read first. */
  state: NamespaceState | undefined;
  madeFrom: readonly unknown[] | undefined;
  readonly memo: SlotMemo;
};

type NetworkSpace = Space & { slice: NetworkSlice; tuned: boolean };

/** What the tasks of this host ask of its namespaces. */
export type LocalFacts = Readonly<{
  links: (networkId: string) => readonly LocalLink[];
  egressLinks: readonly EgressLink[];
  hostPorts: readonly HostPort[];
  egressPool: string;
}>;

/**
 * The host's own namespace and those of its networks: knows what is in them, and makes them what the view and the
 * local tasks say. Not to be called while a call of it runs, except for the questions.
 */
export class Namespaces {
  readonly #kernel: Kernel;
  readonly #log: Log;
  readonly #networks = new Map<string, NetworkSpace>();
  readonly #host: Space = { state: undefined, madeFrom: undefined, memo: new Map() };
  #hosts: NetworkView['hosts'] = new Map();

  constructor(kernel: Kernel, log: Log) {
    this.#kernel = kernel;
    this.#log = log;
  }

  /** Networks that are kept here. */
  slices(): NetworkSlice[] {
    return [...this.#networks.values()].map(({ slice }) => slice);
  }

  has(networkId: string): boolean {
    return this.#networks.has(networkId);
  }

  names(): string[] {
    return [...this.#networks.keys()].map(networkNamespace);
  }

  get hostState(): NamespaceState | undefined {
    return this.#host.state;
  }

  /** The namespace's side of a container's interface; undefined when it is not there or not known. */
  peerLink(link: ContainerPlan['interfaces'][number]): LinkState | undefined {
    return this.#spaceOf(link)?.state?.links.get(link.peer);
  }

  /** The other ends of a container's interfaces exist now, and are down until the next `apply`. */
  noteLinks(plan: ContainerPlan): void {
    for (const link of plan.interfaces) {
      const space = this.#spaceOf(link);
      if (space?.state === undefined) continue;
      const links = new Map(space.state.links).set(link.peer, { kind: 'veth', up: false });
      space.state = { ...space.state, links };
      space.madeFrom = undefined;
    }
  }

  /** Everything is read again before anything is written. */
  distrust(): void {
    this.#host.state = undefined;
    for (const space of this.#networks.values()) space.state = undefined;
  }

  forget(): void {
    this.#networks.clear();
    this.distrust();
  }

  /** Takes up the networks of the view; those in `used` stay though they left it. Gives the names that go. */
  choose(view: NetworkView, used: ReadonlySet<string>): string[] {
    const slices = sliceView(view);
    for (const [id, slice] of slices) {
      const known = this.#networks.get(id);
      if (known !== undefined) {
        if (!sameSlice(known.slice, slice)) known.slice = slice;
        continue;
      }
      const fresh = { state: undefined, madeFrom: undefined, memo: new Map(), tuned: false };
      this.#networks.set(id, { ...fresh, slice });
    }
    const gone = [...this.#networks.keys()].filter((id) => !slices.has(id) && !used.has(id));
    for (const id of gone) this.#networks.delete(id);
    return gone.map(networkNamespace);
  }

  /** Makes the namespaces and devices that are missing, and reads what is not known. */
  async prepare(settings: HostSettings, existing: ReadonlySet<string> | undefined): Promise<void> {
    if (this.#host.state === undefined) {
      this.#host.state = await this.#kernel.dump(undefined, hostTableOf(settings));
      this.#host.madeFrom = undefined;
    }
    const unknown = [...this.#networks].filter(([, { state }]) => state === undefined);
    if (unknown.length > 0) {
      const found = existing ?? new Set(await this.#kernel.namespaces());
      await this.#read(settings, unknown, found);
    }
    await this.#makeDevices(settings);
    await this.#tune();
  }

  /** Brings all of them up to date, networks before the host that leads to them. True when all went well. */
  async apply(
    settings: HostSettings,
    view: NetworkView | undefined,
    local: LocalFacts,
  ): Promise<boolean> {
    if (view !== undefined && !sameHosts(this.#hosts, view.hosts)) this.#hosts = view.hosts;
    const revision = view?.revision ?? 0;
    let good = true;
    await inParallel([...this.#networks], async ([id, space]) => {
      const applied = await this.#applyNetwork(settings, id, space, local.links(id), revision);
      good = applied && good;
    });
    return (await this.#applyHost(settings, view, local)) && good;
  }

  /** Takes away networks' namespaces, their devices first: a namespace itself goes some time after its name. */
  async remove(names: readonly string[]): Promise<void> {
    await inParallel(names, async (name) => {
      await this.#kernel.removeLinks(name, [VXLAN_LINK, GATEWAY_LINK]).catch((error: unknown) => {
        this.#log.warn('cannot remove the devices of a network', {
          name,
          error: messageOf(error),
        });
      });
    });
    if (names.length > 0) await this.#kernel.removeNamespaces(names);
  }

  async removeHost(): Promise<void> {
    await this.#kernel.removeHost(HOST_TABLE);
  }

  #spaceOf({ networkId, peerNamespace }: ContainerPlan['interfaces'][number]): Space | undefined {
    return peerNamespace === undefined ? this.#host : this.#networks.get(networkId);
  }

  async #read(
    settings: HostSettings,
    unknown: readonly [string, NetworkSpace][],
    found: ReadonlySet<string>,
  ): Promise<void> {
    // A namespace that is made anew is known to be empty; what exists must be looked at.
    const fresh = unknown.filter(([id]) => !found.has(networkNamespace(id)));
    await this.#kernel.makeNamespaces(fresh.map(([id]) => networkNamespace(id)));
    for (const [, space] of fresh) space.state = EMPTY_NAMESPACE;
    await inParallel(unknown, async ([id, space]) => {
      space.madeFrom = undefined;
      space.tuned = false;
      const shape = networkTableOf(space.slice.network, settings.dnsPort);
      space.state ??= await this.#readOrRemake(networkNamespace(id), shape);
    });
  }

  async #readOrRemake(name: string, shape: TableShape): Promise<NamespaceState> {
    try {
      return await this.#kernel.dump(name, shape);
    } catch (error) {
      // A name with nothing behind it, as a power loss leaves it.
      this.#log.warn('remaking a namespace that cannot be read', {
        name,
        error: messageOf(error),
      });
      await this.#kernel.removeNamespaces([name]);
      await this.#kernel.makeNamespaces([name]);
      return EMPTY_NAMESPACE;
    }
  }

  /** VXLAN devices, and the links between host and networks. */
  async #makeDevices(settings: HostSettings): Promise<void> {
    const lines: string[] = [];
    for (const [id, space] of this.#networks) {
      const state = space.state ?? EMPTY_NAMESPACE;
      const host = this.#host.state ?? EMPTY_NAMESPACE;
      const wanted = networkDevices(settings, space.slice.network);
      const missing = new Set(missingLinks(state, wanted));
      // The two ends of a pair live and die together, so one without the other is an old one.
      if (!host.links.has(networkLink(id))) missing.add(GATEWAY_LINK);
      if (missing.size === 0) continue;
      const stale = [...missing].filter((name) => state.links.has(name));
      await this.#kernel.removeLinks(networkNamespace(id), stale);
      space.state = withNewLinks(
        state,
        [...missing].flatMap((name) => {
          const link = wanted.get(name);
          return link === undefined ? [] : [[name, link] as const];
        }),
      );
      space.madeFrom = undefined;
      space.tuned = false;
      const [vxlan, gateway] = [wanted.get(VXLAN_LINK), wanted.get(GATEWAY_LINK)];
      if (vxlan !== undefined && missing.has(VXLAN_LINK)) {
        lines.push(makeVxlan(VXLAN_LINK, networkNamespace(id), vxlan));
      }
      if (gateway !== undefined && missing.has(GATEWAY_LINK)) {
        lines.push(await this.#gatewayLine(settings, id, space.slice, gateway));
      }
    }
    await this.#kernel.makeLinks(lines);
  }

  async #gatewayLine(
    settings: HostSettings,
    id: string,
    { network }: NetworkSlice,
    gateway: LinkState,
  ): Promise<string> {
    const host = this.#host.state ?? EMPTY_NAMESPACE;
    const name = networkLink(id);
    if (host.links.has(name)) await this.#kernel.removeLinks(undefined, [name]);
    const link = networkHostLink(settings, network);
    this.#host.state = withNewLinks(host, [[name, link]]);
    this.#host.madeFrom = undefined;
    const namespace = networkNamespace(id);
    return makeGateway({ name, link }, { name: GATEWAY_LINK, namespace, link: gateway });
  }

  async #tune(): Promise<void> {
    const untuned = [...this.#networks].filter(([, { tuned }]) => !tuned);
    if (untuned.length === 0) return;
    await inParallel(untuned, async ([id, space]) => {
      await this.#kernel.tune(networkNamespace(id), []);
      space.tuned = true;
    });
    await this.#kernel.tune(
      undefined,
      untuned.map(([id]) => networkLink(id)),
    );
  }

  async #applyNetwork(
    settings: HostSettings,
    id: string,
    space: NetworkSpace,
    locals: readonly LocalLink[],
    revision: number,
  ): Promise<boolean> {
    const { slice, state } = space;
    if (state === undefined) return false;
    const keys = locals.map(({ taskId, address, counted }) => `${taskId} ${address} ${counted}`);
    const from = [slice, this.#hosts, settings.mtu, settings.dataPathPort, ...keys];
    if (space.madeFrom !== undefined && sameItems(space.madeFrom, from)) return true;
    const inputs = { slice, hosts: this.#hosts, locals };
    const desired = planNetwork(settings, inputs, space.memo);
    const shape = networkTableOf(slice.network, settings.dnsPort);
    const name = networkNamespace(id);
    return this.#bring(space, name, shape, state, desired, from, revision);
  }

  async #applyHost(
    settings: HostSettings,
    view: NetworkView | undefined,
    { egressLinks, hostPorts, egressPool }: LocalFacts,
  ): Promise<boolean> {
    const { state } = this.#host;
    if (state === undefined) return false;
    const slices = this.slices();
    const networks = slices.map(({ network }) => network);
    const ingress = slices.find(({ network }) => network.spec?.ingress === true);
    const from = [
      this.#hosts,
      settings.mtu,
      settings.dataPathPort,
      view === undefined,
      ingress,
      ...networks,
      ...egressLinks.map(({ taskId, address, counted }) => `${taskId} ${address} ${counted}`),
      ...hostPorts.map((port) => JSON.stringify(port)),
    ];
    if (this.#host.madeFrom !== undefined && sameItems(this.#host.madeFrom, from)) return true;
    const hosts = this.#hosts;
    const inputs = { networks, hosts, ingress, egressLinks, egressPool, hostPorts };
    const planned = planHost(settings, inputs, this.#host.memo);
    const desired = view === undefined ? keepUnseen(state, planned, egressPool) : planned;
    const revision = view?.revision ?? 0;
    const shape = hostTableOf(settings);
    return this.#bring(this.#host, undefined, shape, state, desired, from, revision);
  }

  /** From `actual` to `desired`; after a failure nothing is known any more. */
  async #bring(
    space: Space,
    name: string | undefined,
    shape: TableShape,
    actual: NamespaceState,
    desired: NamespaceState,
    from: readonly unknown[],
    revision: number,
  ): Promise<boolean> {
    try {
      const changes = diff(actual, desired, VXLAN_LINK);
      const [missing] = changes.makeLinks.keys();
      if (missing !== undefined) throw new ShoalError('internal', `link ${missing} is not there`);
      if (!isEmpty(changes) && desired.table !== undefined) {
        const transactions = tableTransactions(shape, desired.table, changes.table, revision);
        await this.#kernel.apply(name, changes, transactions);
      }
      space.state = desired;
      space.madeFrom = from;
      return true;
    } catch (error) {
      space.state = undefined;
      this.#log.warn('cannot bring a namespace up to date; it will be read again', {
        name: name ?? "the host's own",
        error: messageOf(error),
      });
      return false;
    }
  }
}

/** After links were made, anew where they had been: they are down, and nothing hangs on them. */
function withNewLinks(
  state: NamespaceState,
  made: readonly (readonly [string, LinkState])[],
): NamespaceState {
  const cleared = withoutLinks(state, new Set(made.map(([name]) => name)), VXLAN_LINK);
  const links = new Map(cleared.links);
  for (const [name, link] of made) links.set(name, { ...link, up: false });
  return { ...cleared, links };
}

/** At most PARALLEL_NAMESPACES at a time: more would only queue at the kernel's routing lock. */
async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values();
  const worker = async () => {
    for (const item of queue) await work(item);
  };
  await Promise.all(Array.from({ length: Math.min(PARALLEL_NAMESPACES, items.length) }, worker));
}
