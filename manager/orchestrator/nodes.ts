import { type Node, NodeAvailability, NodeState } from '../../shared/gen/shoal/v1/objects.ts';
import { meetsConstraints, parseConstraints } from '../../shared/model/constraint.ts';

export function isDown(node: Node): boolean {
  return node.status?.state === NodeState.DOWN;
}

export function isDrained(node: Node): boolean {
  return node.spec?.availability === NodeAvailability.DRAIN;
}

/** Whether a global service may start a task here now. */
export function takesNewTasks(node: Node): boolean {
  return (
    node.status?.state === NodeState.READY && node.spec?.availability === NodeAvailability.ACTIVE
  );
}

export function meets(constraints: readonly string[], node: Node): boolean {
  if (constraints.length === 0) return true;
  try {
    return meetsConstraints(parseConstraints(constraints), node);
  } catch {
    return false; // control refuses what cannot be read
  }
}
