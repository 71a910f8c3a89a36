import { type Clock, sleep, type Timer } from '../../shared/clock.ts';
import { messageOf, ShoalError } from '../../shared/errors.ts';
import { type TaskProcess, TaskStatus } from '../../shared/gen/containerd/tasks.ts';
import type { Log } from '../../shared/log.ts';
import { Broadcast } from './broadcast.ts';
import { Entry } from './entry.ts';
import type { CgroupFiles } from './io/cgroup-files.ts';
import type { ContainerFolders } from './io/container-folder.ts';
import type { ContainerStore } from './io/container-store.ts';
import type { ContainerdClient } from './io/containerd.ts';
import { processStartMs } from './io/processes.ts';
import { type TaskEvent, taskEvents, toMs } from './io/task-events.ts';
import { Limiter } from './limiter.ts';
import type { RuntimeEvent } from './types.ts';

export type TableOptions = Readonly<{
  client: ContainerdClient;
  store: ContainerStore;
  folders: ContainerFolders;
  cgroups: CgroupFiles;
  /** Of a container, relative to each hierarchy. */
  cgroupOf: (id: string) => string;
  /** How many tasks are deleted at once. */
  width: number;
  clock: Clock;
  log: Log;
}>;

const RECONNECT_MIN_MS = 50;
const RECONNECT_MAX_MS = 2_000;
const ORPHANS_AFTER_MS = [0, 2_000];
const KILLED = 128 + 9;

/**
 * All containers of this host as containerd has them: kept true by its events, and by listing again whenever
 * the connection was lost. How a container ended is recorded here, and what is left of it cleaned up.
 */
export class ContainerTable {
  readonly #options: TableOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #events = new Broadcast<RuntimeEvent>({ kind: 'resync' });
  readonly #deletes: Limiter;
  readonly #closing = new AbortController();
  #following: Promise<void> | undefined;
  #sweeps: readonly Timer[] = [];

  constructor(options: TableOptions) {
    this.#options = options;
    this.#deletes = new Limiter(options.width);
  }

