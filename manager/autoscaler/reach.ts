import type { Service } from '../../shared/gen/shoal/v1/objects.ts';
import { isHeld, isIngress, networksWithVip } from '../dispatcher/items.ts';
import type { ReadView } from '../store/types.ts';

/**
 * Tells of which services a node can have seen connections: those that publish a port in ingress mode, which every host
 * has, and those with an address on a network that a task on the node is attached to. Who may be a client of a service
 * may wake it anyway, so more than this need not be known of a node that lies, nor how often it says so.
 */
export function reachOf(
  view: Pick<ReadView, 'get' | 'tasksOfNode'>,
  nodeId: string,
): (service: Service) => boolean {
  const attached = new Set<string>();
  for (const task of view.tasksOfNode(nodeId)) {
    if (isHeld(task)) for (const { networkId } of task.networks) attached.add(networkId);
  }
  return (service) =>
    networksWithVip(service).some((id) => attached.has(id) || isIngress(view.get('network', id)));
}
