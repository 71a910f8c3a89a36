import {
  type Service,
  type Task,
  TaskState,
  type UpdateStatus,
} from '../../shared/gen/shoal/v1/objects.ts';
import { isTerminal } from '../../shared/model/task-state.ts';
import { isDirty, nodeOf, type ServiceContext } from './context.ts';
import {
  type Entry,
  isOnNode,
  isRunning,
  observed,
  type ServiceDraft,
  type Slot,
} from './draft.ts';
import { isDown } from './nodes.ts';
import { type UpdatePolicy, updatePolicyOf } from './policy.ts';
import { endedItself, isPaused } from './restart.ts';
import { isOccupied } from './scale.ts';
import { newTask, taskName } from './tasks.ts';

/** A failure nobody saw begin (another manager led) counts when the task lived this much longer than the monitor. */
const START_ALLOWANCE_MS = 30_000;
/** What an update waits for is told at most this often. */
const TELL_MS = 1000;

export function isUpdating(service: Service): boolean {
  const state = service.updateStatus?.state;
  return state === 'updating' || state === 'rollback_started';
}

/**
 * One step of a rolling update: everything it has to know is in the store (which tasks are of which
 * version, when they were made, how they ended), so that it goes on under any leader. At most
 * `parallelism` slots are between their old and their new task at a time, each until its new task
 * runs and the delay after that has passed; slots that do not run anyway come first.
 */
export function stepUpdate(draft: ServiceDraft, service: Service, context: ServiceContext): void {
  const slots = [...draft.slots.values()].filter(isOccupied);
  for (const slot of slots) finishSlot(draft, slot, context);
  if (isPaused(service)) return;
  const dirty = slots.filter((slot) => isDirtySlot(slot, context));
  const active = isUpdating(service);
  if (!active && dirty.length === 0) return;

  const rollback = service.updateStatus?.state === 'rollback_started';
  const policy = updatePolicyOf(service, rollback);
  const status = active ? service.updateStatus : undefined;
  const startedAtMs = status?.startedAtMs || context.nowMs;
  const progress = measure(draft, slots, service, { policy, startedAtMs }, context);
  const updated = progress.updatedSlots + dirty.length;
  if (progress.failed.length > policy.maxFailureRatio * Math.max(1, updated)) {
    if (fail(draft, service, policy, progress.failed[0], context)) return;
  }
  const count = policy.parallelism === 0 ? dirty.length : policy.parallelism - progress.inFlight;
  const picked = dirty.sort(brokenFirst).slice(0, Math.max(0, count));
  for (const slot of picked) updateSlot(draft, service, slot, policy, context);

  const done = dirty.length === 0 && progress.waitingFor.length === 0 && progress.inFlight === 0;
  if (done && progress.watchedUntilMs <= context.nowMs) {
    const completedAtMs = context.nowMs;
    const [state, message] = rollback
      ? ['rollback_completed', 'rollback completed']
      : ['completed', 'update completed'];
    draft.service = { ...service, updateStatus: { state, startedAtMs, completedAtMs, message } };
    return;
  }
  if (done) draft.wakeAt(progress.watchedUntilMs);
  tell(draft, service, progress.waitingFor, startedAtMs, context);
}

/** A slot whose new task runs needs no other. Outside of updates this ends duplicates as well. */
export function finishSlot(draft: ServiceDraft, slot: Slot, context: ServiceContext): void {
  const { wanted } = slot;
  if (wanted.length < 2) return;
  const clean = wanted.filter((entry) => !isDirty(context, entry.task));
  // Two clean ones (or two old ones) come of a write whose outcome was not known: one is enough.
  const best = furthest(clean);
  const bestDirty = furthest(wanted.filter((entry) => !clean.includes(entry)));
  for (const entry of wanted) {
    if (entry === best || entry === bestDirty) continue;
    draft.want(entry, TaskState.SHUTDOWN);
  }
  if (best !== undefined && bestDirty !== undefined && isRunning(best)) {
    draft.want(bestDirty, TaskState.SHUTDOWN);
  }
}

