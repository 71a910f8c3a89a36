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

/** The cluster's: what it shows, and digests of the root that is trusted and of the one that signs. */
export type ClusterTls = Readonly<{ info: TlsInfo; rootDigest: string; issuerDigest: string }>;

/** A node as `GET /nodes/{id}` shows it. */
export function nodeJson(node: Node, tls?: ClusterTls) {
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

/**
 * The node's own material as it reports it, in the cluster's terms where it is the cluster's: the CLI compares the
 * two to say "Ready" or "Needs Rotation", and counts the nodes that follow a rotation. Empty when it reported none.
 * Of a node that is down, once a rotation is over: the cluster's, by which it comes back. `docker swarm ca --rotate`
 * waits until all nodes show it, and would wait for one that no rotation waits for.
 */
function tlsOf(node: Node, { info, rootDigest, issuerDigest }: ClusterTls): TlsInfo {
  if (node.status?.state === NodeState.DOWN && rootDigest === issuerDigest) return info;
  const own = node.description?.tls;
  if (own === undefined) return { TrustRoot: '', CertIssuerSubject: '', CertIssuerPublicKey: '' };
  const trustsOnly = own.rootDigests.length === 1 && own.rootDigests[0] === rootDigest;
  const TrustRoot = trustsOnly ? info.TrustRoot : '';
  if (own.issuerDigest === issuerDigest) return { ...info, TrustRoot };
  const other = Buffer.from(own.issuerDigest).toString('base64');
  return { TrustRoot, CertIssuerSubject: other, CertIssuerPublicKey: '' };
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
