import {
  type Node,
  NodeAvailability,
  type NodeDescription,
  NodeRole,
  type NodeSpec,
  NodeState,
} from '../../../shared/gen/shoal/v1/objects.ts';
import { type Codec, sparse, struct, text, textMap, words } from '../codec.ts';
import { metaFields } from './meta.ts';
import { platform, resources } from './task-spec.ts';

export const availability: Codec<NodeAvailability> = words<NodeAvailability>({
  active: NodeAvailability.ACTIVE,
  pause: NodeAvailability.PAUSE,
  drain: NodeAvailability.DRAIN,
});

export const role: Codec<NodeRole> = words<NodeRole>({
  worker: NodeRole.WORKER,
  manager: NodeRole.MANAGER,
});

const state = words<NodeState>({
  unknown: NodeState.UNKNOWN,
  down: NodeState.DOWN,
  ready: NodeState.READY,
  disconnected: NodeState.DISCONNECTED,
});

export const nodeSpec: Codec<NodeSpec> = struct<NodeSpec>({
  name: ['Name', sparse(text)],
  labels: ['Labels', textMap],
  role: ['Role', role],
  availability: ['Availability', availability],
});

/** What `docker node ls` compares between the cluster and each node to say "Ready". */
export type TlsInfo = Readonly<{
  TrustRoot: string;
  CertIssuerSubject: string;
  CertIssuerPublicKey: string;
}>;

/**
 * A node as `GET /nodes/{id}` shows it. `tls` is the cluster's; a node whose certificate has another
 * issuer than `issuer` shows none of it, so that the CLI says it needs rotation.
 */
export function nodeJson(node: Node, tls?: { info: TlsInfo; issuer: string }) {
  const manager = node.managerStatus;
  const description = node.description;
  return {
    ...metaFields(node),
    Spec: nodeSpec.encode(
      node.spec ?? { name: '', labels: {}, role: NodeRole.WORKER, availability: 0 },
    ),
    Description: {
      ...(description && descriptionJson(description)),
      ...(tls && { TLSInfo: tlsOf(node, tls) }),
    },
    Status: {
      State: state.encode(node.status?.state ?? NodeState.UNKNOWN),
      ...(node.status?.message && { Message: node.status.message }),
      Addr: node.status?.address ?? '',
    },
    ...(manager && {
      ManagerStatus: {
        ...(manager.leader && { Leader: true }),
        Reachability: manager.reachable ? 'reachable' : 'unreachable',
        Addr: manager.address,
      },
    }),
  };
}

function tlsOf(node: Node, tls: { info: TlsInfo; issuer: string }): TlsInfo {
  if (node.certificateIssuer === '' || node.certificateIssuer === tls.issuer) return tls.info;
  return { TrustRoot: '', CertIssuerSubject: node.certificateIssuer, CertIssuerPublicKey: '' };
}

function descriptionJson(description: NodeDescription) {
  const { hostname, engineVersion, engineLabels, plugins } = description;
  return {
    Hostname: hostname,
    Platform: description.platform === undefined ? {} : platform.encode(description.platform),
    Resources: description.resources === undefined ? {} : resources.encode(description.resources),
    Engine: {
      ...(engineVersion !== '' && { EngineVersion: engineVersion }),
      ...(Object.keys(engineLabels).length > 0 && { Labels: engineLabels }),
      ...(plugins.length > 0 && { Plugins: plugins.map(pluginJson) }),
    },
  };
}

function pluginJson(plugin: string) {
  const slash = plugin.indexOf('/');
  return { Type: plugin.slice(0, Math.max(slash, 0)), Name: plugin.slice(slash + 1) };
}
