import { type Service, type Task, TaskState } from '../../shared/gen/shoal/v1/objects.ts';
import { isTerminal } from '../../shared/model/task-state.ts';
import { isDirty, type ServiceContext } from './context.ts';
import { type Entry, observed, type ServiceDraft, type Slot, stateOf } from './draft.ts';
import { type RestartPolicy, restartPolicyOf } from './policy.ts';
import { newTask, startDueMs } from './tasks.ts';
import { type Trouble, troubleOf } from './trouble.ts';

/**
 * Pauses before restarts when the service names none: what failed once is back at once, what fails
 * again and again is not worth more than a try every half minute.
 */
const BACKOFF_MS = [100, 1000, 5000, 10_000, 30_000] as const;
/** A task that lived this long was no fast failure: the pauses begin anew. */
const STABLE_MS = 30_000;

/**
 * Replaces tasks of the slot that ended, or whose node left them no place. The old one is told to
 * stop and the new one is made in one transaction. Failures wait for the restart delay; what is a
 * node's fault waits for nothing, except when many nodes went down together.
 */
export function superviseSlot(
  draft: ServiceDraft,
  service: Service,
  slot: Slot,
  context: ServiceContext,
): void {
  for (const entry of slot.wanted) {
    const trouble = troubleOf(context, service, entry.task);
    if (observed(entry) === TaskState.ORPHANED) {
      moveAway(draft, service, slot, entry, 'gone', context);
    } else if (isTerminal(observed(entry))) {
      restartEnded(draft, service, slot, entry, context);
    } else if (trouble !== undefined) {
      moveAway(draft, service, slot, entry, trouble, context);
    }
  }
}

function restartEnded(
  draft: ServiceDraft,
  service: Service,
  slot: Slot,
  entry: Entry,
  context: ServiceContext,
): void {
  const { nowMs } = context;
  const { task } = entry;
  if (hasStandIn(service, slot, entry, context) || !shouldRestart(task, slot)) {
    draft.want(entry, TaskState.SHUTDOWN);
    return;
  }
  // It failed (an image that cannot be pulled) before it was due: the next waits for that time, or
  // a task that never gets to start would be tried without any pause.
  const dueMs = startDueMs(task, nowMs);
  if (dueMs > nowMs) {
    draft.wakeAt(dueMs);
    return;
  }
  const delayMs = restartDelayMs(task, restartPolicyOf(task), nowMs);
  replace(draft, service, slot, entry, delayMs > 0 ? nowMs + delayMs : 0, context);
}

function moveAway(
  draft: ServiceDraft,
  service: Service,
  slot: Slot,
  entry: Entry,
  trouble: Trouble,
  context: ServiceContext,
): void {
  const { nowMs, cluster } = context;
  const { task } = entry;
  if (trouble === 'down' && cluster.mayReplaceAtMs(task.nodeId) > nowMs) {
    draft.wakeAt(cluster.mayReplaceAtMs(task.nodeId));
    return;
  }
  if (hasStandIn(service, slot, entry, context) || restartPolicyOf(task).condition === 'none') {
    draft.want(entry, TaskState.SHUTDOWN);
    return;
  }
  const dueMs = startDueMs(task, nowMs);
  replace(draft, service, slot, entry, dueMs > nowMs ? dueMs : 0, context);
}

function replace(
  draft: ServiceDraft,
  service: Service,
  slot: Slot,
  entry: Entry,
  startNotBeforeMs: number,
  { cluster }: ServiceContext,
): void {
  draft.want(entry, TaskState.SHUTDOWN);
  const desiredState = startNotBeforeMs > 0 ? TaskState.READY : TaskState.RUNNING;
  if (startNotBeforeMs > 0) draft.wakeAt(startNotBeforeMs);
  // A paused update spreads no further: what ran before it comes back as it was.
  const like = isPaused(service) ? { like: entry.task } : {};
  draft.create(slot, newTask(cluster, service, { slot, desiredState, startNotBeforeMs, ...like }));
}

export function isPaused(service: Service): boolean {
  const state = service.updateStatus?.state;
  return state === 'paused' || state === 'rollback_paused';
}

/** Whether another task of the slot does the work already, so that this one needs no successor. */
function hasStandIn(service: Service, slot: Slot, entry: Entry, context: ServiceContext): boolean {
  const others = slot.wanted.filter((other) => other !== entry && !isTerminal(observed(other)));
  if (others.length === 0) return false;
  // The new task of an update (start-first) is worth another try while the old one still runs.
  const mine = isDirty(context, entry.task);
  return mine || isPaused(service) || others.some(({ task }) => !isDirty(context, task));
}

/** Ended by itself, not because it was told to. */
export function endedItself(task: Task): boolean {
  const state = stateOf(task);
  return state === TaskState.COMPLETE || state === TaskState.FAILED || state === TaskState.REJECTED;
}

/**
 * Whether the policy allows another task after this one, which ended. Attempts are counted over the
 * tasks that the store keeps of the slot, so that every leader counts the same.
 */
export function shouldRestart(task: Task, slot: Slot): boolean {
  const policy = restartPolicyOf(task);
  if (policy.condition === 'none') return false;
  if (policy.condition === 'on-failure' && stateOf(task) === TaskState.COMPLETE) return false;
  if (policy.maxAttempts === 0 || !endedItself(task)) return true;
  return restartsBefore(task, slot, policy) < policy.maxAttempts;
}

/** Restarts within the window before this task's end: each made the successor of one that failed. */
function restartsBefore(task: Task, slot: Slot, policy: RestartPolicy): number {
  const sinceMs =
    policy.windowMs > 0 ? (task.status?.atMs ?? 0) - policy.windowMs : Number.NEGATIVE_INFINITY;
  let restarts = 0;
  let successor: Task | undefined;
  for (const entry of slot.entries) {
    const older = entry.task;
    const madeAtMs = successor?.meta?.createdAtMs;
    if (
      successor !== undefined &&
      madeAtMs !== undefined &&
      madeAtMs >= sinceMs &&
      older.specVersion === task.specVersion &&
      endedItself(older)
    ) {
      restarts += 1;
    }
    // Only what is not younger than the task itself can be one of its forerunners.
    if (older === task || successor !== undefined) successor = older;
  }
  return restarts;
}

/** The pause before the successor of a task that just ended. */
export function restartDelayMs(task: Task, policy: RestartPolicy, nowMs: number): number {
  if (policy.delayMs !== undefined) return policy.delayMs;
  const madeAtMs = task.meta?.createdAtMs ?? nowMs;
  const livedMs = nowMs - Math.max(madeAtMs, task.startNotBeforeMs);
  if (livedMs >= STABLE_MS) return BACKOFF_MS[0];
  // The pause that this task itself had to wait says how often it failed before: kept in the store,
  // whatever the history limit, and known to a new leader.
  const hadMs = Math.max(0, task.startNotBeforeMs - madeAtMs);
  return BACKOFF_MS.find((stepMs) => stepMs > 1.5 * hadMs) ?? 30_000;
}
