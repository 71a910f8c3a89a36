import { messageOf } from '../../shared/errors.ts';
import {
  type Node,
  type Service,
  type Task,
  TaskState,
} from '../../shared/gen/shoal/v1/objects.ts';
import { newId } from '../../shared/ids.ts';
import { sameValue } from '../../shared/model/equal.ts';
import { isTerminal } from '../../shared/model/task-state.ts';
import { type LeaderDeps, type LoopBody, type Round, runLeaderLoop, type Unit } from '../loop.ts';
import type { Change, ChangeBatch } from '../store/types.ts';
import type { ClusterContext, Life } from './context.ts';
import { stateOf } from './draft.ts';
import { EvictionLimiter } from './eviction.ts';
import { isDown } from './nodes.ts';
import { reconcileService } from './reconcile.ts';
import { isUpdating } from './update.ts';

/** Units written in one round: what is left comes in the next one, so that others get the thread. */
const SLICE = 5000;
/** A service whose reconciliation throws is tried again after this time; the others go on. */
const BROKEN_RETRY_MS = 5000;
const DEFAULT_HISTORY_LIMIT = 5; // Swarm's

/** The leader's orchestrator of replicated and global services; resolves when `signal` aborts. */
export function runOrchestrator(deps: LeaderDeps, signal: AbortSignal): Promise<void> {
  return runLeaderLoop(deps, new Orchestrator(deps), signal);
}

/** Knows which services to look at, and when; what to do about them is `reconcileService`'s. */
class Orchestrator implements LoopBody {
  readonly name = 'orchestrator';
  readonly #deps: LeaderDeps;
  readonly #dirty = new Set<string>();
  readonly #globals = new Set<string>();
  readonly #wakeAtMs = new Map<string, number>();
  readonly #eviction = new EvictionLimiter();
  /** Of tasks of services that are being updated, by service. */
  readonly #lives = new Map<string, Map<string, Life>>();
  #taken: string[] = [];

  constructor(deps: LeaderDeps) {
    this.#deps = deps;
  }

  start(): void {
    const { store, clock } = this.#deps;
    const nowMs = clock.now();
    for (const service of store.all('service')) {
      this.#dirty.add(service.id);
      this.#follow(service, nowMs);
    }
    // Tasks whose service went while nobody led.
    for (const task of store.all('task')) {
      if (store.get('service', task.serviceId) === undefined) this.#dirty.add(task.serviceId);
    }
    const down = [...store.all('node')].filter(isDown);
    for (const node of down.sort((a, b) => changedAtMs(a) - changedAtMs(b))) {
      this.#eviction.wentDown([node.id], Math.min(nowMs, changedAtMs(node)), store.count('node'));
    }
  }

  onCommit(batch: ChangeBatch): boolean {
    const nowMs = this.#deps.clock.now();
    const before = this.#dirty.size;
    const wentDown: string[] = [];
    for (const change of batch.changes) {
      if (change.table === 'task') this.#onTask(change, nowMs);
      else if (change.table === 'service') this.#onService(change, nowMs);
      else if (change.table === 'node') this.#onNode(change, nowMs, wentDown);
      else if (change.table === 'cluster') this.#onCluster(change);
    }
    if (wentDown.length > 0) {
      this.#eviction.wentDown(wentDown, nowMs, this.#deps.store.count('node'));
    }
    return this.#dirty.size > before;
  }

