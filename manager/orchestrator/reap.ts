import { TaskState } from '../../shared/gen/shoal/v1/objects.ts';
import { isTerminal, isWanted } from '../../shared/model/task-state.ts';
import { nodeOf, type ServiceContext } from './context.ts';
import { type Entry, observed, type ServiceDraft, type Slot } from './draft.ts';
import { isDown } from './nodes.ts';
import { restartPolicyOf } from './policy.ts';

/** A node silent for this long is not expected to report how its tasks ended: Swarm's. */
const ORPHAN_AFTER_MS = 24 * 3600_000;

/** Ends tasks that nobody will report about: of nodes that were removed, or are down for a day. */
export function orphanLost(draft: ServiceDraft, slot: Slot, context: ServiceContext): void {
  const { cluster, nowMs } = context;
  for (const entry of slot.entries) {
    const { task } = entry;
    if (task.nodeId === '' || isTerminal(observed(entry))) continue;
    if (nodeOf(context, task) === undefined) {
      draft.orphan(entry, nowMs, 'its node was removed from the cluster');
      continue;
    }
    const downSinceMs = cluster.downSinceMs(task.nodeId);
    if (downSinceMs === undefined || isWanted(task.desiredState)) continue;
    const dueMs = downSinceMs + ORPHAN_AFTER_MS;
    if (dueMs <= nowMs) draft.orphan(entry, nowMs, 'its node has been down for a day');
    else draft.wakeAt(dueMs);
  }
}

/**
 * Forgets tasks: those that were to be removed once nothing of them runs, and those beyond the
 * history limit of the slot, oldest first. `updating` keeps what tells how the update goes.
 */
export function reapSlot(
  draft: ServiceDraft,
  slot: Slot,
  context: ServiceContext,
  updating: boolean,
): void {
  const limit = historyLimit(slot, context, updating);
  let kept = 0;
  for (const entry of slot.entries) {
    if (entry.removed) continue;
    if (entry.task.desiredState === TaskState.REMOVE) {
      if (isGone(entry, context)) draft.remove(entry);
      continue;
    }
    const neverRan = !isWanted(entry.task.desiredState) && observed(entry) < TaskState.ASSIGNED;
    kept += 1;
    const surplus = limit >= 0 && kept > limit;
    const ended = isTerminal(observed(entry)) && !isWanted(entry.task.desiredState);
    if (neverRan || (surplus && ended)) draft.remove(entry);
  }
}

/** Nothing runs, or the node is not there to say so: it will find the task gone when it is back. */
function isGone(entry: Entry, context: ServiceContext): boolean {
  const state = observed(entry);
  if (state < TaskState.ASSIGNED || isTerminal(state)) return true;
  const node = nodeOf(context, entry.task);
  return node === undefined || isDown(node);
}

function historyLimit(slot: Slot, { cluster }: ServiceContext, updating: boolean): number {
  if (cluster.historyLimit < 0) return -1;
  const newest = slot.newest;
  const attempts = newest === undefined ? 0 : restartPolicyOf(newest.task).maxAttempts;
  // Attempts are counted over what is kept.
  const forAttempts = attempts > 0 ? attempts + 1 : 0;
  return Math.max(cluster.historyLimit, forAttempts, updating ? 2 : 0, 1);
}
