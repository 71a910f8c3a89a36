import { doubledMs } from '../../shared/backoff.ts';
import type { Clock, Timer } from '../../shared/clock.ts';
import { messageOf, ShoalError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { type AttachedTask, clusterMtu } from './facts.ts';
import type { Kernel } from './kernel.ts';
import type { ContainerPlan } from './local.ts';
import { NETWORK_NAMESPACE_PREFIX, TASK_NAMESPACE_PREFIX, taskNamespace } from './names.ts';
import { Namespaces } from './namespaces.ts';
import type { HostSettings } from './plan.ts';
import type { PortHolder } from './ports.ts';
import { Rounds } from './rounds.ts';
import { type Entry, rejectAll, release, TaskTable, type Waiter } from './task-table.ts';
import { TrafficReader } from './traffic.ts';
import type {
  DataPlane,
  Knocking,
  LocalTask,
  NetworkView,
  TaskTraffic,
  TrafficMeter,
  Wiring,
} from './types.ts';
import { TaskWirer } from './wire-tasks.ts';

/** Changes of a burst become one round: a rolling update sends several views in this time. */
const COALESCE_MS = 10;
/** Tasks that start together share a round; a lone one should not wait for others. */
const ATTACH_COALESCE_MS = 2;
const VERIFY_MS = 60_000;
/** At most 2 % of the time goes into verifying, however large the tables are. */
const VERIFY_SHARE = 50;
const RETRY = { firstMs: 100, lastMs: 30_000 };
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
  /** In each round, before it is answered: who may ask for which names now. */
  onNames: (view: NetworkView | undefined, tasks: readonly AttachedTask[]) => Promise<void>;
}>;

/**
 * The data plane of a host: turns the view and the local tasks into kernel state, round by round. One round at
 * a time does everything, so nothing here races: attach, detach and views only leave a note and ask for a round.
 */
export class NetworkController implements DataPlane, TrafficMeter {
  readonly #deps: DataPlaneDeps;
  readonly #tasks: TaskTable;
  readonly #namespaces: Namespaces;
  readonly #traffic: TrafficReader;
  readonly #wirer: TaskWirer;
  #view: NetworkView | undefined;
  #leaving: { entry: Entry; done: () => void }[] = [];
  readonly #listeners = new Set<(revision: number) => void>();
  #appliedRevision = 0;
  #warnings: readonly string[] = [];
  /** Names of namespaces must be read: at start, and when verifying. */
  #unlisted = true;
  /** Until it is known whose containers run, every namespace might be one of theirs: nothing is done. */
  #adopted = false;
  #prepared = false;
  readonly #rounds: Rounds;
  #verify: Timer | undefined;
  #failedRounds = 0;
  #afterRound: { resolve: () => void; reject: (error: unknown) => void }[] = [];
  #stopped = false;

