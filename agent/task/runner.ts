import { aborted } from '../../shared/abort.ts';
import { type Clock, sleep } from '../../shared/clock.ts';
import { isShoalError, messageOf, ShoalError } from '../../shared/errors.ts';
import type { Config, Secret } from '../../shared/gen/shoal/v1/objects.ts';
import {
  type PortConfig,
  type Task,
  TaskState,
  type TaskStatus,
} from '../../shared/gen/shoal/v1/objects.ts';
import type { Log } from '../../shared/log.ts';
import { isTerminal, isWanted } from '../../shared/model/task-state.ts';
import type { Image, Images, RegistryAuth } from '../image/types.ts';
import type { DataPlane, Wiring } from '../network/types.ts';
import { withImageHealthcheck } from '../runtime/image-defaults.ts';
import type { Container, Runtime } from '../runtime/types.ts';
import {
  containerConfig,
  containerSpec,
  fileContents,
  type HostFacts,
  localTask,
  type VolumeMount,
  volumeRequests,
} from './container-config.ts';
import { Drain } from './drain.ts';
import { type Health, monitorHealth } from './health.ts';
import type { HealthBook } from './health-book.ts';
import { type Listens, tcpPortsOf, untilListening } from './listening.ts';
import { type AnonymousVolumes, removeWithVolumes } from './remove-container.ts';
import { type Outcome, stopContainer } from './stop-container.ts';
import { within } from './within.ts';

/** How the runner sees the rest of the agent. */
export type RunnerDeps = Readonly<{
  runtime: Runtime;
  images: Images;
  dataPlane: DataPlane;
  volumes: VolumeSource;
  health: HealthBook;
  listens: Listens;
  host: HostFacts;
  secret(id: string): Secret | undefined;
  config(id: string): Config | undefined;
  networkName(networkId: string): string;
  newContainerId(): string;
  registryAuth(encoded: string): RegistryAuth | undefined;
  report(taskId: string, status: TaskStatus): void;
  clock: Clock;
  log: Log;
}>;

export interface VolumeSource extends AnonymousVolumes {
  /** The named volume, made when it is missing; an empty name makes an anonymous one. */
  ensure(
    name: string,
    options: Readonly<{ driver: string; labels: Readonly<Record<string, string>> }>,
  ): Promise<VolumeMount>;
}

const RETRY_FIRST_MS = 200;
const RETRY_MOST_MS = 10_000;
/** An unhealthy task stops of itself, so nobody tells when the hosts know: several times what a view takes. */
const SICK_DRAIN_MS = 300;
/**
 * One task of this host, from its assignment to its removal. The states it goes through, and why it stops, are
 * reported; it never starts a second container for a task. Re-adoption: given the container that a former
 * process of this agent made, it goes on where that one was.
 */
export class TaskRunner {
  readonly #deps: RunnerDeps;
  readonly #stop = new AbortController();
  readonly #gone = new AbortController();
  readonly #drain: Drain;
  #task: Task;
  #containerId: string | undefined;
  #ports: readonly PortConfig[] = [];
  #attached = false;
  #last: TaskState = TaskState.ASSIGNED;
  #wake: () => void = () => undefined;
  readonly done: Promise<void>;

  constructor(
    deps: RunnerDeps,
    task: Task,
    existing: Container | undefined,
    options: { isDraining?: boolean } = {},
  ) {
    this.#deps = deps;
    this.#drain = new Drain(deps);
    this.#task = task;
    this.#containerId = existing?.config.id;
    this.update(task, options);
    this.done = this.#run(existing);
  }

  get task(): Task {
    return this.#task;
  }

  get containerId(): string | undefined {
    return this.#containerId;
  }

  /**
   * A newer version of the task: only its desired state matters here, and whether some host may still send it new
   * connections: then a stop waits for a version that says otherwise, for a bounded time.
   */
  update(task: Task, { isDraining = false }: { isDraining?: boolean } = {}): void {
    this.#task = task;
    this.#drain.set(isDraining);
    if (!isWanted(task.desiredState))
      this.#stop.abort(new ShoalError('cancelled', 'the task shall stop'));
    if (task.desiredState === TaskState.REMOVE) this.#gone.abort();
    this.#wake();
  }

  /** The managers no longer list the task: whatever is left of it goes. */
  remove(): void {
    this.#drain.giveUp();
    this.#stop.abort(new ShoalError('cancelled', 'the task was removed'));
    this.#gone.abort();
    this.#wake();
  }

