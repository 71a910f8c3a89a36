import type { Node, Service, Task, TaskSpec } from '../../shared/gen/shoal/v1/objects.ts';
import { sameTaskSpec, taskPortsKey } from '../../shared/model/spec-change.ts';
import { meets } from './nodes.ts';

/** How a task's spec differs from its service's. */
type Difference = 'none' | 'constraints' | 'other';

/**
 * Whether tasks are not what their service asks for now and have to be replaced. `node` is the one that a
 * task runs on. A change of nothing but placement constraints leaves tasks alone whose node meets them; new
 * registry credentials concern the next pull only. Specs that are one object are compared once.
 */
export class DirtyCheck {
  readonly #service: Service;
  readonly #differences = new Map<TaskSpec, Difference>();
  readonly #ports: string;

  constructor(service: Service) {
    this.#service = service;
    this.#ports = taskPortsKey(service.spec?.endpoint?.ports ?? []);
  }

  isDirty(task: Task, node: Node | undefined): boolean {
    if (taskPortsKey(task.ports) !== this.#ports) return true;
    if (task.specVersion === this.#service.specVersion) return false;
    const difference = this.#differenceOf(task.spec);
    if (difference !== 'constraints') return difference === 'other';
    return (
      node === undefined || !meets(this.#service.spec?.task?.placement?.constraints ?? [], node)
    );
  }

  #differenceOf(spec: TaskSpec | undefined): Difference {
    const wanted = this.#service.spec?.task;
    if (spec === undefined || wanted === undefined) return spec === wanted ? 'none' : 'other';
    const known = this.#differences.get(spec);
    if (known !== undefined) return known;
    const difference = compare(spec, wanted);
    this.#differences.set(spec, difference);
    return difference;
  }
}

function compare(spec: TaskSpec, wanted: TaskSpec): Difference {
  // A task takes the cluster's default when its service names no log driver.
  const comparable: TaskSpec =
    wanted.logDriver === undefined ? { ...spec, logDriver: undefined } : spec;
  if (sameTaskSpec(comparable, wanted)) return 'none';
  const constraints = wanted.placement?.constraints ?? [];
  const sameButConstraints = sameTaskSpec(
    { ...comparable, placement: { ...emptyPlacement, ...spec.placement, constraints } },
    { ...wanted, placement: { ...emptyPlacement, ...wanted.placement } },
  );
  return sameButConstraints ? 'constraints' : 'other';
}

const emptyPlacement = { constraints: [], spreadOver: [], maxReplicasPerNode: 0, platforms: [] };