  constructor(deps: DataPlaneDeps) {
    this.#deps = deps;
    this.#tasks = new TaskTable(deps);
    this.#namespaces = new Namespaces(deps.kernel, deps.log);
    this.#traffic = new TrafficReader(deps.kernel);
    this.#rounds = new Rounds(deps.clock, () => this.#round());
    this.#wirer = new TaskWirer(deps, this.#tasks, this.#namespaces, {
      again: () => this.#ask(RETRY.firstMs),
      giveUp: (entry) => {
        this.#leaving.push({ entry, done: () => undefined });
        this.#ask(0);
      },
    });
  }

  get appliedRevision(): number {
    return this.#appliedRevision;
  }

  get warnings(): readonly string[] {
    return this.#warnings;
  }

  onApplied(listener: (revision: number) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  setView(view: NetworkView): void {
    // The store's first index is 1: a view without one was made before any manager was heard.
    if (view.revision === 0) return;
    this.#view = view;
    this.#ask(COALESCE_MS);
  }

  attach(task: LocalTask, signal: AbortSignal): Promise<Wiring> {
    if (signal.aborted) return Promise.reject(signal.reason);
    if (this.#stopped) return Promise.reject(stoppedError());
    const entry = this.#tasks.get(task.taskId) ?? this.#tasks.add(task, 'making');
    entry.task = task;
    if (entry.state === 'broken') entry.state = 'making';
    if (entry.state === 'wired' && entry.wiring !== undefined) return Promise.resolve(entry.wiring);
    const { promise, resolve, reject } = Promise.withResolvers<Wiring>();
    const onAbort = () => {
      entry.waiters.delete(waiter);
      reject(signal.reason);
      if (entry.waiters.size === 0 && entry.state === 'making') void this.#leave(entry);
    };
    const waiter: Waiter = { resolve, reject };
    entry.waiters.add(waiter);
    signal.addEventListener('abort', onAbort, { once: true });
    this.#ask(ATTACH_COALESCE_MS);
    return promise.finally(() => signal.removeEventListener('abort', onAbort));
  }

  detach(taskId: string): Promise<void> {
    const entry = this.#tasks.get(taskId);
    return entry === undefined ? Promise.resolve() : this.#leave(entry);
  }

  async adopt(tasks: readonly LocalTask[]): Promise<void> {
    for (const task of tasks) {
      if (!this.#tasks.has(task.taskId)) this.#tasks.add(task, 'wired');
    }
    this.#unlisted = true;
    this.#adopted = true;
    await this.#roundDone();
  }

  async removeAll(): Promise<void> {
    await this.#stop(new ShoalError('cancelled', 'this host leaves the cluster'));
    this.#namespaces.forget();
    const names = await this.#deps.kernel.namespaces();
    const networks = names.filter((name) => name.startsWith(NETWORK_NAMESPACE_PREFIX));
    const tasks = names.filter((name) => !name.startsWith(NETWORK_NAMESPACE_PREFIX));
    await this.#namespaces.remove(networks);
    await this.#deps.kernel.removeNamespaces(tasks);
    await this.#namespaces.removeHost();
    await this.#deps.onNames(undefined, []);
    // As new: the host may join another cluster.
    this.#view = undefined;
    this.#appliedRevision = 0;
    this.#unlisted = true;
    this.#stopped = false;
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

  count(taskIds: ReadonlySet<string>): void {
    this.#tasks.counted = taskIds;
    this.#ask(COALESCE_MS);
  }

  async traffic(): Promise<ReadonlyMap<string, TaskTraffic>> {
    const { counted } = this.#tasks;
    const tasks = this.#tasks.attached().filter(({ task }) => counted.has(task.taskId));
    return this.#stopped ? new Map() : this.#traffic.ofTasks(tasks);
  }

  get isHolding(): boolean {
    return this.#traffic.isHolding(this.#namespaces.slices());
  }

  async knocks(): Promise<readonly Knocking[]> {
    if (this.#stopped) return [];
    return this.#traffic.knocks(this.#namespaces.slices(), this.#tasks.usedNetworks());
  }

  async close(): Promise<void> {
    await this.#stop(stoppedError());
    await this.#deps.kernel.close();
  }

  /** Ends rounds and turns away who waits. Nothing in the kernel changes. */
  async #stop(reason: ShoalError): Promise<void> {
    this.#stopped = true;
    this.#verify?.cancel();
    await this.#rounds.end();
    for (const { reject } of this.#afterRound.splice(0)) reject(reason);
    for (const entry of this.#tasks.all()) {
      this.#tasks.delete(entry.task.taskId);
      rejectAll(entry, reason);
      await release(entry);
    }
    for (const { entry, done } of this.#leaving.splice(0)) {
      await release(entry);
      done();
    }
  }

  #leave(entry: Entry): Promise<void> {
    this.#tasks.delete(entry.task.taskId);
    rejectAll(entry, new ShoalError('cancelled', `task ${entry.task.taskId} is detached`));
    return new Promise((resolve) => {
      this.#leaving.push({ entry, done: resolve });
      this.#ask(ATTACH_COALESCE_MS);
    });
  }

  /** The end of a round that has seen everything up to now. */
  #roundDone(): Promise<void> {
    if (this.#stopped) return Promise.reject(stoppedError());
    return new Promise((resolve, reject) => {
      this.#afterRound.push({ resolve, reject });
      this.#ask(0);
    });
  }

  #ask(delayMs: number): void {
    if (!this.#stopped && this.#adopted) this.#rounds.ask(delayMs);
  }

  async #round(): Promise<void> {
    const { log } = this.#deps;
    const waiting = this.#afterRound.splice(0);
    const leaving = this.#leaving.splice(0);
    const view = this.#view;
    let good = false;
    try {
      good = await this.#carryOut(view);
    } catch (error) {
      this.#distrust();
      log.error('a round of the data plane failed', { error: messageOf(error) });
    }
    await this.#bury(leaving);
    await this.#deps.onNames(view, this.#tasks.attached());
    this.#wirer.answer(good);
    for (const { resolve } of waiting) resolve();
    if (!good) {
      this.#failedRounds += 1;
      this.#ask(doubledMs(this.#failedRounds, RETRY));
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
    const { kernel, clock, egressPool } = this.#deps;
    const namespaces = this.#namespaces;
    const startedMs = clock.monotonicMs();
    const verifying = this.#unlisted;
    this.#unlisted = false;
    if (!this.#prepared) await kernel.prepareHost();
    this.#prepared = true;
    const settings = this.#settings(view);
    const existing = verifying ? new Set(await kernel.namespaces()) : undefined;
    const gone = view === undefined ? [] : namespaces.choose(view, this.#tasks.usedNetworks());
    await namespaces.prepare(settings, existing);
    await this.#wirer.wire(settings, verifying);
    const exists = (link: ContainerPlan['interfaces'][number]) =>
      namespaces.peerLink(link) !== undefined;
    const good = await namespaces.apply(settings, view, {
      links: (networkId) => this.#tasks.localLinks(networkId, exists),
      egressLinks: this.#tasks.egressLinks(exists),
      hostPorts: this.#tasks.hostPorts(),
      egressPool,
    });
    await namespaces.remove(gone);
    if (existing !== undefined) {
      await this.#passForeign();
      await this.#removeLeftovers(existing, view !== undefined);
      this.#unlisted ||= !good;
      this.#verifyLater(clock.monotonicMs() - startedMs);
    }
    return good;
  }

  /** Filters of other tools may have come, or been loaded anew, at any time. */
  async #passForeign(): Promise<void> {
    const { kernel, log } = this.#deps;
    let warnings: readonly string[];
    try {
      warnings = await kernel.passForeign();
    } catch (error) {
      warnings = [`cannot look for filters of other tools: ${messageOf(error)}`];
    }
    for (const warning of warnings) {
      if (!this.#warnings.includes(warning)) log.warn(warning);
    }
    this.#warnings = warnings;
  }

  #settings(view: NetworkView | undefined): HostSettings {
    const { nodeId, hostAddress, dnsPort } = this.#deps;
    const dataPathPort = view?.dataPathPort || DEFAULT_DATA_PATH_PORT;
    return {
      nodeId,
      hostAddress,
      dnsPort,
      dataPathPort,
      mtu: clusterMtu(view?.hosts.values() ?? []),
    };
  }

  /** Namespaces with our names that nothing asks for. Networks only when a view has said which there are. */
  async #removeLeftovers(existing: ReadonlySet<string>, hasView: boolean): Promise<void> {
    const wanted = new Set([...this.#namespaces.names(), ...this.#tasks.ids().map(taskNamespace)]);
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
    // A task of the same name may be back by now.
    const gone = leaving
      .map(({ entry }) => entry.task.taskId)
      .filter((taskId) => !this.#tasks.has(taskId));
    try {
      await this.#deps.kernel.removeNamespaces(gone.map(taskNamespace));
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

  /** Forgets what the kernel holds. */
  #distrust(): void {
    this.#unlisted = true;
    this.#namespaces.distrust();
  }

  #verifyLater(lastMs: number): void {
    this.#verify?.cancel();
    this.#verify = this.#deps.clock.after(Math.max(VERIFY_MS, lastMs * VERIFY_SHARE), () => {
      this.#distrust();
      this.#ask(0);
    });
  }
}

function stoppedError(): ShoalError {
  return new ShoalError('unavailable', 'the data plane of this host is closed');
}
