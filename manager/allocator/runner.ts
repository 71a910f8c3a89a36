import { type ErrorCode, messageOf } from '../../shared/errors.ts';
import {
  type Network,
  type Service,
  type Task,
  TaskState,
} from '../../shared/gen/shoal/v1/objects.ts';
import { type IpAddress, parseIp } from '../../shared/model/cidr.ts';
import { isWanted } from '../../shared/model/task-state.ts';
import { type LeaderDeps, type LoopBody, type Round, runLeaderLoop, type Unit } from '../loop.ts';
import { taskStatusAction, updateAction } from '../store/tables.ts';
import type { Change, ChangeBatch } from '../store/types.ts';
import {
  allocateNetwork,
  allocateService,
  allocateTask,
  networkNeedsAllocation,
  Refusal,
  type Surroundings,
} from './allocate.ts';
import { Ledger, nothingReleased, type Released } from './ledger.ts';

/** Tasks looked at in one round: what is left comes in the next one, so that others get the thread. */
const SLICE = 2000;

/** The leader's allocator; resolves when `signal` aborts. */
export function runAllocator(deps: LeaderDeps, signal: AbortSignal): Promise<void> {
  return runLeaderLoop(deps, new Allocator(deps), signal);
}

/**
 * Keeps lists of what is to be allocated and of what waits: networks and services until something
 * they could use is released, tasks until their service or one of their networks can serve them.
 */
class Allocator implements LoopBody {
  readonly name = 'allocator';
  readonly #deps: LeaderDeps;
  #ledger = new Ledger();
  readonly #networks = new Set<string>();
  readonly #services = new Set<string>();
  readonly #tasks = new Set<string>();
  readonly #waitingNetworks = new Set<string>();
  /** Services that were refused, and why. */
  readonly #waitingServices = new Map<string, Refusal>();
  readonly #waitingTasks = new Waiting();
  #round: { networks: string[]; services: string[]; tasks: string[] } = emptyRound();

  constructor(deps: LeaderDeps) {
    this.#deps = deps;
  }

  start(): void {
    const { store } = this.#deps;
    this.#ledger = new Ledger();
    this.#ledger.load(store);
    for (const network of store.all('network')) {
      if (networkNeedsAllocation(network)) this.#networks.add(network.id);
    }
    for (const service of store.all('service')) this.#services.add(service.id);
    for (const task of store.all('task')) if (isNew(task)) this.#tasks.add(task.id);
  }

