import type { IpamConfig, Network, NetworkSpec } from '../../../shared/gen/shoal/v1/objects.ts';
import {
  type Codec,
  fieldNotSupported,
  flag,
  list,
  maybe,
  sparse,
  struct,
  text,
  textMap,
  via,
} from '../codec.ts';
import { rfc3339, ZERO_TIME } from './meta.ts';

const ipamConfig: Codec<IpamConfig> = struct<IpamConfig>({
  subnet: ['Subnet', sparse(text)],
  range: ['IPRange', sparse(text)],
  gateway: ['Gateway', sparse(text)],
  auxAddresses: ['AuxiliaryAddresses', sparse(textMap)],
});

type WireIpam = { driver: string; config: IpamConfig[] };
type WireCreate = Omit<NetworkSpec, 'ipam'> & {
  scope: string;
  ipv4: boolean | undefined;
  ipam: WireIpam | undefined;
};

/** The body of `POST /networks/create`. */
export const networkCreate: Codec<NetworkSpec> = via(
  struct<WireCreate>(
    {
      name: ['Name', text],
      labels: ['Labels', textMap],
      driver: ['Driver', text],
      driverOptions: ['Options', textMap],
      scope: ['Scope', text],
      internal: ['Internal', flag],
      attachable: ['Attachable', flag],
      ingress: ['Ingress', flag],
      ipv4: ['EnableIPv4', maybe(flag)],
      ipv6: ['EnableIPv6', flag],
      ipam: [
        'IPAM',
        maybe(
          struct<WireIpam>({ driver: ['Driver', text], config: ['Config', list(ipamConfig)] }, [
            'Options',
          ]),
        ),
      ],
    },
    ['ConfigOnly', 'ConfigFrom'],
  ),
  ({ scope, ipv4, ipam, ...spec }) => {
    if (ipv4 === false) throw fieldNotSupported('EnableIPv4: false (networks without IPv4)');
    if (ipam !== undefined && ipam.driver !== '' && ipam.driver !== 'default') {
      throw fieldNotSupported(`IPAM.Driver "${ipam.driver}"`);
    }
    if (scope !== '' && scope !== 'swarm') throw fieldNotSupported(`networks of scope "${scope}"`);
    return { ...spec, ipam: ipam?.config ?? [] };
  },
  ({ ipam, ...spec }) => ({
    ...spec,
    scope: 'swarm',
    ipv4: true,
    ipam: { driver: 'default', config: ipam },
  }),
);

/** One container's end on a network, as inspect shows it. */
export type NetworkMember = Readonly<{
  containerId: string;
  name: string;
  endpointId: string;
  macAddress: string;
  address: string;
}>;

/** An overlay network as `GET /networks/{id}` shows it, with the members on this host. */
export function networkJson(network: Network, members: readonly NetworkMember[]) {
  const spec = network.spec;
  // What was allocated; before that, what was asked for.
  const ipam = network.ipam.length > 0 ? network.ipam : (spec?.ipam ?? []);
  return {
    Name: spec?.name ?? '',
    Id: network.id,
    Created: rfc3339(network.meta?.createdAtMs ?? 0),
    Scope: 'swarm',
    Driver: spec?.driver || 'overlay',
    EnableIPv4: true,
    EnableIPv6: spec?.ipv6 ?? false,
    IPAM: { Driver: 'default', Options: null, Config: ipam.map((one) => ipamConfig.encode(one)) },
    Internal: spec?.internal ?? false,
    Attachable: spec?.attachable ?? false,
    Ingress: spec?.ingress ?? false,
    ConfigFrom: { Network: '' },
    ConfigOnly: false,
    Containers: Object.fromEntries(
      members.map((member) => [member.containerId, memberJson(member)]),
    ),
    Options: {
      ...spec?.driverOptions,
      ...(network.vni > 0 && {
        'com.docker.network.driver.overlay.vxlanid_list': String(network.vni),
      }),
    },
    Labels: spec?.labels ?? {},
    ...(network.allocationError !== '' && { AllocationError: network.allocationError }),
  };
}

function memberJson(member: NetworkMember) {
  return {
    Name: member.name,
    EndpointID: member.endpointId,
    MacAddress: member.macAddress,
    IPv4Address: member.address,
    IPv6Address: '',
  };
}

/** The spec inside a task's attachments, in the form of the swarm part of the API. */
export function swarmNetworkSpecJson(network: Network) {
  const spec = network.spec;
  return {
    Name: spec?.name ?? '',
    Labels: spec?.labels ?? {},
    DriverConfiguration: { Name: spec?.driver || 'overlay', Options: spec?.driverOptions ?? {} },
    ...(spec?.internal && { Internal: true }),
    ...(spec?.attachable && { Attachable: true }),
    ...(spec?.ingress && { Ingress: true }),
    IPAMOptions: {
      Driver: { Name: 'default' },
      Configs: (spec?.ipam ?? []).map((one) => ipamConfig.encode(one)),
    },
    Scope: 'swarm',
  };
}

/**
 * The networks that each host has without anyone creating them. Containers here have a network
 * namespace of their own (overlays), the host's, or an empty one; the bridge is shown because
 * clients look for it, and nothing is attached to it.
 */
const PREDEFINED = [
  { name: 'bridge', id: 'b1'.repeat(32), driver: 'bridge' },
  { name: 'host', id: 'b2'.repeat(32), driver: 'host' },
  { name: 'none', id: 'b3'.repeat(32), driver: 'null' },
] as const;

export type PredefinedNetwork = (typeof PREDEFINED)[number];
export const predefinedNetworks: readonly PredefinedNetwork[] = PREDEFINED;

/**
 * `scope` swarm is what services refer to (`--network host`): there the name is the id, the same on
 * every host.
 */
export function predefinedJson(
  network: PredefinedNetwork,
  members: readonly NetworkMember[],
  scope: 'local' | 'swarm',
) {
  return {
    Name: network.name,
    Id: scope === 'swarm' ? network.name : network.id,
    Created: ZERO_TIME,
    Scope: scope,
    Driver: network.driver,
    EnableIPv4: true,
    EnableIPv6: false,
    IPAM: { Driver: 'default', Options: null, Config: [] },
    Internal: false,
    Attachable: false,
    Ingress: false,
    ConfigFrom: { Network: '' },
    ConfigOnly: false,
    Containers: Object.fromEntries(
      members.map((member) => [member.containerId, memberJson(member)]),
    ),
    Options: {},
    Labels: {},
  };
}
