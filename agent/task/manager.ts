import type { Clock, Timer } from '../../shared/clock.ts';
import { messageOf } from '../../shared/errors.ts';
import type { Assignments } from '../../shared/gen/shoal/v1/dispatcher.ts';
import { type Task, TaskState } from '../../shared/gen/shoal/v1/objects.ts';
import type { Log } from '../../shared/log.ts';
import { isTerminal } from '../../shared/model/task-state.ts';
import type { Container } from '../runtime/types.ts';
import type { MeasuredTask } from '../signals/types.ts';
import { AssignmentSet } from './assignment-set.ts';
import { localTask, TASK_ID_LABEL } from './container-config.ts';
import { removeWithVolumes } from './remove-container.ts';
import { type RunnerDeps, TaskRunner } from './runner.ts';

/** Keeps the last assignments over a restart; without secrets. */
export interface AssignmentFile {
  load(): Promise<Assignments | undefined>;
  save(assignments: Assignments): Promise<void>;
}

export type TaskManagerDeps = Readonly<
  Omit<RunnerDeps, 'secret' | 'config' | 'networkName'> & {
    file: AssignmentFile;
    clock: Clock;
    log: Log;
  }
>;

const SAVE_AFTER_MS = 500;

/**
 * All tasks of this host: one runner each. What the managers assign is the truth; what a former process of
 * this agent left running is adopted first, so that it is never started twice nor stopped for nothing.
 */
export class TaskManager {
  readonly #deps: TaskManagerDeps;
  readonly #set = new AssignmentSet();
  readonly #runners = new Map<string, TaskRunner>();
  /** Containers of tasks that no assignment has named yet. */
  #orphans = new Map<string, Container>();
  #dataPathPort = 4789;
  #save: Timer | undefined;
  #saving: Promise<void> = Promise.resolve();
  #synchronized = false;

  constructor(deps: TaskManagerDeps) {
    this.#deps = deps;
  }

  /**
   * Takes over what runs here. The saved assignments give each container its task; containers of tasks that
   * they do not name wait for the managers' word.
   */
  async adopt(): Promise<void> {
    const { runtime, dataPlane, file, host } = this.#deps;
    const saved = await file.load();
    this.#orphans = new Map(
      (await runtime.list()).flatMap((container) => {
        const taskId = container.config.labels[TASK_ID_LABEL];
        return taskId === undefined ? [] : [[taskId, container] as const];
      }),
    );
    if (saved !== undefined) this.#set.apply(saved);
    const kept = this.#set.tasks().filter((task) => this.#orphans.has(task.id));
    const wired = kept.filter((task) => isRunning(this.#orphans.get(task.id)));
    dataPlane.setView(this.#set.view(host.nodeId, this.#dataPathPort));
    await dataPlane.adopt(
      wired.map((task) => localTask(task, host, this.#orphans.get(task.id)?.config.id ?? '')),
    );
    for (const task of kept) this.#add(task);
  }

  assignments(message: Assignments): void {
    const diff = this.#set.apply(message);
    if (diff.networkChanged) {
      this.#deps.dataPlane.setView(this.#set.view(this.#deps.host.nodeId, this.#dataPathPort));
    }
    for (const task of diff.tasks) {
      const runner = this.#runners.get(task.id);
      if (runner === undefined) this.#add(task);
      else runner.update(task, { isDraining: this.#set.isDraining(task.id) });
    }
    for (const id of diff.removedTasks) this.#runners.get(id)?.remove();
    if (message.complete) {
      this.#synchronized = true;
      // Runners of saved tasks that the managers do not list any more, and containers nobody knows.
      const listed = new Set(diff.tasks.map(({ id }) => id));
      for (const [id, runner] of this.#runners) if (!listed.has(id)) runner.remove();
      void this.#dropOrphans();
    }
    this.#saveSoon();
  }

  setDataPathPort(port: number): void {
    if (port !== 0) this.#dataPathPort = port;
  }

  task(taskId: string): Task | undefined {
    return this.#runners.get(taskId)?.task;
  }

  containerOf(taskId: string): string | undefined {
    return this.#runners.get(taskId)?.containerId;
  }

  /** Tasks here whose service is to be measured, with their containers where these are made. */
  measured(): MeasuredTask[] {
    const samplings = this.#set.samplings();
    if (samplings.size === 0) return [];
    const measured: MeasuredTask[] = [];
    for (const [taskId, { task, containerId }] of this.#runners) {
      const sampling = samplings.get(task.serviceId);
      if (sampling === undefined) continue;
      const { serviceId, resources, requests } = sampling;
      measured.push({ taskId, serviceId, containerId, resources, requests });
    }
    return measured;
  }

  /** Stops and removes every task's container: on leaving the cluster. */
  async removeAll(): Promise<void> {
    const runners = [...this.#runners.values()];
    for (const runner of runners) runner.remove();
    // Also before the managers have said a word: none of them is anybody's any more.
    this.#synchronized = true;
    await Promise.allSettled([...runners.map(({ done }) => done), this.#dropOrphans()]);
    // Whoever leaves deletes the file next: written after that, it would be taken for the next cluster's.
    this.#save?.cancel();
    await this.#saving;
  }

  #add(task: Task): void {
    const existing = this.#orphans.get(task.id);
    this.#orphans.delete(task.id);
    const { log } = this.#deps;
    if (existing === undefined && isTerminal(task.status?.state ?? TaskState.NEW)) return;
    const runner = new TaskRunner(
      {
        ...this.#deps,
        secret: (id) => this.#set.secret(id),
        config: (id) => this.#set.config(id),
        networkName: (id) => this.#set.networkName(id),
        report: (id, status) => this.#deps.report(id, status),
      },
      task,
      existing,
      { isDraining: this.#set.isDraining(task.id) },
    );
    this.#runners.set(task.id, runner);
    runner.done
      .catch((error) =>
        log.error('a task runner broke', { task: task.id, error: messageOf(error) }),
      )
      .finally(() => {
        if (this.#runners.get(task.id) === runner) this.#runners.delete(task.id);
      });
  }

  async #dropOrphans(): Promise<void> {
    if (!this.#synchronized) return;
    const { dataPlane, log } = this.#deps;
    const orphans = [...this.#orphans];
    this.#orphans.clear();
    const removals = orphans.map(([taskId, container]) =>
      Promise.all([
        removeWithVolumes(this.#deps, container.config.id),
        dataPlane.detach(taskId),
      ]).catch((error) =>
        log.warn('cannot remove a left-over container', {
          container: container.config.id,
          error: messageOf(error),
        }),
      ),
    );
    await Promise.all(removals);
  }

  #saveSoon(): void {
    this.#save ??= this.#deps.clock.after(SAVE_AFTER_MS, () => {
      this.#save = undefined;
      this.#saving = this.#deps.file
        .save(this.#set.forDisk())
        .catch((error) =>
          this.#deps.log.error('cannot save the assignments', { error: messageOf(error) }),
        );
    });
  }
}

function isRunning(container: Container | undefined): boolean {
  return container?.state.status === 'running' || container?.state.status === 'created';
}