  onCommit(batch: ChangeBatch): boolean {
    const released = nothingReleased();
    let dirty = false;
    for (const change of batch.changes) {
      this.#ledger.apply(change, released);
      if (this.#note(change)) dirty = true;
    }
    return this.#retry(released) || dirty;
  }

  decide(): Round {
    this.#round = emptyRound();
    const units: Unit[] = [];
    // In this order: services need networks, tasks need both, and all may come in one round.
    const allocatedServices = new Map<string, Service>();
    this.#decideNetworks(units);
    this.#decideServices(units, allocatedServices);
    this.#decideTasks(units, allocatedServices);
    return { units, wakeInMs: this.#tasks.size > 0 ? 0 : undefined };
  }

  committed(wrote: boolean): boolean {
    this.#round = emptyRound();
    return this.#retry(this.#ledger.committed(wrote));
  }

  failed(code: ErrorCode | undefined): void {
    // Anything but a plain refusal may have been committed all the same.
    const refused = code !== undefined && code !== 'unknown-outcome' && code !== 'internal';
    this.#retry(this.#ledger.failed(!refused));
    for (const id of this.#round.networks) this.#networks.add(id);
    for (const id of this.#round.services) this.#services.add(id);
    for (const id of this.#round.tasks) this.#tasks.add(id);
    this.#round = emptyRound();
  }

  // ---- what there is to do -------------------------------------------------------------------

  #note(change: Change): boolean {
    const { store } = this.#deps;
    switch (change.table) {
      case 'network': {
        const { id } = change.object;
        this.#networks.delete(id);
        this.#waitingNetworks.delete(id);
        if (change.action === 'remove') return false;
        if (networkNeedsAllocation(change.object)) {
          // Our own note why not is no reason to try again.
          if (isRefusalNote(change)) this.#waitingNetworks.add(id);
          else this.#networks.add(id);
        } else {
          this.#wakeWaitersOf(id);
        }
        return true;
      }
      case 'service': {
        const { id } = change.object;
        if (change.action === 'remove') {
          this.#services.delete(id);
          this.#waitingServices.delete(id);
        } else if (isRefusalNote(change)) {
          return false;
        } else {
          this.#services.add(id);
        }
        for (const task of store.tasksOfService(id)) if (isNew(task)) this.#tasks.add(task.id);
        return true;
      }
      case 'task': {
        const { id } = change.object;
        if (change.action === 'remove' || !isNew(change.object)) {
          this.#tasks.delete(id);
          this.#waitingTasks.delete(id);
          return false;
        }
        if (change.action === 'update' && this.#waitingTasks.has(id)) return false;
        this.#tasks.add(id);
        return true;
      }
      default:
        return false;
    }
  }

  #retry({ networks, ports, subnets }: Released): boolean {
    let woken = false;
    if (subnets) {
      for (const id of this.#waitingNetworks) this.#networks.add(id);
      this.#waitingNetworks.clear();
      woken = this.#networks.size > 0;
    }
    if (ports || subnets || networks.size > 0) {
      for (const [id, { networkId }] of this.#waitingServices) {
        if (networkId === undefined ? ports : networks.has(networkId)) {
          this.#services.add(id);
          woken = true;
        }
      }
    }
    for (const networkId of networks) if (this.#wakeTasksOf(networkId)) woken = true;
    return woken;
  }

  #wakeWaitersOf(networkId: string): void {
    for (const [id, refusal] of this.#waitingServices) {
      const on = refusal.networkId ?? networkId;
      if (on === networkId) this.#services.add(id);
    }
    this.#wakeTasksOf(networkId);
  }

  #wakeTasksOf(networkId: string): boolean {
    const ids = this.#waitingTasks.take(networkId);
    for (const id of ids) this.#tasks.add(id);
    return ids.length > 0;
  }

  // ---- rounds --------------------------------------------------------------------------------

  #decideNetworks(units: Unit[]): void {
    const surroundings = this.#networks.size > 0 ? this.#surroundings() : undefined;
    for (const id of this.#networks) {
      this.#networks.delete(id);
      const network = this.#deps.store.get('network', id);
      if (network === undefined || surroundings === undefined) continue;
      if (!networkNeedsAllocation(network)) continue;
      this.#round.networks.push(id);
      const result = this.#guarded('network', id, () =>
        allocateNetwork(this.#ledger, network, surroundings),
      );
      if (result instanceof Refusal) {
        this.#waitingNetworks.add(id);
        if (network.allocationError !== result.message) {
          units.push([networkUpdate({ ...network, allocationError: result.message })]);
        }
      } else if (result !== undefined) {
        units.push([networkUpdate(result)]);
      }
    }
  }

  #decideServices(units: Unit[], allocated: Map<string, Service>): void {
    for (const id of this.#services) {
      this.#services.delete(id);
      this.#waitingServices.delete(id);
      const service = this.#deps.store.get('service', id);
      if (service === undefined) continue;
      this.#round.services.push(id);
      const result = this.#guarded('service', id, () => allocateService(this.#ledger, service));
      if (result instanceof Refusal) {
        this.#waitingServices.set(id, result);
        if (service.allocationError !== result.message) {
          units.push([updateAction('service', { ...service, allocationError: result.message })]);
        }
      } else if (result !== undefined) {
        units.push([updateAction('service', result)]);
        allocated.set(id, result);
      }
    }
  }

  #decideTasks(units: Unit[], allocated: ReadonlyMap<string, Service>): void {
    const { store, clock } = this.#deps;
    const nowMs = clock.now();
    let looked = 0;
    for (const id of this.#tasks) {
      if (looked >= SLICE) break;
      looked += 1;
      this.#tasks.delete(id);
      const task = store.get('task', id);
      if (task === undefined || !isNew(task)) continue;
      this.#round.tasks.push(id);
      const service = allocated.get(task.serviceId) ?? store.get('service', task.serviceId);
      const result = this.#guarded('task', id, () => this.#tryTask(task, service, nowMs));
      if (result instanceof Refusal) {
        this.#waitingTasks.add(id, result.networkId);
        const status = task.status;
        if (status !== undefined && status.err !== result.message) {
          const atMs = Math.max(nowMs, status.atMs);
          units.push([taskStatusAction(id, { ...status, atMs, err: result.message })]);
        }
      } else if (result !== undefined) {
        units.push([updateAction('task', result)]);
      }
    }
  }

  #tryTask(task: Task, service: Service | undefined, nowMs: number): Task | Refusal {
    // Woken by the service's next change: `#note` puts its tasks back on the list.
    const refusal = this.#waitingServices.get(task.serviceId);
    if (refusal !== undefined) return refusal;
    return allocateTask(this.#ledger, task, service, nowMs);
  }

  /** One bad object must not keep all others from being served. */
  #guarded<T>(what: string, id: string, allocate: () => T): T | Refusal {
    try {
      return allocate();
    } catch (error) {
      this.#deps.log.error(`could not allocate a ${what}`, { id, error: messageOf(error) });
      return new Refusal(`the allocator failed: ${messageOf(error)}`);
    }
  }

