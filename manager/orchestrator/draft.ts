import { type Service, type Task, TaskState } from '../../shared/gen/shoal/v1/objects.ts';
import type { StoreAction } from '../../shared/gen/shoal/v1/store.ts';
import { isTerminal, isWanted } from '../../shared/model/task-state.ts';
import type { Unit } from '../loop.ts';
import {
  createAction,
  removeAction,
  taskDesiredStateAction,
  taskStatusAction,
  updateAction,
} from '../store/tables.ts';

/** A task as it will be after the round. */
export type Entry = {
  task: Task;
  /** As it is now; undefined: the round makes it. */
  readonly stored: Task | undefined;
  removed: boolean;
};

/** All tasks of one slot number, or of one node of a global service. */
export class Slot {
  readonly key: string;
  /** 0 for global services. */
  readonly number: number;
  /** Empty for replicated services. */
  readonly nodeId: string;
  /** Newest first. */
  readonly entries: Entry[] = [];

  constructor(key: string, number: number, nodeId: string) {
    this.key = key;
    this.number = number;
    this.nodeId = nodeId;
  }

  get wanted(): Entry[] {
    return this.entries.filter((entry) => !entry.removed && isWanted(entry.task.desiredState));
  }

  get newest(): Entry | undefined {
    return this.entries.find((entry) => !entry.removed);
  }
}

export function observed(entry: Entry): TaskState {
  return stateOf(entry.task);
}

export function stateOf(task: Task): TaskState {
  return task.status?.state ?? TaskState.NEW;
}

/** Whether something of it may run on its node. */
export function isOnNode(task: Task): boolean {
  const state = stateOf(task);
  return state >= TaskState.ASSIGNED && !isTerminal(state);
}

export function isRunning(entry: Entry): boolean {
  return observed(entry) === TaskState.RUNNING;
}

/**
 * One service with its tasks, changed step by step: each step of the reconciliation sees what those
 * before it decided. At the end the difference is what has to be written.
 */
export class ServiceDraft {
  readonly serviceId: string;
  service: Service | undefined;
  readonly #storedService: Service | undefined;
  readonly slots = new Map<string, Slot>();
  /** When to look again though nothing changes. */
  wakeAtMs: number | undefined;

  constructor(serviceId: string, service: Service | undefined, tasks: Iterable<Task>) {
    this.serviceId = serviceId;
    this.service = service;
    this.#storedService = service;
    for (const task of tasks) {
      const entry = { task, stored: task, removed: false };
      this.slot(task.slot, task.nodeId).entries.push(entry);
    }
    for (const slot of this.slots.values()) slot.entries.sort(newestFirst);
  }

  get isGlobal(): boolean {
    return this.service?.spec?.mode?.$case === 'global';
  }

  /** The slot of a replicated service by its number (from 1), of a global one by its node. */
  slot(number: number, nodeId: string): Slot {
    const key = number > 0 ? String(number) : nodeId;
    const known = this.slots.get(key);
    if (known !== undefined) return known;
    const slot = new Slot(key, number, number > 0 ? '' : nodeId);
    this.slots.set(key, slot);
    return slot;
  }

  create(slot: Slot, task: Task): void {
    slot.entries.unshift({ task, stored: undefined, removed: false });
  }

  /** Moves the desired state on. A task that never got a node needs no stopping: it goes at once. */
  want(entry: Entry, desiredState: TaskState): void {
    if (entry.task.desiredState >= desiredState) return;
    entry.task = { ...entry.task, desiredState };
    if (!isWanted(desiredState) && observed(entry) < TaskState.ASSIGNED) entry.removed = true;
  }

  /** Gives up a task whose node will not report about it any more. */
  orphan(entry: Entry, nowMs: number, reason: string): void {
    const { status } = entry.task;
    if (status === undefined || isTerminal(status.state)) return;
    const atMs = Math.max(nowMs, status.atMs);
    const orphaned = { ...status, atMs, state: TaskState.ORPHANED, message: reason };
    entry.task = { ...entry.task, status: orphaned };
  }

  remove(entry: Entry): void {
    entry.removed = true;
  }

  wakeAt(atMs: number): void {
    this.wakeAtMs = Math.min(this.wakeAtMs ?? atMs, atMs);
  }

  /** What to write: the service, and per slot what belongs together (stop the old, make the new). */
  units(): Unit[] {
    const units: Unit[] = [];
    if (this.service !== undefined && this.service !== this.#storedService) {
      units.push([updateAction('service', this.service)]);
    }
    for (const slot of this.slots.values()) {
      const unit = slot.entries.flatMap(actionsOf);
      if (unit.length > 0) units.push(unit);
    }
    return units;
  }
}

function actionsOf({ task, stored, removed }: Entry): StoreAction[] {
  if (stored === undefined) return removed ? [] : [createAction('task', task)];
  // With its version: the scheduler may be giving it a node just now.
  if (removed) return [removeAction('task', task.id, stored.meta?.version ?? 0)];
  const actions: StoreAction[] = [];
  if (task.status !== undefined && task.status !== stored.status) {
    actions.push(taskStatusAction(task.id, task.status));
  }
  if (task.desiredState !== stored.desiredState) {
    actions.push(taskDesiredStateAction(task.id, task.desiredState));
  }
  return actions;
}

function newestFirst(a: Entry, b: Entry): number {
  const [madeA, madeB] = [a.task.meta?.createdAtMs ?? 0, b.task.meta?.createdAtMs ?? 0];
  return madeB - madeA || (a.task.id < b.task.id ? -1 : 1);
}
