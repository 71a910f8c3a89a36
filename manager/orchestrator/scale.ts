import { type Node, type Service, TaskState } from '../../shared/gen/shoal/v1/objects.ts';
import { replicasOf } from '../../shared/model/replicas.ts';
import type { ServiceContext } from './context.ts';
import { isRunning, type ServiceDraft, type Slot, stateOf } from './draft.ts';
import { isDown, isDrained, meets, takesNewTasks } from './nodes.ts';
import { endedItself, shouldRestart } from './restart.ts';
import { newTask } from './tasks.ts';

/**
 * A slot counts while a task of it is wanted, and also when its last task ended and its policy wants
 * no other: then it has done what it was for.
 */
export function isOccupied(slot: Slot): boolean {
  return slot.wanted.length > 0 || isSettled(slot);
}

function isSettled(slot: Slot): boolean {
  const newest = slot.newest?.task;
  if (newest === undefined || newest.desiredState !== TaskState.SHUTDOWN) return false;
  if (stateOf(newest) < TaskState.ASSIGNED) return false;
  return (endedItself(newest) || isPolicyNone(slot)) && !shouldRestart(newest, slot);
}

function isPolicyNone(slot: Slot): boolean {
  return slot.newest?.task.spec?.restart?.condition === 'none';
}

/** Fills the lowest free slot numbers, or takes the slots away that are needed least. */
export function scaleReplicated(
  draft: ServiceDraft,
  service: Service,
  { cluster }: ServiceContext,
): void {
  const replicas = replicasOf(service.spec) ?? 1;
  const occupied = [...draft.slots.values()].filter(isOccupied);
  const surplus = occupied.length - replicas;
  const victims = new Set(surplus > 0 ? leastNeeded(occupied).slice(0, surplus) : []);
  const kept = new Set(occupied.filter((slot) => !victims.has(slot)));
  // Also what is left of slots given up earlier: nobody looks at the history of no slot.
  for (const slot of draft.slots.values()) {
    if (!kept.has(slot)) removeAll(draft, slot);
  }
  let missing = -surplus;
  for (let number = 1; missing > 0; number++) {
    const slot = draft.slot(number, '');
    if (kept.has(slot)) continue;
    draft.create(slot, newTask(cluster, service, { slot, desiredState: TaskState.RUNNING }));
    missing -= 1;
  }
}

/**
 * What does not run goes first, then from the nodes with most tasks of the service, then high slot
 * numbers: what stays is spread as evenly as what was there allows.
 */
function leastNeeded(slots: readonly Slot[]): Slot[] {
  const onNode = new Map<string, number>();
  const ranked = [...slots]
    .sort((a, b) => a.number - b.number)
    .map((slot) => {
      const nodeId = slot.wanted.find(isRunning)?.task.nodeId;
      if (nodeId === undefined) return { slot, rank: Number.POSITIVE_INFINITY };
      const rank = (onNode.get(nodeId) ?? 0) + 1;
      onNode.set(nodeId, rank);
      return { slot, rank };
    });
  return ranked
    .sort((a, b) => (a.rank === b.rank ? b.slot.number - a.slot.number : b.rank - a.rank))
    .map(({ slot }) => slot);
}

/** One task on each node that may have one. */
export function scaleGlobal(draft: ServiceDraft, service: Service, context: ServiceContext): void {
  const { cluster, nowMs } = context;
  for (const slot of draft.slots.values()) {
    const node = cluster.node(slot.nodeId);
    if (node === undefined) {
      removeAll(draft, slot);
    } else if (isDown(node)) {
      const dueMs = cluster.mayReplaceAtMs(node.id);
      if (dueMs > nowMs) draft.wakeAt(dueMs);
      else stopAll(draft, slot);
    } else if (!mayKeep(service, node)) {
      stopAll(draft, slot);
    }
  }
  for (const node of cluster.nodes()) {
    if (!takesNewTasks(node) || !mayKeep(service, node)) continue;
    const slot = draft.slot(0, node.id);
    if (isOccupied(slot)) continue;
    draft.create(slot, newTask(cluster, service, { slot, desiredState: TaskState.RUNNING }));
  }
}

function mayKeep(service: Service, node: Node): boolean {
  return !isDrained(node) && meets(service.spec?.task?.placement?.constraints ?? [], node);
}

function stopAll(draft: ServiceDraft, slot: Slot): void {
  for (const entry of slot.wanted) draft.want(entry, TaskState.SHUTDOWN);
}

export function removeAll(draft: ServiceDraft, slot: Slot): void {
  for (const entry of slot.entries) draft.want(entry, TaskState.REMOVE);
}