function furthest(entries: readonly Entry[]): Entry | undefined {
  const rank = (entry: Entry) => (isTerminal(observed(entry)) ? -1 : observed(entry));
  return [...entries].sort((a, b) => rank(b) - rank(a) || (a.task.id < b.task.id ? -1 : 1))[0];
}

/** Nothing in it is, or is about to be, what the service asks for. */
function isDirtySlot(slot: Slot, context: ServiceContext): boolean {
  const { wanted, newest } = slot;
  if (wanted.length > 0) return wanted.every((entry) => isDirty(context, entry.task));
  return newest !== undefined && isDirty(context, newest.task);
}

type Progress = {
  /** Slots of which a task was made by this update. */
  updatedSlots: number;
  inFlight: number;
  /** New tasks that are not up yet. */
  waitingFor: Task[];
  /** First failed task of each slot. */
  failed: Task[];
  /** Until when the new tasks that are up have to be watched. */
  watchedUntilMs: number;
};

function measure(
  draft: ServiceDraft,
  slots: readonly Slot[],
  service: Service,
  { policy, startedAtMs }: { policy: UpdatePolicy; startedAtMs: number },
  context: ServiceContext,
): Progress {
  const { nowMs, cluster } = context;
  const progress: Progress = {
    updatedSlots: 0,
    inFlight: 0,
    waitingFor: [],
    failed: [],
    watchedUntilMs: nowMs,
  };
  const holds = (sinceMs: number) => {
    const untilMs = sinceMs + policy.delayMs;
    if (untilMs <= nowMs) return;
    progress.inFlight += 1;
    draft.wakeAt(untilMs);
  };
  for (const slot of slots) {
    const made = slot.entries.filter(({ task }) => isMadeBy(service, startedAtMs, task));
    if (made.length > 0) progress.updatedSlots += 1;
    const failed = made.findLast(({ task }) => failedEarly(task, policy, context));
    if (failed !== undefined) progress.failed.push(failed.task);
    const current = slot.wanted.find(({ task }) => !isDirty(context, task));
    if (current === undefined) continue;
    const life = cluster.life(current.task.id);
    if (isRunning(current)) {
      if (life?.runningSinceMs === undefined) continue;
      holds(life.runningSinceMs);
      const watchedUntilMs = life.runningSinceMs + policy.monitorMs;
      progress.watchedUntilMs = Math.max(progress.watchedUntilMs, watchedUntilMs);
    } else if (failed !== undefined) {
      // The slot had its turn. Restarts go on, but an update that may go on is not held up by them.
      const endedAtMs = cluster.life(failed.task.id)?.endedAtMs ?? failed.task.status?.atMs ?? 0;
      holds(Math.min(endedAtMs, nowMs));
    } else {
      progress.inFlight += 1;
      progress.waitingFor.push(current.task);
    }
  }
  return progress;
}

function isMadeBy(service: Service, startedAtMs: number, task: Task): boolean {
  const madeAtMs = task.meta?.createdAtMs ?? startedAtMs;
  return task.specVersion === service.specVersion && madeAtMs >= startedAtMs;
}

/** Ended by itself before it ran, or not longer after than the monitor. */
function failedEarly(
  task: Task,
  { monitorMs }: UpdatePolicy,
  { cluster }: ServiceContext,
): boolean {
  if (!endedItself(task)) return false;
  const life = cluster.life(task.id);
  if (life?.runningSinceMs !== undefined && life.endedAtMs !== undefined) {
    return life.endedAtMs - life.runningSinceMs <= monitorMs;
  }
  const dueMs = Math.max(task.meta?.createdAtMs ?? 0, task.startNotBeforeMs);
  return (task.status?.atMs ?? 0) - dueMs <= monitorMs + START_ALLOWANCE_MS;
}

