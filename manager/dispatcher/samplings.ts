import type { Sampling } from '../../shared/gen/shoal/v1/dispatcher.ts';
import type { Service, Task } from '../../shared/gen/shoal/v1/objects.ts';
import { sameValue } from '../../shared/model/equal.ts';
import { samplingOf } from '../autoscaler/scaling.ts';
import type { ReadView } from '../store/types.ts';
import { isHeld, keyOf } from './items.ts';
import { getOrMake } from './needs.ts';

/**
 * Which nodes are to measure tasks of which services. Kept by task and not counted, so that it does not matter whether a
 * task is seen with its service or by itself: one commit may change both.
 */
export class Samplings {
  readonly #view: Pick<ReadView, 'tasksOfService'>;
  readonly #touch: (nodeId: string, key: string) => void;
  /** Tasks of services that are measured, by service and node. */
  readonly #tasks = new Map<string, Map<string, Set<string>>>();
  readonly #servicesOf = new Map<string, Set<string>>();

  constructor(
    view: Pick<ReadView, 'tasksOfService'>,
    touch: (nodeId: string, key: string) => void,
  ) {
    this.#view = view;
    this.#touch = touch;
  }

  has(nodeId: string, serviceId: string): boolean {
    return this.#tasks.get(serviceId)?.has(nodeId) === true;
  }

  servicesOf(nodeId: string): Iterable<string> {
    return this.#servicesOf.get(nodeId) ?? [];
  }

  /** The task is held on its node from now on. */
  hold({ id, serviceId, nodeId }: Task): void {
    const nodes = this.#tasks.get(serviceId);
    if (nodes === undefined) return; // not measured
    const known = nodes.get(nodeId);
    if (known !== undefined) {
      known.add(id);
      return;
    }
    nodes.set(nodeId, new Set([id]));
    getOrMake(this.#servicesOf, nodeId, () => new Set<string>()).add(serviceId);
    this.#touch(nodeId, keyOf.sampling(serviceId));
  }

  release({ id, serviceId, nodeId }: Task): void {
    const nodes = this.#tasks.get(serviceId);
    const tasks = nodes?.get(nodeId);
    if (nodes === undefined || !tasks?.delete(id) || tasks.size > 0) return;
    nodes.delete(nodeId);
    this.#forget(nodeId, serviceId);
  }

  /** True when items of the service are others now. */
  changed(serviceId: string, before: Service | undefined, after: Service | undefined): boolean {
    const was: Sampling | undefined = samplingOf(before);
    const is = samplingOf(after);
    if (sameValue(was, is)) return false;
    const nodes = this.#tasks.get(serviceId);
    if (is === undefined) {
      this.#tasks.delete(serviceId);
      for (const nodeId of nodes?.keys() ?? []) this.#forget(nodeId, serviceId);
    } else if (nodes === undefined) {
      this.#tasks.set(serviceId, new Map());
      for (const task of this.#view.tasksOfService(serviceId)) if (isHeld(task)) this.hold(task);
    } else {
      for (const nodeId of nodes.keys()) this.#touch(nodeId, keyOf.sampling(serviceId));
    }
    return true;
  }

  #forget(nodeId: string, serviceId: string): void {
    const services = this.#servicesOf.get(nodeId);
    services?.delete(serviceId);
    if (services?.size === 0) this.#servicesOf.delete(nodeId);
    this.#touch(nodeId, keyOf.sampling(serviceId));
  }
}
