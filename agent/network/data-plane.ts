import type { Clock, Timer } from '../../shared/clock.ts';
import { messageOf, ShoalError } from '../../shared/errors.ts';
import type { Network, PortConfig } from '../../shared/gen/shoal/v1/objects.ts';
import type { Log } from '../../shared/log.ts';
import { diff, isEmpty, missingLinks, withoutLinks } from './diff.ts';
import { clusterMtu, type EgressLink, type HostPort, type LocalLink } from './facts.ts';
import type { Kernel } from './kernel.ts';
import {
  type ContainerPlan,
  containerCommands,
  freeEgressAddress,
  planContainer,
  portAddress,
  wiringOf,
} from './local.ts';
import {
  egressLink,
  GATEWAY_LINK,
  HOST_TABLE,
  NETWORK_NAMESPACE_PREFIX,
  networkLink,
  networkNamespace,
  TASK_NAMESPACE_PREFIX,
  taskNamespace,
  VXLAN_LINK,
} from './names.ts';
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
import type { HeldPort, PortHolder } from './ports.ts';
import { makeGateway, makeVxlan, tableTransactions } from './render.ts';
import { EMPTY_NAMESPACE, type NamespaceState } from './state.ts';
import type { TableShape } from './tables.ts';
import type { DataPlane, LocalTask, NetworkView, Wiring } from './types.ts';
import { type NetworkSlice, sameHosts, sameItems, sameSlice, sliceView } from './view.ts';

/** Changes of a burst become one round: a rolling update sends several views in this time. */
const COALESCE_MS = 10;
/** Tasks that start together share a round; a lone one should not wait for others. */
const ATTACH_COALESCE_MS = 2;
const VERIFY_MS = 60_000;
/** At most 2 % of the time goes into verifying, however large the tables are. */
const VERIFY_SHARE = 50;
const RETRY_MS = { first: 100, last: 30_000 };
/** Rounds a task may fail in before its `attach` says so. */
const ATTACH_ROUNDS = 3;
const PARALLEL_NAMESPACES = 4;
const DEFAULT_DATA_PATH_PORT = 4789;

export type DataPlaneDeps = Readonly<{
  nodeId: string;
  hostAddress: string;
  kernel: Kernel;
  ports: PortHolder;
  clock: Clock;
  log: Log;
  dnsPort: number;
  /** Subnet of containers without networks, private to this host. */
  egressPool: string;
  /** The host's own namespace for `ip link … netns`: a process id in it. */
  hostNamespace: string;
  netnsDir: string;
  /** After each round: what names may be asked for, by whom. */
  onNames: (view: NetworkView | undefined, tasks: readonly AttachedTask[]) => Promise<void>;
}>;

/** A wired task with the addresses it sends from. */
export type AttachedTask = Readonly<{
  task: LocalTask;
  addresses: readonly Readonly<{ networkId: string; address: string }>[];
}>;

type Waiter = { resolve: (wiring: Wiring) => void; reject: (error: unknown) => void };

type Entry = {
  task: LocalTask;
  /** `making` until wired for the first time; `broken` when it could not be mended. */
  state: 'making' | 'wired' | 'broken';
  waiters: Set<Waiter>;
  failures: number;
  plan?: ContainerPlan;
  egressAddress?: string;
  held: HeldPort[];
  /** With published ports filled in; undefined until they are held. */
  hostPorts: readonly PortConfig[] | undefined;
  wiring?: Wiring;
};

/** A namespace that we keep: what it holds as far as known, and what its last plan was made from. */
type Space = {
  /** Undefined: to be read first. */
  state: NamespaceState | undefined;
  memo: SlotMemo;
  madeFrom: readonly unknown[] | undefined;
};

type NetworkSpace = Space & { slice: NetworkSlice; tuned: boolean };

/**
 * The data plane of a host: turns the view and the local tasks into kernel state, round by round. One round at
 * a time does everything, so nothing here races: attach, detach and views only leave a note and ask for a round.
 */
export class NetworkController implements DataPlane {
  readonly #deps: DataPlaneDeps;
  #view: NetworkView | undefined;
  #sliced: { view: NetworkView; slices: Map<string, NetworkSlice> } | undefined;
  readonly #tasks = new Map<string, Entry>();
  readonly #networks = new Map<string, NetworkSpace>();
  readonly #host: Space = { state: undefined, memo: new Map(), madeFrom: undefined };
  #leaving: { entry: Entry; done: () => void }[] = [];
  readonly #listeners = new Set<(revision: number) => void>();
  #appliedRevision = 0;
  /** Names of namespaces must be read: at start, and when verifying. */
  #unlisted = true;
  #prepared = false;
  #timer: { timer: Timer; dueMs: number } | undefined;
  #verify: Timer | undefined;
  #running: Promise<void> | undefined;
  #again: number | undefined;
  #failedRounds = 0;
  #afterRound: (() => void)[] = [];
  #closed = false;