  decide(): Round {
    const { store, clock } = this.#deps;
    const nowMs = clock.now();
    for (const [id, atMs] of this.#wakeAtMs) if (atMs <= nowMs) this.#dirty.add(id);
    const context = this.#context(nowMs);
    const units: Unit[] = [];
    this.#taken = [];
    for (const id of this.#dirty) {
      if (units.length >= SLICE) break;
      this.#dirty.delete(id);
      this.#wakeAtMs.delete(id);
      this.#taken.push(id);
      try {
        const tasks = store.tasksOfService(id);
        const outcome = reconcileService(id, store.get('service', id), tasks, context);
        for (const unit of outcome.units) units.push(unit);
        if (outcome.wakeAtMs !== undefined) this.#wakeAtMs.set(id, outcome.wakeAtMs);
      } catch (error) {
        this.#deps.log.error('could not reconcile a service', { id, error: messageOf(error) });
        this.#wakeAtMs.set(id, nowMs + BROKEN_RETRY_MS);
      }
    }
    return { units, wakeInMs: this.#dirty.size > 0 ? 0 : this.#wakeInMs(nowMs) };
  }

  failed(): void {
    for (const id of this.#taken) this.#dirty.add(id);
    this.#taken = [];
  }

  #context(nowMs: number): ClusterContext {
    const { store, random } = this.#deps;
    const spec = store.cluster()?.spec;
    return {
      nowMs,
      historyLimit: spec?.taskHistoryLimit ?? DEFAULT_HISTORY_LIMIT,
      defaultLogDriver: spec?.defaultLogDriver,
      node: (id) => store.get('node', id),
      nodes: () => store.all('node'),
      mayReplaceAtMs: (nodeId) => this.#eviction.mayReplaceAtMs(nodeId),
      downSinceMs: (nodeId) => this.#eviction.downSinceMs(nodeId),
      life: (taskId) => this.#lifeOf(taskId),
      newId: () => newId(random),
    };
  }

  #wakeInMs(nowMs: number): number | undefined {
    let earliestMs = Number.POSITIVE_INFINITY;
    for (const atMs of this.#wakeAtMs.values()) earliestMs = Math.min(earliestMs, atMs);
    // Timers count in 32 bits of milliseconds: what is further away is looked at once a day.
    return earliestMs === Number.POSITIVE_INFINITY
      ? undefined
      : Math.min(Math.max(1, earliestMs - nowMs), 86_400_000);
  }

  // ---- changes -------------------------------------------------------------------------------

  #onTask(change: Extract<Change, { table: 'task' }>, nowMs: number): void {
    const { object, previous, action } = change;
    if (action === 'create') {
      // Made by this loop; it looks again because a write whose outcome was not known may have made
      // a second one of the same.
      this.#dirty.add(object.serviceId);
      return;
    }
    if (action === 'remove') {
      this.#lives.get(object.serviceId)?.delete(object.id);
      this.#dirty.add(object.serviceId);
      return;
    }
    if (previous === undefined) return;
    const [was, is] = [stateOf(previous), stateOf(object)];
    // On its way up a task needs nothing from here, except that an update tells what it waits for.
    if (is !== was && is >= TaskState.RUNNING) {
      this.#noteLife(object, nowMs);
      this.#dirty.add(object.serviceId);
    } else if (object.desiredState !== previous.desiredState) {
      this.#dirty.add(object.serviceId);
    } else if (object.status?.err !== previous.status?.err && this.#lives.has(object.serviceId)) {
      this.#dirty.add(object.serviceId);
    }
  }

  #onService(change: Extract<Change, { table: 'service' }>, nowMs: number): void {
    const { object } = change;
    this.#dirty.add(object.id);
    if (change.action === 'remove') {
      this.#globals.delete(object.id);
      this.#lives.delete(object.id);
    } else {
      this.#follow(object, nowMs);
    }
  }

  #onNode(change: Extract<Change, { table: 'node' }>, nowMs: number, wentDown: string[]): void {
    const { object, previous } = change;
    const total = this.#deps.store.count('node');
    if (change.action !== 'remove' && previous !== undefined && !mattersToTasks(previous, object)) {
      return;
    }
    if (change.action !== 'remove' && isDown(object)) {
      wentDown.push(object.id);
    } else {
      for (const id of this.#eviction.cameBack(object.id, nowMs, total)) this.#dirtyByNode(id);
    }
    this.#dirtyByNode(object.id);
    for (const id of this.#globals) this.#dirty.add(id);
  }

  #onCluster({ object, previous }: Extract<Change, { table: 'cluster' }>): void {
    if (object.spec?.taskHistoryLimit === previous?.spec?.taskHistoryLimit) return;
    for (const service of this.#deps.store.all('service')) this.#dirty.add(service.id);
  }

  #dirtyByNode(nodeId: string): void {
    for (const task of this.#deps.store.tasksOfNode(nodeId)) this.#dirty.add(task.serviceId);
  }

  // ---- what the leader saw of new tasks -------------------------------------------------------

  #follow(service: Service, nowMs: number): void {
    if (service.spec?.mode?.$case === 'global') this.#globals.add(service.id);
    if (!isUpdating(service)) {
      this.#lives.delete(service.id);
      return;
    }
    if (this.#lives.has(service.id)) return;
    this.#lives.set(service.id, new Map());
    for (const task of this.#deps.store.tasksOfService(service.id)) {
      // When it came up is in its status, by its host's clock.
      if (stateOf(task) === TaskState.RUNNING) {
        this.#noteLife(task, Math.min(nowMs, task.status?.atMs ?? nowMs));
      }
    }
  }

  #noteLife(task: Task, atMs: number): void {
    const lives = this.#lives.get(task.serviceId);
    if (lives === undefined) return;
    const life = lives.get(task.id) ?? {};
    if (stateOf(task) === TaskState.RUNNING) lives.set(task.id, { ...life, runningSinceMs: atMs });
    else if (isTerminal(stateOf(task))) lives.set(task.id, { ...life, endedAtMs: atMs });
  }

  #lifeOf(taskId: string): Life | undefined {
    const task = this.#deps.store.get('task', taskId);
    return task === undefined ? undefined : this.#lives.get(task.serviceId)?.get(taskId);
  }
}

function changedAtMs(node: Node): number {
  return node.meta?.updatedAtMs ?? 0;
}

/** Heartbeats and reports that change none of these concern no task. */
function mattersToTasks(before: Node, after: Node): boolean {
  return (
    before.spec !== after.spec ||
    before.status?.state !== after.status?.state ||
    before.status?.address !== after.status?.address ||
    !sameValue(before.description, after.description) ||
    before.certificateRole !== after.certificateRole
  );
}
