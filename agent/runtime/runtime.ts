import type { Clock } from '../../shared/clock.ts';
import { isShoalError, messageOf, ShoalError } from '../../shared/errors.ts';
import type { Mount } from '../../shared/gen/containerd/types.ts';
import type { Log } from '../../shared/log.ts';
import { SIGKILL } from '../../shared/model/signal.ts';
import type { Image } from '../image/types.ts';
import { allCapabilities } from './capabilities.ts';
import { Entry } from './entry.ts';
import { CgroupFiles, cgroupMounts } from './io/cgroup-files.ts';
import { ContainerFolders } from './io/container-folder.ts';
import { ContainerStore, type TaskStreams } from './io/container-store.ts';
import type { ContainerdClient } from './io/containerd.ts';
import { startExec } from './io/exec.ts';
import { Fifos } from './io/fifos.ts';
import { coreCount, hostFacts, lastCapability, makeFolder, missingPath } from './io/host.ts';
import { readLogFiles } from './io/log-files.ts';
import { ImageUserFiles, readUserFiles } from './io/user-files.ts';
import { Limiter } from './limiter.ts';
import { NEW_LIFE, startFailureCode } from './record.ts';
import { buildSpec, execProcess, type HostFacts } from './spec.ts';
import { ContainerTable, noSuchContainer } from './table.ts';
import type {
  Container,
  ContainerConfig,
  ContainerStats,
  ExecConfig,
  ExecProcess,
  LogLine,
  LogQuery,
  Runtime,
  RuntimeEvent,
} from './types.ts';

export type RuntimeOptions = Readonly<{
  client: ContainerdClient;
  /** On disk: what lies beside containers, their logs among it. */
  stateDir: string;
  /** On a tmpfs: secrets and pipes. */
  runDir: string;
  /** `/shoal`: relative to each cgroup hierarchy. Created on demand, never removed. */
  cgroupParent: string;
  /** State folder of the OCI runtime, on a tmpfs; shared with no other containerd. */
  runcRoot: string;
  /**
   * The state folder of a containerd of our own: what it leaves there when it dies in the middle of a start
   * is then cleaned up. Undefined for one that belongs to others.
   */
  containerdState?: string;
  /** The log helper that `logger/build.sh` makes; absolute. */
  loggerPath: string;
  /** Any runtime with runc's command line; default `runc`. */
  ociRuntime?: string;
  /** tini for `init`; default the first that is installed. */
  initPath?: string;
  /**
   * Refuses 32-bit programs, which Docker's profile allows, for 12 ms of CPU less at each start. Default false.
   */
  nativeSystemCallsOnly?: boolean;
  snapshotter?: string;
  /** Default two per core: measured, more only makes each start take longer. */
  startConcurrency?: number;
  /**
   * Containers of one value share one shim process: saves 2 MB and 8 ms of CPU for each, but killing the shim
   * kills them all. Undefined: a shim of its own.
   */
  shimGroup?: (config: ContainerConfig) => string | undefined;
  clock: Clock;
  log: Log;
}>;

const SHIM_GROUP = 'io.containerd.runc.v2.group';
const STARTS_PER_CORE = 2;
/** A shared shim may be on its way out when a start is sent to it. */
const SHIM_GONE = /ttrpc: closed|failed to start shim/;
const START_TRIES = 3;
const FORCE_KILL_MS = 10_000;

/** Containers by containerd: what can be asked of them. `table.ts` knows how they fare. */
export class ContainerdRuntime implements Runtime {
  readonly #options: RuntimeOptions;
  readonly #host: HostFacts;
  readonly #store: ContainerStore;
  readonly #folders: ContainerFolders;
  readonly #cgroups: CgroupFiles;
  readonly #fifos: Fifos;
  readonly #users: ImageUserFiles;
  readonly #starts: Limiter;
  readonly #table: ContainerTable;

