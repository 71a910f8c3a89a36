import type { ListRequest } from '../../../shared/gen/shoal/v1/control.ts';
import { Node } from '../../../shared/gen/shoal/v1/objects.ts';
import type { EngineDeps } from '../deps.ts';
import { type Filters, parseFilters, valuesIn } from '../filters.ts';
import { type Call, empty, isTrue, json, type Reply } from '../http.ts';
import { clusterTls } from '../json/cluster.ts';
import { type ClusterTls, nodeJson, nodeSpec, role } from '../json/node.ts';
import type { Route } from '../router.ts';
import type { Reads } from '../types.ts';
import { versionOf } from './common.ts';

const NODE_FILTERS = ['id', 'label', 'node.label', 'membership', 'name', 'role'];
/** The root changes when it is rotated; pollers of `GET /nodes` come five times a second. */
const TLS_INFO_MS = 1000;

export function nodeRoutes(deps: EngineDeps): Route[] {
  const tls = rememberedTls(deps);
  return [
    ['GET /nodes', (call) => list(deps, call, tls)],
    [
      'GET /nodes/{id}',
      async ({ params, signal, reads }) => {
        const node = await deps.access.control(reads).get('node', params.id ?? '', signal);
        return json(nodeJson(node, await tls(signal, reads)));
      },
    ],
    ['POST /nodes/{id}/update', (call) => update(deps, call)],
    ['DELETE /nodes/{id}', (call) => remove(deps, call)],
  ];
}

async function list(deps: EngineDeps, call: Call, tls: TlsReader): Promise<Reply> {
  const filters = parseFilters(call.query, NODE_FILTERS);
  const control = deps.access.control(call.reads);
  // Every node here is accepted: a join without a token is refused.
  const membership = valuesIn(filters, 'membership');
  if (membership.length > 0 && !membership.includes('accepted')) return json([]);
  const { objects } = await control.list('node', nodeListRequest(filters), call.signal);
  const shownTls = await tls(call.signal, call.reads);
  return json(objects.map((node) => nodeJson(node, shownTls)));
}

export function nodeListRequest(filters: Filters): Partial<ListRequest> {
  return {
    ids: valuesIn(filters, 'id'),
    names: valuesIn(filters, 'name'),
    labels: valuesIn(filters, 'label'),
    nodeLabels: valuesIn(filters, 'node.label'),
    roles: valuesIn(filters, 'role').map((word) => role.decode(word, 'filter role')),
  };
}

async function update(deps: EngineDeps, call: Call): Promise<Reply> {
  const spec = nodeSpec.decode(await call.json(), '');
  const version = versionOf(call, 'node');
  const control = deps.access.control();
  const { id } = await control.get('node', call.params.id ?? '');
  await control.update({
    id,
    version,
    object: { kind: { $case: 'node', value: Node.fromPartial({ id, spec }) } },
    rollback: false,
    registryAuthFrom: '',
  });
  return empty();
}

async function remove(deps: EngineDeps, call: Call): Promise<Reply> {
  const control = deps.access.control();
  const { id } = await control.get('node', call.params.id ?? '');
  await control.remove('node', id, isTrue(call.query.get('force')));
  return empty();
}

type TlsReader = (signal: AbortSignal, reads: Reads) => Promise<ClusterTls>;

/** The cluster's root as each node shows it, asked for at most once in a while. */
function rememberedTls(deps: EngineDeps): TlsReader {
  let known: { tls: ClusterTls; atMs: number } | undefined;
  return async (signal, reads) => {
    const nowMs = deps.clock.monotonicMs();
    if (known !== undefined && nowMs - known.atMs <= TLS_INFO_MS) return known.tls;
    const info = await deps.access.control(reads).getCluster(signal);
    const tls = {
      info: clusterTls(info.cluster),
      rootDigest: info.rootDigest,
      issuerDigest: info.signingRootDigest,
    };
    // A stale one may be of any age.
    if (!reads.stale) known = { tls, atMs: nowMs };
    return tls;
  };
}