/** Carries out the failure action; false: the update goes on. */
function fail(
  draft: ServiceDraft,
  service: Service,
  policy: UpdatePolicy,
  task: Task | undefined,
  { nowMs }: ServiceContext,
): boolean {
  if (policy.failureAction === 'continue') return false;
  const because = `due to failure or early termination of task ${task?.id ?? ''}`;
  const rollback = service.updateStatus?.state === 'rollback_started';
  const startedAtMs = service.updateStatus?.startedAtMs || nowMs;
  if (policy.failureAction === 'rollback' && service.previousSpec !== undefined) {
    const updateStatus: UpdateStatus = {
      state: 'rollback_started',
      startedAtMs: nowMs,
      completedAtMs: 0,
      message: `update rolled back ${because}`,
    };
    draft.service = {
      ...service,
      spec: service.previousSpec,
      previousSpec: undefined,
      // Any number that no task has: those that kept the spec are told by comparing it.
      specVersion: service.specVersion + 1,
      updateStatus,
    };
    return true;
  }
  const [state, what] = rollback ? ['rollback_paused', 'rollback'] : ['paused', 'update'];
  const message = `${what} paused ${because}`;
  draft.service = { ...service, updateStatus: { state, startedAtMs, completedAtMs: 0, message } };
  return true;
}

function updateSlot(
  draft: ServiceDraft,
  service: Service,
  slot: Slot,
  policy: UpdatePolicy,
  context: ServiceContext,
): void {
  const { cluster } = context;
  const { wanted } = slot;
  if (policy.order === 'start-first' && wanted.some(isRunning)) {
    draft.create(slot, newTask(cluster, service, { slot, desiredState: TaskState.RUNNING }));
    return;
  }
  for (const entry of wanted) draft.want(entry, TaskState.SHUTDOWN);
  // READY until what runs has stopped (`start.ts`): the image is pulled meanwhile.
  const stopping = slot.entries.some((entry) => !entry.removed && holdsUp(entry.task, context));
  const desiredState = stopping ? TaskState.READY : TaskState.RUNNING;
  draft.create(slot, newTask(cluster, service, { slot, desiredState }));
}

/** Whether a task that shall stop may still be running somewhere. */
export function holdsUp(task: Task, context: ServiceContext): boolean {
  const node = nodeOf(context, task);
  return isOnNode(task) && node !== undefined && !isDown(node);
}

function brokenFirst(a: Slot, b: Slot): number {
  const broken = (slot: Slot) => (slot.wanted.some(isRunning) ? 1 : 0);
  return broken(a) - broken(b) || a.number - b.number || (a.key < b.key ? -1 : 1);
}

/** Keeps the update's status: that it goes on, and what it waits for if there is something to say. */
function tell(
  draft: ServiceDraft,
  service: Service,
  waitingFor: readonly Task[],
  startedAtMs: number,
  { nowMs }: ServiceContext,
): void {
  const current = service.updateStatus;
  const rollback = current?.state === 'rollback_started';
  const stuck = waitingFor.find((task) => task.status?.err);
  const basis = rollback ? (current.message.split(WAITING)[0] ?? '') : 'update in progress';
  const message =
    stuck === undefined
      ? basis
      : `${basis}${WAITING}task ${taskName(stuck)}: ${stuck.status?.err ?? ''}`;
  if (isUpdating(service)) {
    if (current?.message === message && current.startedAtMs === startedAtMs) return;
    const dueMs = (service.meta?.updatedAtMs ?? 0) + TELL_MS;
    if (current?.startedAtMs === startedAtMs && dueMs > nowMs) {
      draft.wakeAt(dueMs);
      return;
    }
  }
  const state = rollback ? 'rollback_started' : 'updating';
  draft.service = { ...service, updateStatus: { state, startedAtMs, completedAtMs: 0, message } };
}

const WAITING = '; waiting for ';
