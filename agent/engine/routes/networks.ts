import { isShoalError } from '../../../shared/errors.ts';
import { Network, TaskState } from '../../../shared/gen/shoal/v1/objects.ts';
import type { Container } from '../../runtime/types.ts';
import type { EngineDeps } from '../deps.ts';
import { anyOf, booleanIn, type Filters, labelsMatch, parseFilters } from '../filters.ts';
import { type Call, empty, HttpError, isTrue, json, notSupported, type Reply } from '../http.ts';
import { endpointsOf } from '../json/container.ts';
import {
  type NetworkMember,
  networkCreate,
  networkJson,
  type PredefinedNetwork,
  predefinedJson,
  predefinedNetworks,
} from '../json/network.ts';
import { type NetworkUsers, networkServicesJson } from '../json/network-services.ts';
import type { Route } from '../router.ts';
import type { ControlClient } from '../types.ts';

const NETWORK_FILTERS = ['id', 'name', 'label', 'driver', 'scope', 'type', 'dangling'];

export function networkRoutes(deps: EngineDeps): Route[] {
  return [
    ['GET /networks', (call) => list(deps, call)],
    ['POST /networks/create', (call) => create(deps, call)],
    ['GET /networks/{id}', (call) => inspect(deps, call)],
    ['DELETE /networks/{id}', (call) => remove(deps, call)],
  ];
}

type NetworkView = ReturnType<typeof networkJson> | ReturnType<typeof predefinedJson>;

async function list(deps: EngineDeps, call: Call): Promise<Reply> {
  const filters = parseFilters(call.query, NETWORK_FILTERS);
  const control = deps.access.controlIfManager(call.reads);
  // Members are for inspect only: a list would have to go through all containers for each network.
  const overlays = (await control?.list('network', {}, call.signal))?.objects ?? [];
  const all: NetworkView[] = [
    ...predefinedNetworks.map((network) => predefinedJson(network, [], 'local')),
    ...overlays.map((network) => networkJson(network, [])),
  ];
  return json(all.filter((network) => matches(filters, network)));
}

function matches(filters: Filters, network: NetworkView): boolean {
  const isPredefined = predefinedNetworks.some(({ id }) => id === network.Id);
  // Docker's "dangling": made by someone and without containers on this host.
  const dangling = booleanIn(filters, 'dangling');
  return (
    anyOf(filters, 'id', (id) => network.Id.startsWith(id)) &&
    anyOf(filters, 'name', (part) => network.Name.includes(part)) &&
    anyOf(filters, 'driver', (driver) => network.Driver === driver) &&
    anyOf(filters, 'scope', (scope) => network.Scope === scope) &&
    anyOf(filters, 'type', (type) => type === (isPredefined ? 'builtin' : 'custom')) &&
    (dangling === undefined || dangling === !isPredefined) &&
    labelsMatch(filters, network.Labels)
  );
}

async function inspect(deps: EngineDeps, call: Call): Promise<Reply> {
  const name = call.params.id ?? '';
  const scope = call.query.get('scope') ?? '';
  const predefined = findPredefined(name);
  // Services may use host and bridge; "none" is for standalone containers only.
  if (predefined !== undefined && (scope !== 'swarm' || predefined.name !== 'none')) {
    const members = membersOf(await deps.runtime.list(), predefined);
    return json(predefinedJson(predefined, members, scope === 'swarm' ? 'swarm' : 'local'));
  }
  const control = scope === 'local' ? undefined : deps.access.controlIfManager(call.reads);
  if (control === undefined) throw notFound(name);
  const network = await control.get('network', name, call.signal).catch((error: unknown) => {
    throw error instanceof HttpError && error.status === 404 ? notFound(name) : error;
  });
  const members = membersOn(await deps.runtime.list(), network.id);
  const shown = networkJson(network, members);
  if (!isTrue(call.query.get('verbose'))) return json(shown);
  const users = await usersOf(control, network.id, call.signal);
  return json({ ...shown, ...networkServicesJson(network.id, users) });
}

/** Services on the network with their running tasks: all of the cluster, so for the verbose view only. */
async function usersOf(
  control: ControlClient,
  networkId: string,
  signal: AbortSignal,
): Promise<NetworkUsers> {
  const [listed, nodes] = await Promise.all([
    control.list('service', {}, signal),
    control.list('node', {}, signal),
  ]);
  const services = listed.objects.filter(
    ({ spec, endpoint }) =>
      endpoint?.virtualIps.some((vip) => vip.networkId === networkId) ||
      spec?.task?.networks.some(({ target }) => target === networkId),
  );
  const serviceIds = services.map(({ id }) => id);
  const tasks =
    serviceIds.length === 0 ? [] : (await control.list('task', { serviceIds }, signal)).objects;
  const running = tasks.filter(({ status }) => status?.state === TaskState.RUNNING);
  return { services, tasks: running, nodes: nodes.objects };
}

async function create(deps: EngineDeps, call: Call): Promise<Reply> {
  const spec = networkCreate.decode(await call.json(), '');
  if (spec.driver !== 'overlay') {
    throw notSupported(
      `networks with driver "${spec.driver || 'bridge'}"; use --driver overlay, whose networks all hosts share`,
    );
  }
  if (findPredefined(spec.name) !== undefined) {
    throw new HttpError(403, `operation is not permitted on predefined ${spec.name} network`);
  }
  const created = await deps.access
    .control()
    .create({ kind: { $case: 'network', value: Network.fromPartial({ spec }) } })
    .catch((error: unknown) => {
      // Docker tells a taken name in the words of its own networks, not in the control plane's.
      if (error instanceof HttpError && isShoalError(error.cause, 'already-exists')) {
        throw new HttpError(409, `network with name ${spec.name} already exists`, { cause: error });
      }
      throw error;
    });
  return json({ Id: created.kind?.value.id ?? '', Warning: '' }, 201);
}

async function remove(deps: EngineDeps, call: Call): Promise<Reply> {
  const name = call.params.id ?? '';
  const predefined = findPredefined(name);
  if (predefined !== undefined) {
    throw new HttpError(403, `${predefined.name} is a pre-defined network and cannot be removed`);
  }
  const control = deps.access.control();
  const { id } = await control.get('network', name);
  await control.remove('network', id, false);
  return empty(204);
}

function findPredefined(name: string): PredefinedNetwork | undefined {
  return predefinedNetworks.find(
    (network) => network.name === name || (name.length >= 4 && network.id.startsWith(name)),
  );
}

function notFound(name: string): HttpError {
  return new HttpError(404, `network ${name} not found`);
}

/** Containers of this host on an overlay. */
function membersOn(containers: readonly Container[], networkId: string): NetworkMember[] {
  return containers.flatMap(({ config, state }) =>
    state.status !== 'running'
      ? []
      : endpointsOf(config.network)
          .filter((endpoint) => endpoint.networkId === networkId)
          .map((endpoint) => ({
            containerId: config.id,
            name: config.name,
            endpointId: config.id,
            macAddress: endpoint.macAddress,
            address: endpoint.address,
          })),
  );
}

function membersOf(containers: readonly Container[], network: PredefinedNetwork): NetworkMember[] {
  return containers
    .filter(
      ({ config, state }) => state.status === 'running' && config.network.mode === network.name,
    )
    .map(({ config }) => ({
      containerId: config.id,
      name: config.name,
      endpointId: config.id,
      macAddress: '',
      address: '',
    }));
}
