import type { NetworkView } from '../../../../agent/network/types.ts';
import { Endpoint, Host, ServiceVip } from '../../../../shared/gen/shoal/v1/dispatcher.ts';
import { Network } from '../../../../shared/gen/shoal/v1/objects.ts';

/** A view as JSON, in few words. */
export type PlainView = {
  revision: number;
  networks: {
    id: string;
    name: string;
    vni: number;
    subnet: string;
    internal?: boolean;
    ingress?: boolean;
    options?: Record<string, string>;
  }[];
  hosts: { id: string; address: string; mtu?: number }[];
  services: {
    id: string;
    name: string;
    network: string;
    vip?: string;
    aliases?: string[];
    hold?: boolean;
    ports?: [published: number, target: number, protocol: string][];
    tasks: { id: string; node: string; address: string; ready?: boolean; name?: string }[];
  }[];
};

export function decodeView(plain: PlainView, nodeId: string): NetworkView {
  const networks = plain.networks.map((network) =>
    Network.fromPartial({
      id: network.id,
      vni: network.vni,
      ipam: [{ subnet: network.subnet }],
      spec: {
        name: network.name,
        driver: 'overlay',
        internal: network.internal ?? false,
        ingress: network.ingress ?? false,
        driverOptions: network.options ?? {},
      },
    }),
  );
  const vips = plain.services.map((service) =>
    ServiceVip.fromPartial({
      networkId: service.network,
      serviceId: service.id,
      serviceName: service.name,
      address: service.vip ?? '',
      aliases: service.aliases ?? [],
      hold: service.hold ?? false,
      ports: (service.ports ?? []).map(([publishedPort, targetPort, protocol]) => ({
        publishedPort,
        targetPort,
        protocol,
        publishMode: 'ingress',
      })),
    }),
  );
  const endpoints = plain.services.flatMap((service) =>
    service.tasks.map((task, index) =>
      Endpoint.fromPartial({
        networkId: service.network,
        taskId: task.id,
        serviceId: service.id,
        nodeId: task.node,
        address: task.address,
        name: task.name ?? `${service.name}.${index + 1}.${task.id}`,
        ready: task.ready ?? true,
      }),
    ),
  );
  const hosts = plain.hosts.map((host) =>
    Host.fromPartial({
      nodeId: host.id,
      hostname: host.id,
      dataPathAddress: host.address,
      overlayMtu: host.mtu ?? 1450,
    }),
  );
  return {
    revision: plain.revision,
    nodeId,
    dataPathPort: 4789,
    networks: new Map(networks.map((network) => [network.id, network])),
    vips: new Map(vips.map((vip) => [`${vip.networkId}/${vip.serviceId}`, vip])),
    endpoints: new Map(endpoints.map((e) => [`${e.networkId}/${e.taskId}`, e])),
    hosts: new Map(hosts.map((host) => [host.nodeId, host])),
  };
}
