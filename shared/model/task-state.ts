import { TaskState } from '../gen/shoal/v1/objects.ts';

/** Each state and the word Docker prints for it, in the order a task lives through them. */
const NAMES: readonly (readonly [TaskState, string])[] = [
  [TaskState.NEW, 'new'],
  [TaskState.PENDING, 'pending'],
  [TaskState.ASSIGNED, 'assigned'],
  [TaskState.ACCEPTED, 'accepted'],
  [TaskState.PREPARING, 'preparing'],
  [TaskState.READY, 'ready'],
  [TaskState.STARTING, 'starting'],
  [TaskState.RUNNING, 'running'],
  [TaskState.COMPLETE, 'complete'],
  [TaskState.SHUTDOWN, 'shutdown'],
  [TaskState.FAILED, 'failed'],
  [TaskState.REJECTED, 'rejected'],
  [TaskState.REMOVE, 'remove'],
  [TaskState.ORPHANED, 'orphaned'],
];

const WORD_OF = new Map<number, string>(NAMES);

/** Docker's lower case word; a number that this version does not know is shown as it is. */
export function taskStateName(state: TaskState): string {
  return WORD_OF.get(state) ?? String(state);
}

/** Past RUNNING: the task's process is gone, or never was, and will not come back. */
export function isTerminal(state: TaskState): boolean {
  return state > TaskState.RUNNING;
}

/** Whether a manager still wants the task to run; false once it is told to stop or to go. */
export function isWanted(desired: TaskState): boolean {
  return desired <= TaskState.RUNNING;
}