  #surroundings(): Surroundings {
    const hostAddresses: IpAddress[] = [];
    for (const node of this.#deps.store.all('node')) {
      for (const text of [node.status?.address, node.description?.dataPathAddress]) {
        const ip = text ? parseIp(text) : undefined;
        if (ip !== undefined) hostAddresses.push(ip);
      }
    }
    return { cluster: this.#deps.store.cluster(), hostAddresses };
  }
}

/** Tasks that were refused, by the network that would help. */
class Waiting {
  readonly #byNetwork = new Map<string, Set<string>>();
  readonly #networkOf = new Map<string, string>();

  add(taskId: string, networkId = ''): void {
    this.delete(taskId);
    this.#networkOf.set(taskId, networkId);
    const tasks = this.#byNetwork.get(networkId);
    if (tasks === undefined) this.#byNetwork.set(networkId, new Set([taskId]));
    else tasks.add(taskId);
  }

  has(taskId: string): boolean {
    return this.#networkOf.has(taskId);
  }

  delete(taskId: string): void {
    const networkId = this.#networkOf.get(taskId);
    if (networkId === undefined) return;
    this.#networkOf.delete(taskId);
    const tasks = this.#byNetwork.get(networkId);
    tasks?.delete(taskId);
    if (tasks?.size === 0) this.#byNetwork.delete(networkId);
  }

  take(networkId: string): string[] {
    const tasks = [...(this.#byNetwork.get(networkId) ?? [])];
    for (const id of tasks) this.#networkOf.delete(id);
    this.#byNetwork.delete(networkId);
    return tasks;
  }
}

function emptyRound() {
  return { networks: [] as string[], services: [] as string[], tasks: [] as string[] };
}

function networkUpdate(network: Network) {
  return updateAction('network', network);
}

function isNew(task: Task): boolean {
  return (task.status?.state ?? TaskState.NEW) === TaskState.NEW && isWanted(task.desiredState);
}

/** Whether all that changed is our own note why the object could not be served. */
function isRefusalNote(change: Change): boolean {
  if (change.table !== 'service' && change.table !== 'network') return false;
  const { object, previous } = change;
  if (previous === undefined || object.allocationError === '') return false;
  return object.allocationError !== previous.allocationError && object.spec === previous.spec;
}
