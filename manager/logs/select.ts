import { ShoalError } from '../../shared/errors.ts';
import type { LogSelector } from '../../shared/gen/shoal/v1/logs.ts';
import type { Task } from '../../shared/gen/shoal/v1/objects.ts';
import type { ReadView } from '../store/types.ts';

/** The selector with full ids only. Throws ShoalError `not-found`, `invalid-argument` when it is empty. */
export function resolveSelector(view: ReadView, selector: LogSelector | undefined): LogSelector {
  const serviceIds = (selector?.serviceIds ?? []).map((reference) => {
    const service = view.get('service', reference) ?? view.byName('service', reference);
    if (service === undefined) throw new ShoalError('not-found', `service ${reference} not found`);
    return service.id;
  });
  const taskIds = (selector?.taskIds ?? []).map((reference) => {
    if (view.get('task', reference) === undefined) {
      throw new ShoalError('not-found', `task ${reference} not found`);
    }
    return reference;
  });
  if (serviceIds.length + taskIds.length === 0) {
    throw new ShoalError('invalid-argument', 'selector: name a service or a task');
  }
  return { serviceIds, taskIds };
}

/** Ended tasks too, as long as the store remembers them: their logs are often what is wanted. */
export function matches(selector: LogSelector, task: Task): boolean {
  if (task.nodeId === '') return false;
  return selector.serviceIds.includes(task.serviceId) || selector.taskIds.includes(task.id);
}

/** Ids of the matching tasks that are wanted, by node. */
export function tasksByNode(
  view: ReadView,
  selector: LogSelector,
  isWanted: (task: Task) => boolean,
): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>();
  const add = (task: Task | undefined) => {
    if (task === undefined || !matches(selector, task) || !isWanted(task)) return;
    const ids = found.get(task.nodeId) ?? new Set();
    found.set(task.nodeId, ids.add(task.id));
  };
  for (const id of selector.serviceIds) for (const task of view.tasksOfService(id)) add(task);
  for (const id of selector.taskIds) add(view.get('task', id));
  return found;
}
