import { messageOf, ShoalError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { Kernel } from './kernel.ts';
import { type ContainerPlan, containerCommands } from './local.ts';
import type { Namespaces } from './namespaces.ts';
import type { HostSettings } from './plan.ts';
import { type Entry, rejectAll, type TaskTable } from './task-table.ts';

/** Rounds a task may fail in before its `attach` says so. */
const ATTACH_ROUNDS = 3;

export type TaskWirerDeps = Readonly<{ kernel: Kernel; log: Log; hostNamespace: string }>;

/** What becomes of tasks that could not be wired. */
export type WirerEnds = Readonly<{
  /** One failed and may be tried again. */
  again(): void;
  /** One is not tried again: nothing of it stays. */
  giveUp(entry: Entry): void;
}>;

/** The containers' ends of the links, and who waits for them. For one round at a time. */
export class TaskWirer {
  readonly #deps: TaskWirerDeps;
  readonly #tasks: TaskTable;
  readonly #namespaces: Namespaces;
  readonly #ends: WirerEnds;

  constructor(deps: TaskWirerDeps, tasks: TaskTable, namespaces: Namespaces, ends: WirerEnds) {
    this.#deps = deps;
    this.#tasks = tasks;
    this.#namespaces = namespaces;
    this.#ends = ends;
  }

  /** Makes the containers' ends of tasks that came, and mends those whose links have gone. */
  async wire(settings: HostSettings, verifying: boolean): Promise<void> {
    const { kernel, hostNamespace } = this.#deps;
    const todo: { entry: Entry; plan: ContainerPlan }[] = [];
    for (const entry of this.#tasks.all()) {
      const plan = await this.#planOf(entry, settings, verifying);
      if (plan === undefined) continue;
      const whole = plan.interfaces.every((link) => this.#namespaces.peerLink(link) !== undefined);
      if (entry.state === 'making' || !whole) todo.push({ entry, plan });
    }
    if (todo.length === 0) return;
    // Also for those to be mended: a new namespace is of no use to a running container, but harms nobody.
    await kernel.makeNamespaces(todo.map(({ plan }) => plan.namespace));
    const problems = await kernel.wire(
      todo.map(({ plan }) => ({
        namespace: plan.namespace,
        lines: containerCommands(plan, hostNamespace),
      })),
    );
    const direct: string[] = [];
    for (const [index, { entry, plan }] of todo.entries()) {
      const problem = problems[index];
      if (problem !== undefined) {
        await this.#notWired(entry, plan, problem);
        continue;
      }
      if (entry.state === 'broken') entry.state = 'wired';
      this.#namespaces.noteLinks(plan);
      for (const { peer, peerNamespace } of plan.interfaces) {
        if (peerNamespace === undefined) direct.push(peer);
      }
    }
    if (direct.length > 0) await kernel.tune(undefined, direct);
  }

  /** Tells those who wait for tasks that are wired now, or that fail again and again. */
  answer(good: boolean): void {
    for (const entry of this.#tasks.all()) {
      const { plan } = entry;
      if (plan === undefined || entry.waiters.size === 0) continue;
      const up = plan.interfaces.every((link) => this.#namespaces.peerLink(link)?.up === true);
      // Without the host's rules there are no names, egress or published ports.
      if (entry.state === 'making' && up && this.#namespaces.hostState !== undefined) {
        entry.state = 'wired';
      }
      if (entry.state === 'wired' && entry.wiring !== undefined) {
        for (const waiter of entry.waiters) waiter.resolve(entry.wiring);
        entry.waiters.clear();
      } else if (!good) {
        this.#failOnce(entry, 'its networks could not be brought up to date');
      }
    }
  }

  /** The task's plan, when its networks are here and it is worth a try in this round. */
  async #planOf(
    entry: Entry,
    settings: HostSettings,
    verifying: boolean,
  ): Promise<ContainerPlan | undefined> {
    const known = entry.task.attachments.every(({ networkId }) => this.#namespaces.has(networkId));
    if (!known || (entry.state === 'broken' && !verifying)) return undefined;
    if (entry.plan !== undefined && entry.state !== 'making') return entry.plan;
    try {
      await this.#tasks.plan(entry, {
        slices: this.#namespaces.slices(),
        mtu: settings.mtu,
        host: this.#namespaces.hostState,
      });
      return entry.plan;
    } catch (error) {
      this.#refuse(entry, error);
      return undefined;
    }
  }

  async #notWired(entry: Entry, plan: ContainerPlan, problem: string): Promise<void> {
    const { kernel, log } = this.#deps;
    log.warn('cannot wire a container', { task: entry.task.taskId, problem });
    if (entry.state !== 'making') {
      entry.state = 'broken';
      return;
    }
    // Half of a former try may be in the way, or the name may have nothing behind it.
    await kernel.removeNamespaces([plan.namespace]);
    this.#failOnce(entry, problem);
  }

  #failOnce(entry: Entry, problem: string): void {
    entry.failures += 1;
    this.#ends.again();
    if (entry.failures < ATTACH_ROUNDS) return;
    const { taskId } = entry.task;
    this.#refuse(entry, new ShoalError('unavailable', `cannot wire task ${taskId}: ${problem}`));
  }

  /** A task that cannot be wired: nothing of it stays. One that runs already is kept as it is. */
  #refuse(entry: Entry, error: unknown): void {
    const { taskId } = entry.task;
    if (entry.state === 'making') {
      this.#tasks.delete(taskId);
      this.#ends.giveUp(entry);
    } else {
      entry.state = 'broken';
      this.#deps.log.warn('cannot keep the wiring of a task', {
        task: taskId,
        error: messageOf(error),
      });
    }
    rejectAll(entry, error);
  }
}
