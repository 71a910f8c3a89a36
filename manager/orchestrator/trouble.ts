import { NodeAvailability, type Service, type Task } from '../../shared/gen/shoal/v1/objects.ts';
import { isDirty, nodeOf, type ServiceContext } from './context.ts';
import { isDown, isDrained, meets } from './nodes.ts';

/** Why a task cannot stay where it is. */
export type Trouble = 'gone' | 'down' | 'drained' | 'constraint';

/**
 * A task that is still as its service wants it has to meet the service's constraints as they are;
 * one that a rolling update has yet to replace has to meet its own.
 */
export function troubleOf(
  context: ServiceContext,
  service: Service,
  task: Task,
): Trouble | undefined {
  if (task.nodeId === '') return undefined;
  const node = nodeOf(context, task);
  if (node === undefined) return 'gone';
  if (isDown(node)) return 'down';
  if (isDrained(node)) return 'drained';
  // Who pauses a node wants it left alone.
  if (node.spec?.availability !== NodeAvailability.ACTIVE) return undefined;
  const wanted = service.spec?.task?.placement?.constraints ?? [];
  const own = task.spec?.placement?.constraints ?? [];
  if (wanted.length === 0 && own.length === 0) return undefined;
  return meets(isDirty(context, task) ? own : wanted, node) ? undefined : 'constraint';
}
