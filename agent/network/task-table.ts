import { ShoalError } from '../../shared/errors.ts';
import type { Network, PortConfig } from '../../shared/gen/shoal/v1/objects.ts';
import type { Log } from '../../shared/log.ts';
import type { AttachedTask, EgressLink, HostPort, LocalLink } from './facts.ts';
import {
  type ContainerPlan,
  freeEgressAddress,
  planContainer,
  portAddress,
  wiringOf,
} from './local.ts';
import { egressLink } from './names.ts';
import type { HeldPort, PortHolder } from './ports.ts';
import type { NamespaceState } from './state.ts';
import type { LocalTask, Wiring } from './types.ts';
import type { NetworkSlice } from './view.ts';

export type Waiter = { resolve: (wiring: Wiring) => void; reject: (error: unknown) => void };

export type Entry = {
  task: LocalTask;
  /** `making` until wired for the first time; `broken` when it could not be mended. */
  state: 'making' | 'wired' | 'broken';
  waiters: Set<Waiter>;
  failures: number;
  plan?: ContainerPlan;
  wiring?: Wiring;
  egressAddress?: string;
  held: HeldPort[];
  /** With published ports filled in; undefined until they are held. */
  hostPorts: readonly PortConfig[] | undefined;
};

/** What of the rest a task's wiring depends on. */
export type Surroundings = Readonly<{
  slices: readonly NetworkSlice[];
  mtu: number;
  /** Read from the kernel: which addresses and ports a former run of this process gave to whom. */
  host: NamespaceState | undefined;
}>;

export type TaskTableDeps = Readonly<{
  ports: PortHolder;
  log: Log;
  egressPool: string;
  netnsDir: string;
}>;

/** The tasks of this host: their interfaces, addresses of their own pool, and the ports held for them. */
export class TaskTable {
  readonly #deps: TaskTableDeps;
  readonly #entries = new Map<string, Entry>();
  /** Tasks whose requests and connections are counted. */
  counted: ReadonlySet<string> = new Set();

  constructor(deps: TaskTableDeps) {
    this.#deps = deps;
  }

  get(taskId: string): Entry | undefined {
    return this.#entries.get(taskId);
  }

  has(taskId: string): boolean {
    return this.#entries.has(taskId);
  }