  constructor(deps: DataPlaneDeps) {
    this.#deps = deps;
  }

  get appliedRevision(): number {
    return this.#appliedRevision;
  }

  onApplied(listener: (revision: number) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  setView(view: NetworkView): void {
    this.#view = view;
    this.#ask(COALESCE_MS);
  }

  attach(task: LocalTask, signal: AbortSignal): Promise<Wiring> {
    if (signal.aborted) return Promise.reject(signal.reason);
    if (this.#closed) return Promise.reject(closedError());
    const entry = this.#tasks.get(task.taskId) ?? newEntry(task);
    entry.task = task;
    this.#tasks.set(task.taskId, entry);
    if (entry.state === 'broken') entry.state = 'making';
    if (entry.state === 'wired' && entry.wiring !== undefined) return Promise.resolve(entry.wiring);
    const wiring = new Promise<Wiring>((resolve, reject) => {
      const waiter: Waiter = {
        resolve: (value) => {
          signal.removeEventListener('abort', onAbort);
          resolve(value);
        },
        reject: (error) => {
          signal.removeEventListener('abort', onAbort);
          reject(error);
        },
      };
      const onAbort = () => {
        entry.waiters.delete(waiter);
        reject(signal.reason);
        if (entry.waiters.size === 0 && entry.state === 'making') this.#leave(entry);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      entry.waiters.add(waiter);
    });
    this.#ask(ATTACH_COALESCE_MS);
    return wiring;
  }

  detach(taskId: string): Promise<void> {
    const entry = this.#tasks.get(taskId);
    return entry === undefined ? Promise.resolve() : this.#leave(entry);
  }

  async adopt(tasks: readonly LocalTask[]): Promise<void> {
    for (const task of tasks) {
      if (!this.#tasks.has(task.taskId)) {
        this.#tasks.set(task.taskId, { ...newEntry(task), state: 'wired' });
      }
    }
    this.#unlisted = true;
    await this.#roundDone();
  }

  async removeAll(): Promise<void> {
    this.#stop();
    await this.#running;
    for (const entry of this.#tasks.values()) {
      rejectAll(entry, new ShoalError('cancelled', 'this host leaves the cluster'));
      await release(entry);
    }
    this.#tasks.clear();
    for (const { entry, done } of this.#leaving.splice(0)) {
      await release(entry);
      done();
    }
    this.#networks.clear();
    Object.assign(this.#host, { state: undefined, madeFrom: undefined });
    const { kernel } = this.#deps;
    // The VXLAN devices first: a namespace goes some time after its name, and its number with it.
    const names = await kernel.namespaces();
    const networks = names.filter((name) => name.startsWith(NETWORK_NAMESPACE_PREFIX));
    await inParallel(networks, async (name) => {
      await kernel.removeLinks(name, [VXLAN_LINK]).catch((error: unknown) => {
        this.#deps.log.warn('cannot remove a VXLAN device', { name, error: messageOf(error) });
      });
    });
    await kernel.removeNamespaces(names);
    await kernel.removeHost(HOST_TABLE);
    await this.#deps.onNames(undefined, []);
    this.#view = undefined;
    this.#sliced = undefined;
    this.#unlisted = true;
    this.#closed = false;
  }

  hostInterface(
    taskId: string,
    networkId: string,
  ): { netnsPath: string; name: string } | undefined {
    const plan = this.#tasks.get(taskId)?.plan;
    const link = plan?.interfaces.find((candidate) => candidate.networkId === networkId);
    if (link === undefined) return undefined;
    const netnsPath =
      link.peerNamespace === undefined
        ? '/proc/self/ns/net'
        : `${this.#deps.netnsDir}/${link.peerNamespace}`;
    return { netnsPath, name: link.peer };
  }

  async close(): Promise<void> {
    this.#stop();
    await this.#running;
    for (const entry of this.#tasks.values()) {
      rejectAll(entry, closedError());
      await release(entry);
    }
    for (const { done } of this.#leaving.splice(0)) done();
    await this.#deps.kernel.close();
  }

  #stop(): void {
    this.#closed = true;
    this.#timer?.timer.cancel();
    this.#timer = undefined;
    this.#verify?.cancel();
    this.#again = undefined;
    for (const done of this.#afterRound.splice(0)) done();
  }

  #leave(entry: Entry): Promise<void> {
    this.#tasks.delete(entry.task.taskId);
    rejectAll(entry, new ShoalError('cancelled', `task ${entry.task.taskId} is detached`));
    return new Promise((resolve) => {
      this.#leaving.push({ entry, done: resolve });
      if (this.#closed) resolve();
      else this.#ask(ATTACH_COALESCE_MS);
    });
  }

  /** The end of a round that has seen everything up to now. */
  #roundDone(): Promise<void> {
    if (this.#closed) return Promise.reject(closedError());
    return new Promise((resolve) => {
      this.#afterRound.push(resolve);
      this.#ask(0);
    });
  }

  #ask(delayMs: number): void {
    if (this.#closed) return;
    if (this.#running !== undefined) {
      this.#again = Math.min(this.#again ?? delayMs, delayMs);
      return;
    }
    const { clock } = this.#deps;
    const dueMs = clock.monotonicMs() + delayMs;
    if (this.#timer !== undefined) {
      if (this.#timer.dueMs <= dueMs) return;
      this.#timer.timer.cancel();
    }
    const timer = clock.after(delayMs, () => {
      this.#timer = undefined;
      this.#running = this.#round().finally(() => {
        this.#running = undefined;
        const again = this.#again;
        this.#again = undefined;
        if (again !== undefined) this.#ask(again);
      });
    });
    this.#timer = { timer, dueMs };
  }

  async #round(): Promise<void> {
    const { log } = this.#deps;
    const waiting = this.#afterRound.splice(0);
    const leaving = this.#leaving.splice(0);
    const view = this.#view;
    let failed = false;
    try {
      failed = !(await this.#carryOut(view));
    } catch (error) {
      failed = true;
      this.#distrust();
      log.error('a round of the data plane failed', { error: messageOf(error) });
    }
    await this.#bury(leaving);
    if (this.#closed) return;
    await this.#deps.onNames(view, this.#attached());
    this.#answer(failed);
    for (const done of waiting) done();
    if (failed) {
      this.#failedRounds += 1;
      this.#ask(Math.min(RETRY_MS.last, RETRY_MS.first * 2 ** (this.#failedRounds - 1)));
      return;
    }
    this.#failedRounds = 0;
    if (view !== undefined && view.revision !== this.#appliedRevision) {
      this.#appliedRevision = view.revision;
      for (const listener of this.#listeners) listener(view.revision);
    }
  }

  /** True when the kernel is as it should be. */
  async #carryOut(view: NetworkView | undefined): Promise<boolean> {
    const { kernel, clock } = this.#deps;
    const startedMs = clock.monotonicMs();
    const verifying = this.#unlisted;
    this.#unlisted = false;
    if (!this.#prepared) {
      await kernel.prepareHost();
      this.#prepared = true;
    }
    const settings = this.#settings(view);
    const existing = verifying ? new Set(await kernel.namespaces()) : undefined;
    const gone = this.#chooseNetworks(view);
    await this.#read(settings, existing);
    await this.#makeDevices(settings);
    await this.#wireTasks(settings, existing);
    let good = await this.#applyNetworks(settings, view);
    good = (await this.#applyHost(settings, view)) && good;
    await this.#removeNetworks(gone);
    if (existing !== undefined) {
      await this.#removeLeftovers(existing, view !== undefined);
      this.#unlisted ||= !good;
      this.#verifyLater(clock.monotonicMs() - startedMs);
    }
    return good;
  }

  #settings(view: NetworkView | undefined): HostSettings {
    const { nodeId, hostAddress, dnsPort } = this.#deps;
    return {
      nodeId,
      hostAddress,
      dnsPort,
      dataPathPort: view?.dataPathPort || DEFAULT_DATA_PATH_PORT,
      mtu: clusterMtu(view?.hosts.values() ?? []),
    };
  }

  /** Networks of the view, and those that left it while a task of ours is still on them. Gives what goes. */
  #chooseNetworks(view: NetworkView | undefined): string[] {
    if (view === undefined) return [];
    if (this.#sliced?.view !== view) this.#sliced = { view, slices: sliceView(view) };
    const used = new Set(
      [...this.#tasks.values()].flatMap(({ task }) => task.attachments.map((a) => a.networkId)),
    );
    for (const [id, slice] of this.#sliced.slices) {
      const known = this.#networks.get(id);
      if (known === undefined) {
        this.#networks.set(id, {
          state: undefined,
          memo: new Map(),
          madeFrom: undefined,
          slice,
          tuned: false,
        });
      } else if (!sameSlice(known.slice, slice)) {
        known.slice = slice;
      }
    }
    const gone: string[] = [];
    for (const id of this.#networks.keys()) {
      if (this.#sliced.slices.has(id) || used.has(id)) continue;
      this.#networks.delete(id);
      gone.push(networkNamespace(id));
    }
    return gone;
  }

  /** Makes namespaces that are missing and reads those that are not known. */
  async #read(settings: HostSettings, existing: ReadonlySet<string> | undefined): Promise<void> {
    const { kernel } = this.#deps;
    if (this.#host.state === undefined) {
      this.#host.state = await kernel.dump(undefined, hostTableOf(settings));
      this.#host.madeFrom = undefined;
    }
    const unknown = [...this.#networks].filter(([, { state }]) => state === undefined);
    // A namespace that is made anew is known to be empty; what exists must be looked at.
    const found = existing ?? new Set(unknown.length > 0 ? await kernel.namespaces() : []);
    const fresh = unknown.filter(([id]) => !found.has(networkNamespace(id)));
    await kernel.makeNamespaces(fresh.map(([id]) => networkNamespace(id)));
    for (const [, space] of fresh) Object.assign(space, { state: EMPTY_NAMESPACE, tuned: false });
    await inParallel(unknown, async ([id, space]) => {
      space.madeFrom = undefined;
      if (space.state !== undefined) return;
      const name = networkNamespace(id);
      const shape = networkTableOf(space.slice.network, settings.dnsPort);
      try {
        space.state = await kernel.dump(name, shape);
      } catch (error) {
        // A name with nothing behind it, as a power loss leaves it.
        this.#deps.log.warn('remaking a namespace that cannot be read', {
          name,
          error: messageOf(error),
        });
        await kernel.removeNamespaces([name]);
        await kernel.makeNamespaces([name]);
        space.state = EMPTY_NAMESPACE;
      }
      space.tuned = false;
    });
  }

  /** VXLAN devices and the links between host and networks, where they are missing. */
  async #makeDevices(settings: HostSettings): Promise<void> {
    const { kernel } = this.#deps;
    const lines: string[] = [];
    const made: NetworkSpace[] = [];
    for (const [id, space] of this.#networks) {
      const host = this.#host.state ?? EMPTY_NAMESPACE;
      const state = space.state ?? EMPTY_NAMESPACE;
      const { network } = space.slice;
      const wanted = networkDevices(settings, network);
      const hostName = networkLink(id);
      const missing = new Set(missingLinks(state, wanted));
      // The two ends of a pair live and die together, so one without the other is an old one.
      if (!host.links.has(hostName)) missing.add(GATEWAY_LINK);
      if (missing.size === 0) continue;
      const namespace = networkNamespace(id);
      await kernel.removeLinks(
        namespace,
        [...missing].filter((name) => state.links.has(name)),
      );
      const links = new Map(withoutLinks(state, missing, VXLAN_LINK).links);
      for (const name of missing) {
        const link = wanted.get(name);
        if (link === undefined) continue;
        links.set(name, { ...link, up: false });
        if (name === VXLAN_LINK) lines.push(makeVxlan(name, namespace, link));
      }
      space.state = { ...withoutLinks(state, missing, VXLAN_LINK), links };
      const gateway = wanted.get(GATEWAY_LINK);
      if (missing.has(GATEWAY_LINK) && gateway !== undefined) {
        if (host.links.has(hostName)) await kernel.removeLinks(undefined, [hostName]);
        const link = networkHostLink(settings, network);
        lines.push(
          makeGateway({ name: hostName, link }, { name: GATEWAY_LINK, namespace, link: gateway }),
        );
        const cleared = withoutLinks(host, new Set([hostName]), VXLAN_LINK);
        this.#host.state = {
          ...cleared,
          links: new Map(cleared.links).set(hostName, { ...link, up: false }),
        };
        this.#host.madeFrom = undefined;
      }
      space.madeFrom = undefined;
      space.tuned = false;
      made.push(space);
    }
    await kernel.makeLinks(lines);
    const untuned = [...this.#networks].filter(([, { tuned }]) => !tuned);
    await inParallel(untuned, async ([id, space]) => {
      await kernel.tune(networkNamespace(id), []);
      space.tuned = true;
    });
    if (untuned.length > 0)
      await kernel.tune(undefined, [...this.#networks.keys()].map(networkLink));
  }

  /** Makes the containers' ends of tasks that came, and mends those whose links have gone. */
  async #wireTasks(
    settings: HostSettings,
    existing: ReadonlySet<string> | undefined,
  ): Promise<void> {
    const { kernel, log, hostNamespace } = this.#deps;
    const todo: { entry: Entry; plan: ContainerPlan; fresh: boolean }[] = [];
    for (const entry of this.#tasks.values()) {
      if (!entry.task.attachments.every(({ networkId }) => this.#networks.has(networkId))) continue;
      if (entry.state === 'broken' && existing === undefined) continue;
      const fresh = entry.state === 'making';
      try {
        if (fresh || entry.plan === undefined) await this.#planEntry(entry, settings);
      } catch (error) {
        this.#refuse(entry, error);
        continue;
      }
      const { plan } = entry;
      if (plan === undefined) continue;
      if (fresh || !this.#hasLinks(plan)) todo.push({ entry, plan, fresh });
    }
    if (todo.length === 0) return;
    // Also those to be mended: a name that was removed by hand is of no use to its container, but harms nobody.
    await kernel.makeNamespaces(todo.map(({ plan }) => plan.namespace));
    const scripts = todo.map(({ plan }) => ({
      namespace: plan.namespace,
      lines: containerCommands(plan, hostNamespace),
    }));
    const answers = await kernel.wire(scripts);
    const host = this.#host.state ?? EMPTY_NAMESPACE;
    for (const [index, { entry, plan, fresh }] of todo.entries()) {
      const problem = answers[index];
      if (problem === undefined) {
        entry.state = fresh ? 'making' : 'wired';
        this.#noteLinks(plan);
        continue;
      }
      log.warn('cannot wire a container', { task: entry.task.taskId, problem });
      if (!fresh) {
        entry.state = 'broken';
        continue;
      }
      // Half of a former try may be in the way, or the name may have nothing behind it.
      await kernel.removeNamespaces([plan.namespace]);
      this.#failOnce(entry, problem);
    }
    const direct = todo.filter(({ plan }) =>
      plan.interfaces.some((i) => i.peerNamespace === undefined),
    );
    if (direct.length > 0 && host !== undefined) {
      await kernel.tune(
        undefined,
        direct.map(({ entry }) => egressLink(entry.task.taskId)),
      );
    }
  }

  #hasLinks(plan: ContainerPlan): boolean {
    return plan.interfaces.every(({ networkId, peer, peerNamespace }) => {
      const space = peerNamespace === undefined ? this.#host : this.#networks.get(networkId);
      return space?.state?.links.has(peer) === true;
    });
  }

  /** The other ends exist now, and are down until the next step. */
  #noteLinks(plan: ContainerPlan): void {
    for (const { networkId, peer, peerNamespace } of plan.interfaces) {
      const space = peerNamespace === undefined ? this.#host : this.#networks.get(networkId);
      if (space?.state === undefined) continue;
      const links = new Map(space.state.links).set(peer, { kind: 'veth', up: false });
      space.state = { ...space.state, links };
      space.madeFrom = undefined;
    }
  }

  /** Decides a task's interfaces and holds its ports. Throws ShoalError when it cannot be. */
  async #planEntry(entry: Entry, settings: HostSettings): Promise<void> {
    const { task } = entry;
    if (task.attachments.length === 0) entry.egressAddress ??= this.#egressAddress(task.taskId);
    const networks = new Map<string, Network>();
    for (const [id, { slice }] of this.#networks) networks.set(id, slice.network);
    const plan = planContainer(task, networks, settings.mtu, entry.egressAddress);
    if (entry.hostPorts === undefined) await this.#holdPorts(entry, plan);
    entry.plan = plan;
    entry.wiring = wiringOf(
      plan,
      `${this.#deps.netnsDir}/${plan.namespace}`,
      entry.hostPorts ?? [],
    );
  }

  /** The address a container without networks has, or gets. Links that exist tell who has which. */
  #egressAddress(taskId: string): string {
    const taken = new Set<string>();
    for (const [key, value] of this.#host.state?.routes ?? []) {
      const address = key.slice('main '.length);
      if (value === `dev ${egressLink(taskId)} scope link`) return address;
      taken.add(address);
    }
    for (const { egressAddress } of this.#tasks.values()) {
      if (egressAddress !== undefined) taken.add(egressAddress);
    }
    const address = freeEgressAddress(this.#deps.egressPool, taken);
    if (address === undefined) {
      throw new ShoalError(
        'resource-exhausted',
        `all addresses of ${this.#deps.egressPool} are in use on this host: give it a larger pool`,
      );
    }
    return address;
  }

  async #holdPorts(entry: Entry, plan: ContainerPlan): Promise<void> {
    const { ports, log } = this.#deps;
    const address = portAddress(plan);
    const held: PortConfig[] = [];
    try {
      for (const port of entry.task.hostPorts) {
        const protocol = port.protocol || 'tcp';
        const known = this.#boundPort(protocol, `${address} . ${port.targetPort}`);
        const wanted = port.publishedPort || known || 0;
        const taken = `port ${wanted}/${protocol} is already in use on this host`;
        if (wanted !== 0 && this.#published(protocol, wanted, entry)) {
          throw new ShoalError('failed-precondition', taken);
        }
        const hold = await ports.hold(protocol, wanted);
        if (hold !== undefined) entry.held.push(hold);
        else if (entry.state === 'making') throw new ShoalError('failed-precondition', taken);
        else log.warn('the port of a running task is held by another process', { port: wanted });
        held.push({ ...port, protocol, publishedPort: hold?.port ?? wanted });
      }
    } catch (error) {
      await release(entry);
      throw error;
    }
    entry.hostPorts = held;
  }

  /** The published port that the kernel already leads to this target: of a former run of this process. */
  #boundPort(protocol: string, target: string): number | undefined {
    for (const [key, value] of this.#host.state?.table?.sets.get('ports') ?? []) {
      if (value === target && key.startsWith(`${protocol} . `)) {
        return Number(key.slice(protocol.length + 3));
      }
    }
    return undefined;
  }

  /** Whether another task, or a service in ingress mode, has the port. */
  #published(protocol: string, port: number, except: Entry): boolean {
    const same = (other: PortConfig) =>
      other.publishedPort === port && (other.protocol || 'tcp') === protocol;
    for (const entry of this.#tasks.values()) {
      if (entry !== except && entry.hostPorts?.some(same)) return true;
    }
    for (const { slice } of this.#networks.values()) {
      if (slice.network.spec?.ingress !== true) continue;
      for (const { ports } of slice.vips) {
        if (ports.some((other) => other.publishMode !== 'host' && same(other))) return true;
      }
    }
    return false;
  }

  async #applyNetworks(settings: HostSettings, view: NetworkView | undefined): Promise<boolean> {
    const { kernel, log } = this.#deps;
    const hosts = view?.hosts ?? new Map();
    let good = true;
    await inParallel([...this.#networks], async ([id, space]) => {
      const locals = this.#localLinks(id);
      const { slice } = space;
      const hostKey = this.#hostsKey(hosts);
      const keys = locals.map(({ taskId, address }) => `${taskId} ${address}`);
      const from = [slice, hostKey, settings.mtu, settings.dataPathPort, ...keys];
      if (space.state === undefined) return;
      if (space.madeFrom !== undefined && sameItems(space.madeFrom, from)) return;
      const desired = planNetwork(settings, { ...slice, hosts, locals }, space.memo);
      const shape = networkTableOf(slice.network, settings.dnsPort);
      const name = networkNamespace(id);
      try {
        await applyPlan(kernel, name, space.state, desired, shape, view?.revision ?? 0);
        space.state = desired;
        space.madeFrom = from;
      } catch (error) {
        good = false;
        space.state = undefined;
        log.warn('cannot bring a network up to date; it will be read again', {
          network: slice.network.spec?.name,
          error: messageOf(error),
        });
      }
    });
    return good;
  }

