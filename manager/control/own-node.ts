import { Node, type NodeAvailability, NodeRole } from '../../shared/gen/shoal/v1/objects.ts';
import type { ManagerStart } from '../../shared/manager-start.ts';

/** The first manager of a cluster, before its agent has told what it is. */
export function ownManagerNode(
  start: Pick<ManagerStart, 'nodeId' | 'advertiseAddress' | 'raftAdvertiseAddress'>,
  raftId: string,
  hostname: string,
  availability: NodeAvailability,
): Node {
  return Node.fromPartial({
    id: start.nodeId,
    spec: { role: NodeRole.MANAGER, availability },
    description: { hostname },
    status: {},
    managerStatus: {
      raftId,
      address: start.advertiseAddress,
      raftAddress: start.raftAdvertiseAddress,
    },
    certificateRole: NodeRole.MANAGER,
  });
}
