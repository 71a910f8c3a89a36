import { type Task, TaskState } from '../../shared/gen/shoal/v1/objects.ts';
import type { StoreAction } from '../../shared/gen/shoal/v1/store.ts';
import { type LeaderDeps, type LoopBody, type Round, runLeaderLoop, type Unit } from '../loop.ts';
import { taskStatusAction, updateAction } from '../store/tables.ts';
import type { ChangeBatch, ReadView } from '../store/types.ts';
import { isPending, Mirror } from './mirror.ts';
import { type Group, plan } from './plan.ts';
import { Queue, type WaitingGroup } from './queue.ts';

/** Tasks placed, and tasks told why not, in one round: the rest has the next, others get the thread. */
const SLICE = 5000;
/** Looks of a group at a node in one round, for the same reason: about 50 ms. */
const MAX_LOOKS = 100_000;
/** Refused tasks are tried again at most this often, however fast room comes and goes. */
const RETRY_MS = 50;
/** A reason that was told is replaced by another one at most this often. */
const REWORD_MS = 1000;
const FORGET_FAILURES_MS = 60_000;

/** The leader's scheduler; resolves when `signal` aborts. */
export function runScheduler(deps: LeaderDeps, signal: AbortSignal): Promise<void> {
  return runLeaderLoop(deps, new Scheduler(deps), signal);
}

class Scheduler implements LoopBody {
  readonly name = 'scheduler';
  readonly #deps: LeaderDeps;
  #mirror = new Mirror();
  #queue = new Queue();
  #roomMayHaveGrown = false;
  #retriedAtMs = Number.NEGATIVE_INFINITY;
  #forgotAtMs = 0;
  /** When reasons that changed too soon after the last ones are looked at again. */
  #rewordAtMs: number | undefined;

  constructor(deps: LeaderDeps) {
    this.#deps = deps;
  }

  start(): void {
    const { store, clock } = this.#deps;
    this.#mirror = new Mirror();
    this.#queue = new Queue();
    this.#mirror.load(store, clock.now());
    for (const task of store.all('task')) if (isPending(task)) this.#queue.put(task);
  }

