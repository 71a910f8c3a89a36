import type { Task } from '../gen/shoal/v1/objects.ts';

/** Docker's name of a task and of its container: `web.3.ID`, of a global service `web.NODE.ID`. */
export function taskName(task: Pick<Task, 'id' | 'serviceName' | 'slot' | 'nodeId'>): string {
  return `${task.serviceName}.${task.slot > 0 ? task.slot : task.nodeId}.${task.id}`;
}
