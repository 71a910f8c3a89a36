import { TaskState } from '../../shared/gen/shoal/v1/objects.ts';
import { isTerminal, isWanted } from '../../shared/model/task-state.ts';
import type { ServiceContext } from './context.ts';
import { observed, type ServiceDraft, type Slot } from './draft.ts';
import { stopGraceMs } from './policy.ts';
import { isFromFuture, startDueMs } from './tasks.ts';
import { holdsUp } from './update.ts';

/** A predecessor that has not stopped this long after its grace period holds nobody up any more. */
const STOP_ALLOWANCE_MS = 15_000;
const MIN_STOP_LIMIT_MS = 60_000; // Swarm's limit, whatever the grace period

/**
 * Lets tasks that were made READY run: once their restart delay is over and what they replace has
 * stopped.
 */
export function startPrepared(draft: ServiceDraft, slot: Slot, context: ServiceContext): void {
  const { nowMs } = context;
  for (const entry of slot.wanted) {
    const { task, stored } = entry;
    if (stored === undefined || task.desiredState >= TaskState.RUNNING) continue;
    if (isTerminal(observed(entry))) continue;
    const stopping = slot.entries.filter(
      (other) =>
        !other.removed && !isWanted(other.task.desiredState) && holdsUp(other.task, context),
    );
    const madeAtMs = isFromFuture(task, nowMs) ? nowMs : (task.meta?.createdAtMs ?? nowMs);
    let dueMs = startDueMs(task, nowMs);
    for (const other of stopping) {
      const limitMs = Math.max(MIN_STOP_LIMIT_MS, stopGraceMs(other.task) + STOP_ALLOWANCE_MS);
      dueMs = Math.max(dueMs, madeAtMs + limitMs);
    }
    if (dueMs > nowMs) draft.wakeAt(dueMs);
    else draft.want(entry, TaskState.RUNNING);
  }
}