  #lastHosts: NetworkView['hosts'] = new Map();
  /** The same object for the same hosts, whatever view they came with. */
  #hostsKey(hosts: NetworkView['hosts']): NetworkView['hosts'] {
    if (!sameHosts(this.#lastHosts, hosts)) this.#lastHosts = hosts;
    return this.#lastHosts;
  }

  async #applyHost(settings: HostSettings, view: NetworkView | undefined): Promise<boolean> {
    const { kernel, log, egressPool } = this.#deps;
    const { state } = this.#host;
    if (state === undefined) return false;
    const hosts = view?.hosts ?? new Map();
    const slices = [...this.#networks.values()].map(({ slice }) => slice);
    const ingress = slices.find(({ network }) => network.spec?.ingress === true);
    const egressLinks = this.#egressLinks();
    const hostPorts = this.#hostPorts();
    const from = [
      this.#hostsKey(hosts),
      settings.mtu,
      settings.dataPathPort,
      view === undefined,
      ingress,
      ...slices.map(({ network }) => network),
      ...egressLinks.map(({ taskId, address }) => `${taskId} ${address}`),
      ...hostPorts.map((port) => JSON.stringify(port)),
    ];
    if (this.#host.madeFrom !== undefined && sameItems(this.#host.madeFrom, from)) return true;
    const networks = slices.map(({ network }) => network);
    const planned = planHost(
      settings,
      { networks, hosts, ingress, egressLinks, egressPool, hostPorts },
      this.#host.memo,
    );
    // Without a view what a former run of this process left is right: nothing of it may go yet.
    const desired = view === undefined ? added(state, planned) : planned;
    try {
      await applyPlan(
        kernel,
        undefined,
        state,
        desired,
        hostTableOf(settings),
        view?.revision ?? 0,
      );
      this.#host.state = desired;
      this.#host.madeFrom = from;
      return true;
    } catch (error) {
      this.#host.state = undefined;
      log.warn("cannot bring the host's own rules up to date; they will be read again", {
        error: messageOf(error),
      });
      return false;
    }
  }

  #localLinks(networkId: string): LocalLink[] {
    const links: LocalLink[] = [];
    for (const { task, plan, state } of this.#tasks.values()) {
      const link = plan?.interfaces.find((candidate) => candidate.networkId === networkId);
      if (link === undefined || link.peerNamespace === undefined || state === 'broken') continue;
      if (this.#networks.get(networkId)?.state?.links.has(link.peer) !== true) continue;
      links.push({ taskId: task.taskId, address: link.address, link: link.peer });
    }
    return links;
  }

  #egressLinks(): EgressLink[] {
    const links: EgressLink[] = [];
    for (const { task, plan, state, egressAddress } of this.#tasks.values()) {
      if (plan === undefined || egressAddress === undefined || state === 'broken') continue;
      if (this.#host.state?.links.has(egressLink(task.taskId)) !== true) continue;
      links.push({ taskId: task.taskId, address: egressAddress });
    }
    return links;
  }

  #hostPorts(): HostPort[] {
    const ports: HostPort[] = [];
    for (const { plan, hostPorts } of this.#tasks.values()) {
      const address = plan === undefined ? undefined : portAddress(plan);
      if (address === undefined) continue;
      for (const { protocol, publishedPort: published, targetPort: target } of hostPorts ?? []) {
        ports.push({ protocol, published, address, target });
      }
    }
    return ports;
  }

  async #removeNetworks(names: readonly string[]): Promise<void> {
    if (names.length === 0) return;
    const { kernel } = this.#deps;
    await inParallel(names, (name) => kernel.removeLinks(name, [VXLAN_LINK, GATEWAY_LINK]));
    await kernel.removeNamespaces(names);
  }

