import { NodeAvailability, NodeRole, NodeState } from '../../shared/gen/shoal/v1/objects.ts';
import type { StoreAction } from '../../shared/gen/shoal/v1/store.ts';
import type { ManagerStart } from '../../shared/manager-start.ts';
import { createAction, updateAction } from '../store/tables.ts';
import type { ReadView } from '../store/types.ts';
import { ownManagerNode } from './own-node.ts';

/**
 * The first transaction of a cluster that was restored from a backup, on a host that the backup does
 * not know. The nodes of before are down until they are heard, and none of them a manager: those that
 * are lost an operator removes, and their tasks are replaced.
 */
export function restoredObjects(
  view: ReadView,
  start: Pick<ManagerStart, 'nodeId' | 'advertiseAddress' | 'raftAdvertiseAddress'>,
  raftId: string,
  hostname: string,
): StoreAction[] {
  const actions: StoreAction[] = [];
  for (const { managerStatus: _, ...node } of view.all('node')) {
    const { spec, status } = node;
    const message = 'not heard since the cluster was restored from a backup';
    actions.push(
      updateAction('node', {
        ...node,
        ...(spec && { spec: { ...spec, role: NodeRole.WORKER } }),
        status: { address: status?.address ?? '', state: NodeState.DOWN, message },
      }),
    );
  }
  const own = ownManagerNode(start, raftId, hostname, NodeAvailability.ACTIVE);
  return [...actions, createAction('node', own)];
}
