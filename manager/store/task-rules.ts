import type { Task, TaskStatus } from '../../shared/gen/shoal/v1/objects.ts';
import { sameValue } from '../../shared/model/equal.ts';
import { taskStateName } from '../../shared/model/task-state.ts';

/**
 * What a task's life allows, asserted where every replica applies it: observed state and desired
 * state only grow, and a task never changes its node. Returns what is wrong, or undefined.
 */
export function forbiddenTaskChange(from: Task, to: Task): string | undefined {
  const [stateFrom, stateTo] = [from.status?.state ?? 0, to.status?.state ?? 0];
  if (stateTo < stateFrom) {
    return `task ${from.id} cannot go back from ${taskStateName(stateFrom)} to ${taskStateName(stateTo)}`;
  }
  if (to.desiredState < from.desiredState) {
    const [was, is] = [taskStateName(from.desiredState), taskStateName(to.desiredState)];
    return `task ${from.id} cannot be wanted ${is} again: it is wanted ${was}`;
  }
  if (from.nodeId !== '' && to.nodeId !== from.nodeId) {
    return `task ${from.id} is on node ${from.nodeId} and cannot move: make another task`;
  }
  return undefined;
}

/**
 * Whether a report says more than what is stored: a later state, or the same state with other
 * content (health, ports) that is not older. Agents repeat reports until they are acknowledged, and
 * two managers may pass on an agent's reports in the wrong order, so all else is normal, no error.
 */
export function statusMovesForward(stored: TaskStatus | undefined, reported: TaskStatus): boolean {
  if (stored === undefined || reported.state > stored.state) return true;
  if (reported.state < stored.state || reported.atMs < stored.atMs) return false;
  return !sameValue({ ...stored, atMs: 0 }, { ...reported, atMs: 0 });
}
