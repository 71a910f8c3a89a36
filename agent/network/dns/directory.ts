import { cidrContains, formatIp, parseCidr, parseIp } from '../../../shared/model/cidr.ts';
import { type AttachedTask, subnetsOf } from '../facts.ts';
import type { NetworkView } from '../types.ts';
import { type NetworkSlice, sameSlice, sliceView } from '../view.ts';

/** A virtual address stays with its service for life. */
const VIP_TTL_SECONDS = 30;
/** Tasks come and go: as little as resolvers honour. */
const TASK_TTL_SECONDS = 3;

/** What a question has for an answer. */
export type Answer =
  | Readonly<{ kind: 'addresses'; addresses: readonly string[]; ttlSeconds: number }>
  | Readonly<{ kind: 'name'; name: string; ttlSeconds: number }>
  /** The name exists, but has no record of this type (or no ready task). */
  | Readonly<{ kind: 'no-data' }>
  /** It is ours, and does not exist. */
  | Readonly<{ kind: 'no-name' }>
  /** Not ours: the host's own name servers know. */
  | Readonly<{ kind: 'forward' }>;

type Zone = Readonly<{
  name: string;
  /** Lower-case name -> addresses. */
  names: ReadonlyMap<string, Readonly<{ addresses: readonly string[]; ttlSeconds: number }>>;
  /** Address -> name, for PTR. */
  reverse: ReadonlyMap<string, string>;
  subnets: readonly string[];
}>;

/**
 * The names of a host's containers. Who asks is told by the source address: a task sees the names of the
 * networks it is on and no others. Zones are made when first asked for after a change.
 */
export class Directory {
  #slices: ReadonlyMap<string, NetworkSlice> = new Map();
  #tasks: readonly AttachedTask[] = [];
  #askers = new Map<string, AttachedTask>();
  readonly #zones = new Map<string, Zone>();