  /** Namespaces with our names that nothing asks for. Networks only when a view has said which there are. */
  async #removeLeftovers(existing: ReadonlySet<string>, hasView: boolean): Promise<void> {
    const wanted = new Set([...this.#networks.keys()].map(networkNamespace));
    for (const taskId of this.#tasks.keys()) wanted.add(taskNamespace(taskId));
    const left = [...existing].filter(
      (name) => !wanted.has(name) && (hasView || name.startsWith(TASK_NAMESPACE_PREFIX)),
    );
    if (left.length === 0) return;
    this.#deps.log.info('removing namespaces that nothing uses', { count: left.length });
    await this.#deps.kernel.removeNamespaces(left);
  }

  /** Removes what tasks that left have had; their links and routes went with the plans. */
  async #bury(leaving: readonly { entry: Entry; done: () => void }[]): Promise<void> {
    if (leaving.length === 0) return;
    try {
      // A task of the same name may be back by now.
      const names = leaving
        .map(({ entry }) => entry.task.taskId)
        .filter((taskId) => !this.#tasks.has(taskId))
        .map(taskNamespace);
      await this.#deps.kernel.removeNamespaces(names);
    } catch (error) {
      this.#unlisted = true;
      this.#deps.log.warn('cannot remove namespaces; the next look will', {
        error: messageOf(error),
      });
    }
    for (const { entry, done } of leaving) {
      await release(entry);
      done();
    }
  }