  constructor(options: RuntimeOptions) {
    const { client, stateDir, runDir, snapshotter = 'overlayfs' } = options;
    const mounts = cgroupMounts();
    this.#options = options;
    this.#host = hostFacts(mounts, options);
    this.#cgroups = new CgroupFiles(mounts);
    this.#folders = new ContainerFolders(stateDir, runDir);
    this.#fifos = new Fifos(`${runDir}/fifos`);
    this.#store = new ContainerStore(client, {
      snapshotter,
      runcRoot: options.runcRoot,
      ociRuntime: options.ociRuntime ?? 'runc',
      containerdState: options.containerdState,
    });
    this.#users = new ImageUserFiles(client, snapshotter);
    const width = options.startConcurrency ?? STARTS_PER_CORE * coreCount();
    this.#starts = new Limiter(width);
    this.#table = new ContainerTable({
      client,
      store: this.#store,
      folders: this.#folders,
      cgroups: this.#cgroups,
      cgroupOf: (id) => this.#cgroup(id),
      width,
      clock: options.clock,
      log: options.log,
    });
  }

  /** Resolves once all containers are known. To be called once, before anything else. */
  open(signal: AbortSignal): Promise<void> {
    return this.#table.open(signal);
  }

  /** Containers run on. */
  async close(): Promise<void> {
    await this.#table.close();
    this.#cgroups.close();
  }

  async create(
    config: ContainerConfig,
    _image: Image,
    files: readonly Uint8Array[],
    signal: AbortSignal,
  ): Promise<void> {
    signal.throwIfAborted();
    const { id } = config;
    if (this.#table.get(id) !== undefined) {
      throw new ShoalError('already-exists', `container ${id} exists already`);
    }
    prepareBinds(config);
    const entry = new Entry(config, NEW_LIFE);
    this.#table.add(entry);
    await entry.serial.run(async () => {
      try {
        const users = await this.#users.get(config.chainId);
        const group = this.#options.shimGroup?.(config);
        const annotations = group === undefined ? {} : { [SHIM_GROUP]: group };
        const paths = this.#folders.paths(config);
        const spec = buildSpec(config, this.#host, paths, users, annotations);
        this.#folders.make(config, files);
        entry.mounts = await this.#store.create(config, spec);
        signal.throwIfAborted();
      } catch (error) {
        // What cannot be taken back now (containerd is away) is found when its records are listed again.
        await this.#discard(id).catch(() => undefined);
        this.#table.drop(entry);
        throw error;
      }
    });
  }

  async start(id: string, signal: AbortSignal): Promise<{ pid: number; startedAtMs: number }> {
    const entry = this.#table.need(id);
    return entry.serial.run(() => this.#starts.run(() => this.#start(entry, signal), signal));
  }

  async kill(id: string, signal: number): Promise<void> {
    const entry = this.#table.need(id);
    if (entry.state.status === 'created') {
      throw new ShoalError('failed-precondition', `container ${id} is not running`);
    }
    if (entry.alive) await this.#store.kill(id, signal);
  }

  async remove(id: string, { force }: { force: boolean }): Promise<void> {
    for (;;) {
      const entry = this.#table.get(id);
      if (entry === undefined) return;
      if (entry.alive) {
        if (!force) {
          throw new ShoalError(
            'failed-precondition',
            `cannot remove container "/${entry.config.name}": container is running: stop the container before removing or force remove`,
          );
        }
        await this.#killForGood(entry);
      }
      // It may have been started while this waited for its turn: then from the top.
      if (await entry.serial.run(() => this.#removeResting(entry))) return;
    }
  }

  async list(): Promise<readonly Container[]> {
    return this.#table.all().map(({ config, state }) => ({ config, state }));
  }

  async get(id: string): Promise<Container | undefined> {
    const entry = this.#table.get(id);
    return entry && { config: entry.config, state: entry.state };
  }

  async wait(
    id: string,
    signal: AbortSignal,
  ): Promise<{ exitCode: number; oomKilled: boolean; atMs: number }> {
    const entry = this.#table.need(id);
    return entry.state.status === 'exited' ? entry.end() : entry.nextEnd(signal);
  }

  events(signal: AbortSignal): AsyncIterable<RuntimeEvent> {
    return this.#table.listen(signal);
  }

  async exec(id: string, exec: ExecConfig, signal: AbortSignal): Promise<ExecProcess> {
    const { pid } = this.#running(id).state;
    const first = await this.#store.firstProcess(id);
    const users =
      exec.user === ''
        ? { passwd: '', group: '' }
        : // As the container sees them now: users may have been added since it was made.
          readUserFiles([`/proc/${pid}/root`]);
    const process = execProcess(first, exec, users, allCapabilities(lastCapability()));
    const streams = {
      stdin: exec.attachStdin,
      stdout: exec.attachStdout,
      stderr: exec.attachStderr,
    };
    try {
      const { client } = this.#options;
      return await startExec(client, this.#fifos, id, process, streams, signal);
    } catch (error) {
      if (!isShoalError(error, 'internal') || !/OCI runtime exec failed/.test(error.message)) {
        throw error;
      }
      throw new ShoalError('invalid-argument', ociText(error.message), { cause: error });
    }
  }

  logs(id: string, query: LogQuery, signal: AbortSignal): AsyncIterable<LogLine> {
    const entry = this.#table.need(id);
    const isOver = () => this.#logsOver(entry);
    return readLogFiles(this.#folders.logs(id), query, isOver, signal);
  }

  async stats(id: string): Promise<ContainerStats | undefined> {
    const entry = this.#table.need(id);
    if (!entry.alive) return undefined;
    return this.#cgroups.stats(this.#cgroup(id), entry.state.pid, this.#options.clock.now());
  }

  async writtenBytes(id: string): Promise<number> {
    this.#table.need(id);
    return this.#store.writtenBytes(id);
  }

  async processes(id: string): Promise<readonly number[]> {
    this.#running(id);
    return this.#store.pids(id);
  }

  async #start(entry: Entry, signal: AbortSignal): Promise<{ pid: number; startedAtMs: number }> {
    const { config } = entry;
    const { id } = config;
    if (!this.#table.holds(entry)) throw noSuchContainer(id);
    if (entry.alive) return { pid: entry.state.pid, startedAtMs: entry.state.startedAtMs };
    if (entry.taskLeft) await this.#table.dropTask(entry, 'kill');
    entry.mounts ??= await this.#store.mounts(config);
    entry.oomSeen = false;
    // containerd connects no stdin beside a log helper. A terminal is open all the same.
    const streams = { output: this.#loggerUri(config), tty: config.tty };
    try {
      entry.taskLeft = true;
      const pid = await this.#createTask(id, entry.mounts, streams);
      // A call to containerd cannot be taken back, so it is waited for and undone.
      signal.throwIfAborted();
      const startedAtMs = this.#options.clock.now();
      await this.#store.startTask(id);
      entry.began(pid, startedAtMs);
      this.#folders.noteLife(id, entry.life);
      return { pid, startedAtMs };
    } catch (error) {
      throw await this.#startFailed(entry, error, signal);
    }
  }

  async #createTask(id: string, mounts: readonly Mount[], streams: TaskStreams): Promise<number> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.#store.createTask(id, mounts, streams);
      } catch (error) {
        const leftover = isShoalError(error, 'already-exists');
        const shimGone = isShoalError(error, 'internal') && SHIM_GONE.test(error.message);
        if (tries === START_TRIES || !(leftover || shimGone)) throw error;
        this.#options.log.debug('container: tried again', { id, error: error.message });
        // Of a start that was cut short, by a crash of ours or of containerd's.
        await this.#store.killAndDeleteTask(id);
        await this.#table.endOrphan(id);
      }
    }
  }

  async #startFailed(entry: Entry, error: unknown, signal: AbortSignal): Promise<unknown> {
    // containerd went away: whether the container runs is seen when it is back.
    if (isShoalError(error, 'unavailable')) return error;
    await this.#store.killAndDeleteTask(entry.config.id).catch(() => undefined);
    entry.taskLeft = false;
    if (signal.aborted) return error;
    const refused = isShoalError(error) && /OCI runtime (create|start) failed/.test(error.message);
    const failure = refused
      ? new ShoalError(
          'invalid-argument',
          `failed to create task for container: ${ociText(error.message)}`,
          { cause: error },
        )
      : error;
    entry.failedToStart(messageOf(failure), startFailureCode(messageOf(error)));
    this.#folders.noteLife(entry.config.id, entry.life);
    return failure;
  }

  async #killForGood(entry: Entry): Promise<void> {
    entry.removing = true;
    const { id } = entry.config;
    const timeout = new AbortController();
    const timer = this.#options.clock.after(FORCE_KILL_MS, () =>
      timeout.abort(
        new ShoalError('deadline-exceeded', `container ${id} did not end after being killed`),
      ),
    );
    const end = entry.nextEnd(timeout.signal);
    end.catch(() => undefined);
    try {
      await this.#store.kill(id, SIGKILL);
      if (entry.alive) await end;
    } finally {
      timer.cancel();
      timeout.abort();
    }
  }

  async #removeResting(entry: Entry): Promise<boolean> {
    const { id } = entry.config;
    if (entry.alive) return false;
    if (!this.#table.holds(entry)) return true;
    entry.removing = true;
    if (entry.taskLeft) await this.#table.dropTask(entry, 'kill');
    await this.#discard(id);
    this.#table.drop(entry);
    return true;
  }

  /** The record last: as long as it is there, what an earlier step left is found again. */
  async #discard(id: string): Promise<void> {
    await this.#folders.remove(id);
    await this.#cgroups.remove(this.#cgroup(id));
    await this.#store.removeRuntimeState(id);
    await this.#store.remove(id);
  }

  #logsOver(entry: Entry): boolean {
    if (!this.#table.holds(entry)) return true;
    // One that is not started yet may still be: only a failed start will not write.
    const waiting = entry.state.status === 'created' && entry.state.error === '';
    return !waiting && !entry.alive && entry.logsDone;
  }

  #loggerUri({ id, logMaxBytes, logMaxFiles }: ContainerConfig): string {
    // One key only: their order is random on the helper's command line.
    const value = `${logMaxBytes},${Math.max(1, logMaxFiles)},${this.#folders.logs(id)}`;
    return `binary://${this.#options.loggerPath}?to=${encodeURIComponent(value)}`;
  }

  #cgroup(id: string): string {
    return `${this.#host.cgroupParent}/${id}`;
  }

  #running(id: string): Entry {
    const entry = this.#table.need(id);
    if (entry.state.status === 'running') return entry;
    const why =
      entry.state.status === 'paused' ? 'is paused, unpause the container first' : 'is not running';
    throw new ShoalError('failed-precondition', `container ${id} ${why}`);
  }
}

/** Throws `invalid-argument` for a source that is missing and shall not be made. */
function prepareBinds(config: ContainerConfig): void {
  for (const mount of config.mounts) {
    if (mount.type !== 'bind' || !missingPath(mount.source)) continue;
    if (mount.createSource) {
      makeFolder(mount.source);
      continue;
    }
    throw new ShoalError(
      'invalid-argument',
      `invalid mount config for type "bind": bind source path does not exist: ${mount.source}`,
    );
  }
}

/** The OCI runtime's own text, without a bell of words before it; ends in ": unknown" as in Docker. */
function ociText(message: string): string {
  const text = message.trim();
  return text.endsWith(': unknown') ? text : `${text}: unknown`;
}
