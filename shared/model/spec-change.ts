import type { PortConfig, Service, ServiceSpec, Task, TaskSpec } from '../gen/shoal/v1/objects.ts';
import { sameValue } from './equal.ts';
import { portKey } from './port-key.ts';

/**
 * Whether tasks of the two specs are interchangeable. Registry credentials do not count: they serve
 * the next pull and are no reason to replace what runs.
 */
export function sameTaskSpec(a: TaskSpec | undefined, b: TaskSpec | undefined): boolean {
  return a === b || sameValue(withoutAuth(a), withoutAuth(b));
}

/** Whether a change of the service's spec replaces its tasks, one way or another. */
export function replacesTasks(from: ServiceSpec, to: ServiceSpec): boolean {
  return (
    !sameTaskSpec(from.task, to.task) ||
    taskPortsKey(from.endpoint?.ports ?? []) !== taskPortsKey(to.endpoint?.ports ?? [])
  );
}

/**
 * Whether a task is what its service asks for now: made from this version, or from another one that
 * asked for the same. Placement constraints do not count either: a task whose node meets the new
 * ones is kept, and one whose node does not is evicted for that reason.
 */
export function isUpToDate(task: Task, service: Service): boolean {
  if (task.specVersion >= service.specVersion) return true;
  if (taskPortsKey(task.ports) !== taskPortsKey(service.spec?.endpoint?.ports ?? [])) return false;
  const wanted = service.spec?.task;
  // A task takes the cluster's default when its service names no log driver.
  const own =
    task.spec && wanted?.logDriver === undefined
      ? { ...task.spec, logDriver: undefined }
      : task.spec;
  return sameTaskSpec(withoutConstraints(own), withoutConstraints(wanted));
}

const NO_PORTS = 'false:';

/**
 * What of the ports concerns a task itself: those bound on its host, and whether it needs the
 * ingress network at all. Which number the cluster publishes concerns the data plane only.
 */
export function taskPortsKey(ports: readonly PortConfig[]): string {
  if (ports.length === 0) return NO_PORTS;
  const bound = ports
    .filter(({ publishMode }) => publishMode === 'host')
    .map((port) => `${portKey(port)}/${port.targetPort}`);
  const ingress = ports.some(({ publishMode }) => publishMode !== 'host');
  return `${ingress}:${bound.sort().join()}`;
}

function withoutAuth(spec: TaskSpec | undefined): TaskSpec | undefined {
  if (!spec?.container?.registryAuth) return spec;
  return { ...spec, container: { ...spec.container, registryAuth: '' } };
}

function withoutConstraints(spec: TaskSpec | undefined): TaskSpec | undefined {
  if (spec?.placement === undefined) return spec;
  const placement = { ...spec.placement, constraints: [] };
  return { ...spec, placement: isEmptyPlacement(placement) ? undefined : placement };
}

function isEmptyPlacement(placement: NonNullable<TaskSpec['placement']>): boolean {
  const { constraints, spreadOver, platforms, maxReplicasPerNode } = placement;
  return (
    constraints.length + spreadOver.length + platforms.length === 0 && maxReplicasPerNode === 0
  );
}