  /** Tells those who wait for tasks that are wired now, or that fail again and again. */
  #answer(failed: boolean): void {
    for (const entry of this.#tasks.values()) {
      if (entry.waiters.size === 0 || entry.plan === undefined) continue;
      if (entry.state === 'making' && this.#isApplied(entry.plan)) entry.state = 'wired';
      if (entry.state === 'wired' && entry.wiring !== undefined) {
        for (const waiter of entry.waiters) waiter.resolve(entry.wiring);
        entry.waiters.clear();
      } else if (failed) {
        this.#failOnce(entry, 'its networks could not be brought up to date');
      }
    }
  }

  #isApplied(plan: ContainerPlan): boolean {
    return (
      this.#host.state !== undefined &&
      plan.interfaces.every(({ networkId, peer, peerNamespace }) => {
        const space = peerNamespace === undefined ? this.#host : this.#networks.get(networkId);
        return space?.state?.links.get(peer)?.up === true;
      })
    );
  }

  #failOnce(entry: Entry, problem: string): void {
    entry.failures += 1;
    this.#ask(RETRY_MS.first);
    if (entry.failures < ATTACH_ROUNDS) return;
    this.#refuse(
      entry,
      new ShoalError('unavailable', `cannot wire task ${entry.task.taskId}: ${problem}`),
    );
  }

  /** A task that cannot be wired: nothing of it stays. One that runs already is kept as it is. */
  #refuse(entry: Entry, error: unknown): void {
    if (entry.state === 'making') {
      this.#tasks.delete(entry.task.taskId);
      this.#leaving.push({ entry, done: () => undefined });
      this.#ask(0);
    } else {
      entry.state = 'broken';
      this.#deps.log.warn('cannot keep the wiring of a task', {
        task: entry.task.taskId,
        error: messageOf(error),
      });
    }
    rejectAll(entry, error);
  }

  #attached(): AttachedTask[] {
    return [...this.#tasks.values()].flatMap(({ task, plan }) =>
      plan === undefined
        ? []
        : [
            {
              task,
              addresses: plan.interfaces.map(({ networkId, address }) => ({ networkId, address })),
            },
          ],
    );
  }

  /** Forgets what the kernel holds: it is read again before anything is written. */
  #distrust(): void {
    this.#unlisted = true;
    this.#host.state = undefined;
    for (const space of this.#networks.values()) space.state = undefined;
  }

  #verifyLater(lastMs: number): void {
    this.#verify?.cancel();
    this.#verify = this.#deps.clock.after(Math.max(VERIFY_MS, lastMs * VERIFY_SHARE), () => {
      this.#distrust();
      this.#ask(0);
    });
  }
}

