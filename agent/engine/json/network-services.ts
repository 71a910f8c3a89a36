import type { Node, Service, Task } from '../../../shared/gen/shoal/v1/objects.ts';
import { withoutPrefix } from '../../../shared/model/cidr.ts';
import { taskName } from '../../../shared/model/task-name.ts';

/** Everything that is needed to show who is on a network, whichever host asks. */
export type NetworkUsers = Readonly<{
  services: readonly Service[];
  tasks: readonly Task[];
  nodes: readonly Node[];
}>;

/** What `docker network inspect --verbose` shows of a cluster's network beside the containers of this host. */
export function networkServicesJson(networkId: string, { services, tasks, nodes }: NetworkUsers) {
  const addressOf = new Map(nodes.map((node) => [node.id, node.status?.address ?? '']));
  const shown = services.map((service) => {
    const vip = service.endpoint?.virtualIps.find((each) => each.networkId === networkId);
    const own = tasks.flatMap((task) => {
      const attachment = task.networks.find((each) => each.networkId === networkId);
      if (task.serviceId !== service.id || attachment === undefined) return [];
      return [
        {
          Name: taskName(task),
          EndpointID: task.id,
          EndpointIP: withoutPrefix(attachment.addresses[0] ?? ''),
          Info: { 'Host IP': addressOf.get(task.nodeId) ?? '' },
        },
      ];
    });
    const view = {
      VIP: withoutPrefix(vip?.address ?? ''),
      Ports: [],
      LocalLBIndex: 0,
      Tasks: own,
    };
    return [service.spec?.name ?? service.id, view] as const;
  });
  const hosts = new Set(shown.flatMap(([, { Tasks }]) => Tasks.map(({ Info }) => Info['Host IP'])));
  const peers = nodes.flatMap((node) => {
    const address = addressOf.get(node.id) ?? '';
    return hosts.has(address) ? [{ Name: node.id.slice(0, 12), IP: address }] : [];
  });
  return { Peers: peers, Services: Object.fromEntries(shown) };
}