  onCommit(batch: ChangeBatch): boolean {
    const nowMs = this.#deps.clock.now();
    let dirty = false;
    for (const change of batch.changes) {
      if (this.#mirror.apply(change, nowMs).roomMayHaveGrown) this.#roomMayHaveGrown = true;
      if (change.table !== 'task') continue;
      if (change.action !== 'remove' && isPending(change.object)) {
        this.#queue.put(change.object);
        dirty = true;
      } else if (change.previous !== undefined && isPending(change.previous)) {
        this.#queue.delete(change.previous);
      }
    }
    return dirty || (this.#roomMayHaveGrown && this.#queue.size > 0);
  }

  decide(): Round {
    const { clock } = this.#deps;
    const nowMs = clock.now();
    this.#forget(nowMs);
    const retryInMs = this.#retryRefused(clock.monotonicMs(), nowMs);
    const { taken, more } = this.#takeSlice();
    const units: Unit[] = [];
    const assigned = new Set<string>();
    const refused = new Map<WaitingGroup, Reason>();
    for (const decision of plan(this.#mirror, [...taken.keys()])) {
      const { task } = decision;
      if (decision.kind === 'assign') {
        assigned.add(task.id);
        units.push([assignment(task, decision.nodeId, nowMs)]);
      } else {
        const waiting = taken.get(decision.group);
        if (waiting !== undefined) refused.set(waiting, decision);
      }
    }
    const allTold = this.#explain(refused, assigned, units, nowMs);
    if (more || !allTold) return { units, wakeInMs: 0 };
    const rewordInMs = this.#rewordAtMs === undefined ? Infinity : this.#rewordAtMs - nowMs;
    const wakeInMs = Math.min(retryInMs ?? Infinity, rewordInMs);
    return { units, wakeInMs: wakeInMs === Infinity ? undefined : wakeInMs };
  }

  failed(): void {
    this.#queue.refresh();
  }

  /** Puts refused groups back on the list when they may fit now; else says when that is due. */
  #retryRefused(monotonicMs: number, nowMs: number): number | undefined {
    if (this.#rewordAtMs !== undefined && nowMs >= this.#rewordAtMs) {
      this.#rewordAtMs = undefined;
      this.#roomMayHaveGrown = true;
    }
    if (this.#queue.size === 0) this.#roomMayHaveGrown = false;
    if (!this.#roomMayHaveGrown) return undefined;
    const waitMs = this.#retriedAtMs + RETRY_MS - monotonicMs;
    if (waitMs > 0) return waitMs;
    this.#retriedAtMs = monotonicMs;
    this.#roomMayHaveGrown = false;
    this.#queue.refresh();
    return undefined;
  }

  #takeSlice(): { taken: Map<Group, WaitingGroup>; more: boolean } {
    const taken = new Map<Group, WaitingGroup>();
    let left = SLICE;
    let looks = MAX_LOOKS;
    for (const waiting of this.#queue.fresh()) {
      if (left === 0 || looks <= 0) return { taken, more: true };
      looks -= waiting.nodeId === undefined ? this.#mirror.nodeCount : 1;
      const tasks = [...waiting.tasks.values()].sort(bySlot).slice(0, left);
      const [first] = tasks;
      if (first === undefined) continue;
      left -= tasks.length;
      const { key, serviceId, nodeId } = waiting;
      const plugins = pluginsOf(this.#deps.store, first);
      taken.set({ key, serviceId, nodeId, plugins, tasks }, waiting);
      if (tasks.length < waiting.tasks.size) return { taken, more: true };
    }
    return { taken, more: false };
  }

  /**
   * Writes down why the tasks of refused groups wait, once per reason. What keeps one of a group
   * from being placed keeps all that come after it, so the reason holds for tasks beyond the slice
   * as well. False: too many for one round; the groups stay on the list.
   */
  #explain(
    refused: ReadonlyMap<WaitingGroup, Reason>,
    assigned: ReadonlySet<string>,
    units: Unit[],
    nowMs: number,
  ): boolean {
    let left = SLICE;
    for (const [group, { err, message }] of refused) {
      const mayReword = nowMs - group.wordedAtMs >= REWORD_MS;
      for (const task of group.tasks.values()) {
        const { status } = task;
        if (status === undefined || assigned.has(task.id)) continue;
        if (status.err === err && status.message === message) continue;
        if (status.err !== '') {
          if (!mayReword) {
            this.#rewordAtMs ??= group.wordedAtMs + REWORD_MS;
            continue;
          }
          group.wordedAtMs = nowMs;
        }
        if (left === 0) return false;
        left -= 1;
        const atMs = Math.max(nowMs, status.atMs);
        units.push([taskStatusAction(task.id, { ...status, atMs, err, message })]);
      }
      this.#queue.refused(group);
    }
    return true;
  }

  #forget(nowMs: number): void {
    if (nowMs - this.#forgotAtMs < FORGET_FAILURES_MS) return;
    this.#forgotAtMs = nowMs;
    this.#mirror.forgetFailures(nowMs);
  }
}

type Reason = Readonly<{ err: string; message: string }>;

function assignment(task: Task, nodeId: string, nowMs: number): StoreAction {
  return updateAction('task', {
    ...task,
    nodeId,
    status: {
      ...(task.status ?? { container: undefined, ports: [], healthy: false }),
      atMs: Math.max(nowMs, task.status?.atMs ?? 0),
      state: TaskState.ASSIGNED,
      message: 'scheduler assigned task to node',
      err: '',
    },
  });
}

/** What serves the task's networks, volumes and logs, in the words of node descriptions. */
function pluginsOf(store: ReadView, task: Task): string[] {
  const plugins = new Set<string>();
  for (const { networkId } of task.networks) {
    const driver = store.get('network', networkId)?.spec?.driver;
    if (driver) plugins.add(`Network/${driver}`);
  }
  for (const mount of task.spec?.container?.mounts ?? []) {
    const driver = mount.type === 'volume' ? mount.volume?.driver : undefined;
    if (driver) plugins.add(`Volume/${driver}`);
  }
  const log = task.spec?.logDriver?.name;
  if (log && log !== 'none') plugins.add(`Log/${log}`);
  return [...plugins];
}

/** So that equal clusters give equal plans. */
function bySlot(a: Task, b: Task): number {
  return a.slot - b.slot || (a.id < b.id ? -1 : 1);
}