async function applyPlan(
  kernel: Kernel,
  name: string | undefined,
  actual: NamespaceState,
  desired: NamespaceState,
  shape: TableShape,
  revision: number,
): Promise<void> {
  const changes = diff(actual, desired, VXLAN_LINK);
  const [missing] = changes.makeLinks.keys();
  if (missing !== undefined) throw new ShoalError('internal', `link ${missing} is not there`);
  if (isEmpty(changes) || desired.table === undefined) return;
  const transactions = tableTransactions(shape, desired.table, changes.table, revision);
  await kernel.apply(name, changes, transactions);
}

/** `planned` on top of what is there. */
function added(actual: NamespaceState, planned: NamespaceState): NamespaceState {
  const { table } = planned;
  const sets = new Map<string, ReadonlyMap<string, string>>();
  for (const part of [actual.table?.sets, table?.sets]) {
    for (const [name, entries] of part ?? []) {
      sets.set(name, new Map([...(sets.get(name) ?? []), ...entries]));
    }
  }
  return {
    links: new Map([...actual.links, ...planned.links]),
    addresses: new Set([...actual.addresses, ...planned.addresses]),
    routes: new Map([...actual.routes, ...planned.routes]),
    neighbours: new Map([...actual.neighbours, ...planned.neighbours]),
    forwarding: new Map([...actual.forwarding, ...planned.forwarding]),
    rules: new Set([...actual.rules, ...planned.rules]),
    table:
      table === undefined
        ? actual.table
        : {
            fingerprint: actual.table?.fingerprint || table.fingerprint,
            sets,
            slots: new Map([...(actual.table?.slots ?? []), ...table.slots]),
          },
  };
}

function newEntry(task: LocalTask): Entry {
  return {
    task,
    state: 'making',
    waiters: new Set(),
    failures: 0,
    held: [],
    hostPorts: undefined,
  };
}

function rejectAll(entry: Entry, error: unknown): void {
  for (const waiter of entry.waiters) waiter.reject(error);
  entry.waiters.clear();
}

async function release(entry: Entry): Promise<void> {
  const held = entry.held.splice(0);
  await Promise.all(held.map((port) => port.release()));
}

function closedError(): ShoalError {
  return new ShoalError('unavailable', 'the data plane of this host is closed');
}

/** At most PARALLEL_NAMESPACES at a time: more would only queue at the kernel's routing lock. */
async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values();
  const worker = async () => {
    for (const item of queue) await work(item);
  };
  await Promise.all(Array.from({ length: Math.min(PARALLEL_NAMESPACES, items.length) }, worker));
}