  async #run(existing: Container | undefined): Promise<void> {
    // A task that the managers gave up (its node was away for long) may still run here: it is stopped first.
    const isOver = isTerminal(this.#task.status?.state ?? TaskState.NEW);
    if (!isOver || existing?.state.status === 'running') {
      try {
        await this.#live(existing);
      } catch (error) {
        // Before the start nothing ran: the task is refused. After it, it failed.
        if (this.#stop.signal.aborted) this.#report(TaskState.SHUTDOWN, 'shutdown');
        else if (this.#last < TaskState.STARTING)
          this.#report(TaskState.REJECTED, 'preparing', messageOf(error));
        else this.#report(TaskState.FAILED, 'started', messageOf(error));
      }
      await this.#detach();
    }
    await aborted(this.#gone.signal);
    await this.#removeContainer();
  }

  async #live(existing: Container | undefined): Promise<void> {
    if (existing === undefined) {
      this.#report(TaskState.ACCEPTED, 'accepted');
      this.#stop.signal.throwIfAborted();
      this.#report(TaskState.PREPARING, 'preparing');
      await this.#prepare();
    } else if (existing.state.status === 'created') {
      // The former process of this agent had not come to the start: its namespace may be half made.
      await this.#patiently(() => this.#attach(existing.config.id));
    } else {
      this.#attached = existing.config.network.mode === 'netns';
    }
    const id = this.#containerId;
    if (id === undefined) throw new ShoalError('internal', 'prepared without a container');
    if (existing === undefined || existing.state.status === 'created') {
      this.#report(TaskState.READY, 'ready');
      await this.#wantedRunning();
      this.#report(TaskState.STARTING, 'starting');
      const { pid } = await this.#deps.runtime.start(id, this.#stop.signal);
      await this.#monitor(id, pid, 'started');
    } else {
      this.#last = TaskState.STARTING;
      await this.#monitor(id, existing.state.pid, 'adopted');
    }
  }

  async #prepare(): Promise<void> {
    const { deps, signal } = { deps: this.#deps, signal: this.#stop.signal };
    const spec = containerSpec(this.#task);
    const id = deps.newContainerId();
    const [image, wiring, volumes] = await Promise.all([
      // Not patiently: a registry that does not answer is a reason the operator must see, and the task's
      // replacement, which the restart policy decides on, tries again.
      deps.images.ensure(spec.image, deps.registryAuth(spec.registryAuth), signal),
      this.#patiently(() => this.#attach(id)),
      Promise.all(
        volumeRequests(this.#task, deps.host).map(({ name, driver, labels }) =>
          deps.volumes.ensure(name, { driver, labels }),
        ),
      ),
    ]);
    const files = await this.#patiently(async () =>
      fileContents(this.#task, deps.secret, deps.config),
    );
    await this.#create(id, image, wiring, volumes, files);
  }

  async #create(
    id: string,
    image: Image,
    wiring: Wiring | undefined,
    volumes: readonly VolumeMount[],
    files: readonly Uint8Array[],
  ): Promise<void> {
    const deps = this.#deps;
    const config = containerConfig({
      task: this.#task,
      containerId: id,
      nowMs: deps.clock.now(),
      host: deps.host,
      image,
      wiring,
      volumes,
      networkName: deps.networkName,
    });
    this.#stop.signal.throwIfAborted();
    this.#containerId = id;
    await this.#patiently(() => deps.runtime.create(config, image, files, this.#stop.signal));
  }

  async #attach(containerId: string): Promise<Wiring | undefined> {
    const networks = this.#task.spec?.networks ?? [];
    if (networks.some(({ target }) => target === 'host' || target === 'none')) return undefined;
    this.#attached = true;
    const wiring = await this.#deps.dataPlane.attach(
      localTask(this.#task, this.#deps.host, containerId),
      this.#stop.signal,
    );
    this.#ports = wiring.hostPorts;
    return wiring;
  }

  /** Until the process ends by itself or is told to. Reports how it ended. */
  async #monitor(id: string, pid: number, how: 'started' | 'adopted'): Promise<void> {
    const { runtime, clock } = this.#deps;
    const ended = new AbortController();
    const exit = this.#exitOf(id, ended.signal).finally(() => ended.abort());
    // Answered below, or dropped when this function throws first.
    exit.catch(() => undefined);
    const signal = AbortSignal.any([ended.signal, this.#stop.signal]);
    const health = monitorHealth({
      runtime,
      clock,
      containerId: id,
      check: await this.#healthcheck(id),
      up: () => this.#listening(pid, how, signal),
      book: this.#deps.health,
      signal,
    });
    const running = (healthy: boolean) =>
      this.#report(
        TaskState.RUNNING,
        'started',
        '',
        { containerId: id, pid, exitCode: 0 },
        healthy,
      );
    const watching = (async (): Promise<Health | undefined> => {
      for await (const verdict of health) {
        if (verdict.healthy) running(true);
        else return verdict;
      }
      return undefined;
    })();
    const end = await Promise.race([
      exit.then((outcome) => ({ kind: 'exit' as const, outcome })),
      aborted(this.#stop.signal).then(() => ({ kind: 'stop' as const })),
      watching.then((verdict) =>
        // No verdict: the monitor ended because the process did, or shall; the other two tell.
        verdict === undefined
          ? new Promise<never>(() => undefined)
          : { kind: 'sick' as const, verdict },
      ),
    ]);
    if (end.kind === 'exit' && !this.#stop.signal.aborted) {
      this.#reportExit(id, end.outcome);
      return;
    }
    if (end.kind === 'sick' && this.#last === TaskState.RUNNING) {
      // Out of the back-ends first, also when the stop is nobody's order.
      running(false);
      if (this.#task.networks.length > 0) await within(clock, SICK_DRAIN_MS, exit);
    }
    const isOver = end.kind === 'exit' || (await this.#drain.endsBy(exit, this.#task));
    const spec = containerSpec(this.#task);
    const stop = { containerId: id, stopSignal: spec.stopSignal, exit };
    const outcome = isOver ? await exit : await stopContainer(this.#deps, stop);
    const container = { containerId: id, pid: 0, exitCode: outcome.exitCode };
    if (end.kind !== 'sick') this.#report(TaskState.SHUTDOWN, 'shutdown', '', container);
    else
      this.#report(
        TaskState.FAILED,
        'unhealthy',
        `task: unhealthy container: ${end.verdict.output}`,
        container,
      );
  }

  /** Where the service has TCP ports: until the task listens on one of them. Of an adopted one more is known already. */
  async #listening(pid: number, how: 'started' | 'adopted', signal: AbortSignal): Promise<void> {
    const { clock, listens } = this.#deps;
    const ports = tcpPortsOf(this.#task);
    if (ports.size === 0) return;
    const slow = () => {
      if (how === 'adopted') return;
      const names = [...ports].join(', ');
      this.#report(TaskState.STARTING, `starting: nothing listens on port ${names} yet`);
    };
    await untilListening(() => listens(pid, ports), { clock, signal, slow });
  }

  /** Its end, whatever containerd goes through meanwhile. */
  async #exitOf(id: string, signal: AbortSignal): Promise<Outcome> {
    for (;;) {
      try {
        return await this.#deps.runtime.wait(id, signal);
      } catch (error) {
        if (!isShoalError(error, 'unavailable')) throw error;
        await sleep(this.#deps.clock, RETRY_FIRST_MS, signal);
      }
    }
  }

  async #healthcheck(id: string) {
    const own = containerSpec(this.#task).healthcheck;
    const imageId = (await this.#deps.runtime.get(id))?.config.imageId;
    const image = imageId === undefined ? undefined : await this.#deps.images.get(imageId);
    return withImageHealthcheck(own, image?.config.healthcheck);
  }

  #reportExit(id: string, { exitCode, oomKilled }: Outcome): void {
    const container = { containerId: id, pid: 0, exitCode };
    if (exitCode === 0 && !oomKilled) {
      this.#report(TaskState.COMPLETE, 'finished', '', container);
    } else {
      const reason = oomKilled
        ? `task: non-zero exit (${exitCode}): out of memory`
        : `task: non-zero exit (${exitCode})`;
      this.#report(TaskState.FAILED, 'started', reason, container);
    }
  }

  #report(
    state: TaskState,
    message: string,
    err = '',
    container?: { containerId: string; pid: number; exitCode: number },
    healthy = false,
  ): void {
    this.#last = state;
    const known =
      this.#containerId === undefined
        ? undefined
        : { containerId: this.#containerId, pid: 0, exitCode: 0 };
    this.#deps.report(this.#task.id, {
      atMs: this.#deps.clock.now(),
      state,
      message,
      err,
      container: container ?? known,
      ports: [...this.#ports],
      healthy,
    });
  }

  /** READY holds a task until the managers want it running. */
  async #wantedRunning(): Promise<void> {
    while (this.#task.desiredState < TaskState.RUNNING) {
      this.#stop.signal.throwIfAborted();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    this.#stop.signal.throwIfAborted();
  }

  /** Repeats what is only not possible now (no network yet, containerd away), until it works or the task shall stop. */
  async #patiently<T>(attempt: () => Promise<T>): Promise<T> {
    for (let delayMs = RETRY_FIRST_MS; ; delayMs = Math.min(delayMs * 2, RETRY_MOST_MS)) {
      this.#stop.signal.throwIfAborted();
      try {
        return await attempt();
      } catch (error) {
        if (!isShoalError(error, 'unavailable')) throw error;
        if (this.#last === TaskState.PREPARING)
          this.#report(TaskState.PREPARING, `preparing: ${error.message}`);
        await sleep(this.#deps.clock, delayMs, this.#stop.signal);
      }
    }
  }

  async #detach(): Promise<void> {
    if (!this.#attached) return;
    this.#attached = false;
    try {
      await this.#deps.dataPlane.detach(this.#task.id);
    } catch (error) {
      // Not the task's matter any more: reconciliation takes what is left.
      this.#deps.log.warn('cannot unwire a task', { task: this.#task.id, error: messageOf(error) });
    }
  }

  async #removeContainer(): Promise<void> {
    const id = this.#containerId;
    if (id === undefined) return;
    for (let delayMs = RETRY_FIRST_MS; ; delayMs = Math.min(delayMs * 2, RETRY_MOST_MS)) {
      try {
        await removeWithVolumes(this.#deps, id);
        this.#deps.health.forget(id);
        return;
      } catch (error) {
        this.#deps.log.warn('cannot remove a container', {
          container: id,
          error: messageOf(error),
        });
        await sleep(this.#deps.clock, delayMs);
      }
    }
  }
}