  /** Resolves once all containers are known. */
  async open(signal: AbortSignal): Promise<void> {
    const listed = Promise.withResolvers<void>();
    const onAbort = () => listed.reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    this.#following = this.#follow(listed.resolve);
    try {
      await listed.promise;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
    for (const timer of this.#sweeps) timer.cancel();
    await this.#following;
  }

  listen(signal: AbortSignal): AsyncIterable<RuntimeEvent> {
    return this.#events.listen(signal);
  }

  all(): Entry[] {
    return [...this.#entries.values()];
  }

  get(id: string): Entry | undefined {
    return this.#entries.get(id);
  }

  /** Throws `not-found`. */
  need(id: string): Entry {
    const entry = this.#entries.get(id);
    if (entry === undefined) throw noSuchContainer(id);
    return entry;
  }

  holds(entry: Entry): boolean {
    return this.#entries.get(entry.config.id) === entry;
  }

  add(entry: Entry): void {
    this.#entries.set(entry.config.id, entry);
  }

  drop(entry: Entry): void {
    const { id } = entry.config;
    if (this.holds(entry)) this.#entries.delete(id);
    entry.gone(noSuchContainer(id));
  }

  /** Runs until `close`: subscribe, list, follow; again after each loss of the connection. */
  async #follow(onListed: () => void): Promise<void> {
    const { client, clock, log } = this.#options;
    const { signal } = this.#closing;
    let delayMs = RECONNECT_MIN_MS;
    while (!signal.aborted) {
      try {
        for await (const event of taskEvents(client, signal)) {
          if (event.kind !== 'subscribed') {
            this.#onEvent(event);
            continue;
          }
          await this.#resync();
          delayMs = RECONNECT_MIN_MS;
          onListed();
          this.#events.emit({ kind: 'resync' });
        }
      } catch (error) {
        if (signal.aborted) return;
        log.warn('containerd: connection lost, trying again', { error: messageOf(error) });
      }
      await sleep(clock, delayMs, signal).catch(() => undefined);
      delayMs = Math.min(delayMs * 2, RECONNECT_MAX_MS);
    }
  }

  #onEvent(event: Exclude<TaskEvent, { kind: 'subscribed' }>): void {
    const entry = this.#entries.get(event.containerId);
    if (entry === undefined) return;
    if (event.kind === 'oom') {
      entry.oomSeen = true;
      this.#events.emit({ kind: 'oom', id: event.containerId });
      return;
    }
    if (event.id !== event.containerId) return;
    const { pid, exitCode, atMs } = event;
    // In turn: the end of a short life is often told before its start has been answered.
    this.#inTurn(entry, async () => {
      if (!entry.alive) return;
      if (entry.state.pid === pid) await this.#finish(entry, exitCode, atMs);
      // Of a shim that died and could not be asked any more.
      else if (pid === 0)
        await this.#reconcile(entry, await this.#options.store.task(entry.config.id));
    });
  }

  async #resync(): Promise<void> {
    const first = this.#entries.size === 0;
    // One that is being made now need not be listed yet.
    const before = this.all().filter(({ serial }) => !serial.busy);
    const [configs, tasks] = await Promise.all([
      this.#options.store.configs(),
      this.#options.store.tasks(),
    ]);
    const listed = new Set(configs.map(({ id }) => id));
    for (const entry of before) {
      // Removed behind our back.
      if (!listed.has(entry.config.id) && !entry.serial.busy) this.drop(entry);
    }
    await this.#options.folders.removeOthers(new Set([...listed, ...this.#entries.keys()]));
    const turns: Promise<void>[] = [];
    for (const config of configs) {
      const known = this.#entries.get(config.id);
      // Removed while this was being listed, or left by a creation whose outcome was never known.
      if (known === undefined && !first && !(await this.#options.store.exists(config.id))) continue;
      const entry = known ?? new Entry(config, this.#options.folders.readLife(config.id));
      if (known === undefined) this.add(entry);
      const { busy } = entry.serial;
      const turn = this.#inTurn(entry, async () => {
        const listed = tasks.get(config.id);
        // What was listed before a start or an end that came meanwhile is old by now: asked again.
        const doubtful = known !== undefined && (busy || !agrees(entry, listed));
        await this.#reconcile(entry, doubtful ? await this.#options.store.task(config.id) : listed);
      });
      // Not waited for when something else is in progress: that may itself need what comes after us.
      if (!busy) turns.push(turn);
    }
    await Promise.all(turns);
    // Not waited for: nobody asks for them. Twice, since what was on its way when containerd died is only
    // there a moment later.
    for (const timer of this.#sweeps) timer.cancel();
    this.#sweeps = ORPHANS_AFTER_MS.map((delayMs) =>
      this.#options.clock.after(delayMs, () => {
        this.#endOrphans().catch((error) => {
          this.#options.log.warn('runtime: cannot end lost tasks', { error: messageOf(error) });
        });
      }),
    );
  }

  /** What was being created when containerd died, it neither lists nor ends nor lets be made again. */
  async #endOrphans(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    const bundles = this.#options.store.bundles();
    if (bundles.length > 0) {
      const tasks = await this.#options.store.tasks();
      const lost = bundles.filter(({ id }) => !tasks.has(id));
      const turns = lost.map(({ id }) => {
        const entry = this.#entries.get(id);
        return entry === undefined
          ? this.endOrphan(id)
          : this.#inTurn(entry, () => this.endOrphan(id));
      });
      await Promise.all(turns);
    }
    await this.#options.store.endIdleShims();
  }

  /** Ends what containerd lost of a task. Looks again: by now it may have been started, or its end been completed. */
  async endOrphan(id: string): Promise<void> {
    if ((await this.#options.store.task(id)) !== undefined) return;
    const bundle = this.#options.store.bundles().find((each) => each.id === id);
    if (bundle === undefined) return;
    this.#options.log.warn('container: containerd has lost its task, which is ended', { id });
    await this.#options.store.endLostTask(bundle);
    await this.#options.cgroups.remove(this.#options.cgroupOf(id));
  }

  async #reconcile(entry: Entry, task: TaskProcess | undefined): Promise<void> {
    if (!this.holds(entry)) return;
    const { clock } = this.#options;
    switch (task?.status) {
      case TaskStatus.RUNNING:
      case TaskStatus.PAUSED:
      case TaskStatus.PAUSING: {
        if (entry.alive && entry.state.pid === task.pid) return;
        const startedAtMs = entry.unresolved
          ? entry.life.startedAtMs
          : processStartMs(task.pid, clock.now());
        entry.began(task.pid, startedAtMs, task.status !== TaskStatus.RUNNING);
        this.#options.folders.noteLife(entry.config.id, entry.life);
        return;
      }
      case TaskStatus.STOPPED:
        entry.taskLeft = true;
        if (entry.life.finishedAtMs === 0) {
          await this.#finish(entry, task.exitStatus, toMs(task.exitedAt) || clock.now());
        } else await this.dropTask(entry);
        return;
      case undefined:
        // Its shim was killed, or the machine went down.
        entry.taskLeft = false;
        if (entry.unresolved) await this.#finish(entry, KILLED, clock.now());
        return;
      default:
        // Made but never started: of a start that was cut short.
        await this.#options.store.killAndDeleteTask(entry.config.id);
        entry.taskLeft = false;
    }
  }

  /** How it ended is on disk before containerd may forget it, and told before the cleaning up. */
  async #finish(entry: Entry, exitCode: number, atMs: number): Promise<void> {
    const { id } = entry.config;
    const oomKilled =
      entry.oomSeen || this.#options.cgroups.oomKills(this.#options.cgroupOf(id)) > 0;
    const startedAtMs = entry.life.startedAtMs || atMs;
    const life = { startedAtMs, finishedAtMs: atMs, exitCode, oomKilled, error: '' };
    this.#options.cgroups.forget(this.#options.cgroupOf(id));
    this.#options.log.debug('container: ended', { id, exitCode, oomKilled });
    let stored = true;
    if (!entry.removing) {
      try {
        await this.#options.folders.storeLife(id, life);
      } catch (error) {
        stored = false;
        this.#options.log.error('cannot store how a container ended; its task is kept instead', {
          id,
          error: messageOf(error),
        });
      }
    }
    entry.ended(life);
    this.#events.emit({ kind: 'exit', id, exitCode, oomKilled, atMs });
    if (stored) await this.dropTask(entry);
    else entry.logsDone = true;
  }

  /**
   * Gives the memory of its shim back, and waits for the log helper to have written all. `kill`: a start whose
   * outcome was never known may have left it running.
   */
  async dropTask(entry: Entry, how: 'ended' | 'kill' = 'ended'): Promise<void> {
    const { id } = entry.config;
    const drop = () =>
      how === 'kill'
        ? this.#options.store.killAndDeleteTask(id)
        : this.#options.store.deleteTask(id);
    try {
      if (entry.taskLeft) await this.#deletes.run(drop);
      entry.taskLeft = false;
    } finally {
      entry.logsDone = true;
    }
  }

  /** Work that nobody waits for: its failure is logged, and mended at the next listing. */
  #inTurn(entry: Entry, work: () => Promise<void>): Promise<void> {
    return entry.serial.run(work).catch((error) => {
      const { id } = entry.config;
      this.#options.log.warn('container: cannot follow its state', {
        id,
        error: messageOf(error),
      });
    });
  }
}

export function noSuchContainer(id: string): ShoalError {
  return new ShoalError('not-found', `No such container: ${id}`);
}

/** Whether a task's listing is what we know of its container. */
function agrees(entry: Entry, task: TaskProcess | undefined): boolean {
  return task?.status === TaskStatus.RUNNING || task?.status === TaskStatus.PAUSED
    ? entry.alive && entry.state.pid === task.pid
    : task === undefined && !entry.unresolved;
}
