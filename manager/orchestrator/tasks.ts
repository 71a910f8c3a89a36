import {
  type Service,
  type Task,
  type TaskSpec,
  TaskState,
} from '../../shared/gen/shoal/v1/objects.ts';
import type { ClusterContext } from './context.ts';
import type { Slot } from './draft.ts';

export type NewTask = Readonly<{
  slot: Slot;
  /** READY: prepared (image, volumes) but not started until it is wanted RUNNING. */
  desiredState: typeof TaskState.READY | typeof TaskState.RUNNING;
  startNotBeforeMs?: number;
  /** A task of the same service to copy the spec from, when not the service's present one. */
  like?: Task;
}>;

export function newTask(
  cluster: ClusterContext,
  service: Service,
  { slot, desiredState, startNotBeforeMs = 0, like }: NewTask,
): Task {
  return {
    id: cluster.newId(),
    meta: undefined,
    spec: like?.spec ?? withLogDriver(cluster, service.spec?.task),
    specVersion: like?.specVersion ?? service.specVersion,
    serviceId: service.id,
    serviceName: service.spec?.name ?? '',
    serviceLabels: service.spec?.labels ?? {},
    slot: slot.number,
    nodeId: slot.nodeId,
    desiredState,
    status: {
      atMs: cluster.nowMs,
      state: TaskState.NEW,
      message: 'created',
      err: '',
      container: undefined,
      ports: [],
      healthy: false,
    },
    networks: [],
    ports: like?.ports ?? service.spec?.endpoint?.ports ?? [],
    startNotBeforeMs,
  };
}

function withLogDriver(
  { defaultLogDriver }: ClusterContext,
  spec: TaskSpec | undefined,
): TaskSpec | undefined {
  if (spec === undefined || spec.logDriver !== undefined) return spec;
  return defaultLogDriver === undefined ? spec : { ...spec, logDriver: defaultLogDriver };
}

/**
 * When a task may start. A time that lies ahead although the task seems to be made in the future is
 * of another clock (a leader's that was ahead, or one that was set back): it is not waited for.
 */
export function startDueMs(task: Task, nowMs: number): number {
  return isFromFuture(task, nowMs) ? nowMs : task.startNotBeforeMs;
}

const CLOCK_TOLERANCE_MS = 1000;

export function isFromFuture(task: Task, nowMs: number): boolean {
  return (task.meta?.createdAtMs ?? 0) > nowMs + CLOCK_TOLERANCE_MS;
}

/** As `docker service ps` prints it. */
export function taskName(task: Task): string {
  return `${task.serviceName}.${task.slot > 0 ? task.slot : task.nodeId}`;
}