  ids(): string[] {
    return [...this.#entries.keys()];
  }

  all(): Entry[] {
    return [...this.#entries.values()];
  }

  add(task: LocalTask, state: 'making' | 'wired'): Entry {
    const entry: Entry = {
      task,
      state,
      waiters: new Set(),
      failures: 0,
      held: [],
      hostPorts: undefined,
    };
    this.#entries.set(task.taskId, entry);
    return entry;
  }

  delete(taskId: string): void {
    this.#entries.delete(taskId);
  }

  /** Networks that a task is on. */
  usedNetworks(): Set<string> {
    return new Set(
      this.all().flatMap(({ task }) => task.attachments.map(({ networkId }) => networkId)),
    );
  }

  /**
   * Decides a task's interfaces and holds its ports. Throws ShoalError `failed-precondition` when a port is taken
   * or a network cannot be wired, `resource-exhausted` without a free address.
   */
  async plan(entry: Entry, around: Surroundings): Promise<void> {
    const { task } = entry;
    if (task.attachments.length === 0) {
      entry.egressAddress ??= this.#egressAddress(task.taskId, around.host);
    }
    const networks = new Map<string, Network>();
    for (const { network } of around.slices) networks.set(network.id, network);
    const plan = planContainer(task, networks, around.mtu, entry.egressAddress);
    const hostPorts = entry.hostPorts ?? (await this.#holdPorts(entry, plan, around));
    entry.hostPorts = hostPorts;
    entry.plan = plan;
    entry.wiring = wiringOf(plan, `${this.#deps.netnsDir}/${plan.namespace}`, hostPorts);
  }

  /** Links of tasks in a network's namespace, of those whose link exists there. */
  localLinks(networkId: string, exists: (link: ContainerPlan['interfaces'][number]) => boolean) {
    const links: LocalLink[] = [];
    for (const { task, plan, state } of this.#entries.values()) {
      const link = plan?.interfaces.find((candidate) => candidate.networkId === networkId);
      if (link?.peerNamespace === undefined || state === 'broken' || !exists(link)) continue;
      const { taskId } = task;
      const counted = this.counted.has(taskId);
      links.push({ taskId, address: link.address, link: link.peer, counted });
    }
    return links;
  }

  egressLinks(exists: (link: ContainerPlan['interfaces'][number]) => boolean): EgressLink[] {
    const links: EgressLink[] = [];
    for (const { task, plan, state } of this.#entries.values()) {
      const [link] = plan?.interfaces ?? [];
      if (link === undefined || link.peerNamespace !== undefined) continue;
      if (state === 'broken' || !exists(link)) continue;
      const { taskId } = task;
      links.push({ taskId, address: link.address, counted: this.counted.has(taskId) });
    }
    return links;
  }

  hostPorts(): HostPort[] {
    const ports: HostPort[] = [];
    for (const { plan, hostPorts } of this.#entries.values()) {
      const address = plan === undefined ? undefined : portAddress(plan);
      if (address === undefined) continue;
      for (const { protocol, publishedPort: published, targetPort: target } of hostPorts ?? []) {
        ports.push({ protocol, published, address, target });
      }
    }
    return ports;
  }

  attached(): AttachedTask[] {
    return this.all().flatMap(({ task, plan }) => {
      if (plan === undefined) return [];
      const addresses = plan.interfaces.map(({ networkId, address }) => ({ networkId, address }));
      return [{ task, addresses }];
    });
  }

  /** The address a container without networks has, or gets: links that exist tell who has which. */
  #egressAddress(taskId: string, host: NamespaceState | undefined): string {
    const { egressPool } = this.#deps;
    const taken = new Set<string>();
    for (const [key, value] of host?.routes ?? []) {
      const address = key.slice('main '.length);
      if (value === `dev ${egressLink(taskId)} scope link`) return address;
      taken.add(address);
    }
    for (const { egressAddress } of this.#entries.values()) {
      if (egressAddress !== undefined) taken.add(egressAddress);
    }
    const address = freeEgressAddress(egressPool, taken);
    if (address !== undefined) return address;
    throw new ShoalError(
      'resource-exhausted',
      `all addresses of ${egressPool} are in use on this host: give it a larger pool`,
    );
  }

  async #holdPorts(
    entry: Entry,
    plan: ContainerPlan,
    around: Surroundings,
  ): Promise<readonly PortConfig[]> {
    const { ports, log } = this.#deps;
    const address = portAddress(plan);
    const held: PortConfig[] = [];
    // Several published ports may lead to one port of the container: each was bound once.
    const spoken = new Set(entry.task.hostPorts.map(({ publishedPort }) => publishedPort));
    try {
      for (const port of entry.task.hostPorts) {
        const protocol = port.protocol || 'tcp';
        const target = `${address} . ${port.targetPort}`;
        const known = boundPort(around.host, protocol, target, spoken);
        const wanted = port.publishedPort || known || 0;
        const taken = `port ${wanted}/${protocol} is already in use on this host`;
        if (wanted !== 0 && this.#isPublished(protocol, wanted, entry, around.slices)) {
          throw new ShoalError('failed-precondition', taken);
        }
        const hold = await ports.hold(protocol, wanted);
        if (hold !== undefined) entry.held.push(hold);
        else if (entry.state === 'making') throw new ShoalError('failed-precondition', taken);
        else log.warn('the port of a running task is held by another process', { port: wanted });
        spoken.add(hold?.port ?? wanted);
        held.push({ ...port, protocol, publishedPort: hold?.port ?? wanted });
      }
    } catch (error) {
      await release(entry);
      throw error;
    }
    return held;
  }

  /** Whether another task, or a service in ingress mode, has the port. */
  #isPublished(
    protocol: string,
    port: number,
    except: Entry,
    slices: readonly NetworkSlice[],
  ): boolean {
    const same = (other: PortConfig) =>
      other.publishedPort === port && (other.protocol || 'tcp') === protocol;
    for (const entry of this.#entries.values()) {
      if (entry !== except && entry.hostPorts?.some(same)) return true;
    }
    return slices.some(
      ({ network, vips }) =>
        network.spec?.ingress === true &&
        vips.some(({ ports }) =>
          ports.some((other) => other.publishMode !== 'host' && same(other)),
        ),
    );
  }
}

export function rejectAll(entry: Entry, error: unknown): void {
  for (const waiter of entry.waiters) waiter.reject(error);
  entry.waiters.clear();
}

export async function release(entry: Entry): Promise<void> {
  const held = entry.held.splice(0);
  await Promise.all(held.map((port) => port.release()));
}

/** A published port that the kernel already leads to this target, other than those spoken for. */
function boundPort(
  host: NamespaceState | undefined,
  protocol: string,
  target: string,
  spoken: ReadonlySet<number>,
): number | undefined {
  const prefix = `${protocol} . `;
  for (const [key, value] of host?.table?.sets.get('ports') ?? []) {
    if (value !== target || !key.startsWith(prefix)) continue;
    const port = Number(key.slice(prefix.length));
    if (!spoken.has(port)) return port;
  }
  return undefined;
}