  update(view: NetworkView | undefined, tasks: readonly AttachedTask[]): void {
    const slices = view === undefined ? new Map<string, NetworkSlice>() : sliceView(view);
    const hosts = new Set<string>();
    // Host names of containers are known of this host's tasks only, so their networks' zones change with them.
    const changed =
      tasks.length !== this.#tasks.length || tasks.some((t, i) => t.task !== this.#tasks[i]?.task);
    if (changed) {
      for (const { task } of [...tasks, ...this.#tasks]) {
        for (const { networkId } of task.attachments) hosts.add(networkId);
      }
    }
    for (const id of this.#zones.keys()) {
      const [before, now] = [this.#slices.get(id), slices.get(id)];
      const same = before !== undefined && now !== undefined && sameSlice(before, now);
      if (!same || hosts.has(id)) this.#zones.delete(id);
    }
    this.#slices = slices;
    this.#tasks = tasks;
    this.#askers = new Map(
      tasks.flatMap((task) => task.addresses.map(({ address }) => [address, task])),
    );
  }

  /** Whether packets from this address are a task's: others get no answer at all. */
  knows(source: string): boolean {
    return this.#askers.has(source);
  }

  /** `type` is A, AAAA, PTR, …; the name may end in a dot. */
  lookup(source: string, question: Readonly<{ name: string; type: string }>): Answer {
    const asker = this.#askers.get(source);
    if (asker === undefined) return { kind: 'forward' };
    const zones = asker.task.attachments.flatMap(({ networkId }) => this.#zone(networkId) ?? []);
    const name = question.name.toLowerCase().replace(/\.$/, '');
    const reverse = reverseAddress(name);
    if (reverse !== undefined) return lookupReverse(zones, reverse, question.type);
    const found = find(zones, name);
    if (found === undefined) return { kind: 'forward' };
    if (question.type !== 'A' && question.type !== 'ANY') return { kind: 'no-data' };
    if (found.addresses.length === 0) return { kind: 'no-data' };
    return { kind: 'addresses', ...found };
  }

  #zone(networkId: string): Zone | undefined {
    const known = this.#zones.get(networkId);
    if (known !== undefined) return known;
    const slice = this.#slices.get(networkId);
    // The ingress network joins all published services: their names are no business of each other's.
    if (slice === undefined || slice.network.spec?.ingress === true) return undefined;
    const zone = makeZone(slice, this.#tasks);
    this.#zones.set(networkId, zone);
    return zone;
  }
}

function makeZone(
  { network, vips, endpoints }: NetworkSlice,
  tasks: readonly AttachedTask[],
): Zone {
  const names = new Map<string, { addresses: string[]; ttlSeconds: number }>();
  const reverse = new Map<string, string>();
  const zoneName = network.spec?.name ?? '';
  const put = (name: string, address: string, ttlSeconds: number) => {
    const key = name.toLowerCase();
    if (key === '') return;
    const entry = names.get(key) ?? { addresses: [], ttlSeconds };
    if (address !== '' && !entry.addresses.includes(address)) entry.addresses.push(address);
    names.set(key, entry);
  };
  // A service's own name goes before another's alias, and both before names of single tasks.
  const ready = new Map<string, string[]>();
  for (const { serviceId, address, ready: isReady } of endpoints) {
    const group = ready.get(serviceId) ?? [];
    if (isReady) group.push(address);
    ready.set(serviceId, group);
  }
  for (const { serviceId, serviceName, address, aliases } of vips) {
    const backends = ready.get(serviceId) ?? [];
    for (const name of [serviceName, ...aliases]) {
      if (address !== '') put(name, address, VIP_TTL_SECONDS);
      else putAll(name, backends);
      putAll(`tasks.${name}`, backends);
    }
    if (address !== '') reverse.set(address, `${serviceName}.${zoneName}`);
  }
  const services = new Set(names.keys());
  for (const { name, address } of endpoints) {
    if (!services.has(name.toLowerCase())) put(name, address, TASK_TTL_SECONDS);
    reverse.set(address, `${name}.${zoneName}`);
  }
  for (const { task, addresses } of tasks) {
    const own = addresses.find(({ networkId }) => networkId === network.id);
    if (own === undefined || services.has(task.hostname.toLowerCase())) continue;
    put(task.hostname, own.address, TASK_TTL_SECONDS);
  }
  return { name: zoneName.toLowerCase(), names, reverse, subnets: subnetsOf(network) };

  function putAll(name: string, addresses: readonly string[]): void {
    put(name, '', TASK_TTL_SECONDS);
    for (const address of addresses) put(name, address, TASK_TTL_SECONDS);
  }
}

/** By itself, or qualified by the network's name: `web` and `web.front`. */
function find(zones: readonly Zone[], name: string) {
  for (const zone of zones) {
    const found = zone.names.get(name);
    if (found !== undefined) return found;
  }
  for (const zone of zones) {
    const tail = `.${zone.name}`;
    if (zone.name === '' || !name.endsWith(tail)) continue;
    const found = zone.names.get(name.slice(0, -tail.length));
    if (found !== undefined) return found;
  }
  return undefined;
}

function lookupReverse(zones: readonly Zone[], address: string, type: string): Answer {
  for (const zone of zones) {
    const name = zone.reverse.get(address);
    if (name === undefined) continue;
    if (type !== 'PTR') return { kind: 'no-data' };
    return { kind: 'name', name, ttlSeconds: TASK_TTL_SECONDS };
  }
  const ip = parseIp(address);
  const inside = zones.some(({ subnets }) =>
    subnets.some((subnet) => {
      const cidr = parseCidr(subnet);
      return cidr !== undefined && ip !== undefined && cidrContains(cidr, ip);
    }),
  );
  return inside ? { kind: 'no-name' } : { kind: 'forward' };
}

/** 4.3.2.1.in-addr.arpa -> 1.2.3.4 */
function reverseAddress(name: string): string | undefined {
  const labels = /^(.+)\.in-addr\.arpa$/.exec(name)?.[1]?.split('.');
  const ip = labels === undefined ? undefined : parseIp(labels.reverse().join('.'));
  return ip?.family === 4 ? formatIp(ip) : undefined;
}
