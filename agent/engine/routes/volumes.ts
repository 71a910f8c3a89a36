import type { Container } from '../../runtime/types.ts';
import { struct, text, textMap } from '../codec.ts';
import type { EngineDeps } from '../deps.ts';
import { anyOf, booleanIn, labelsMatch, parseFilters } from '../filters.ts';
import { type Call, empty, isTrue, json, type Reply } from '../http.ts';
import { volumeJson } from '../json/volume.ts';
import type { Route } from '../router.ts';

const volumeCreate = struct<{
  name: string;
  driver: string;
  labels: { [key: string]: string };
}>({ name: ['Name', text], driver: ['Driver', text], labels: ['Labels', textMap] }, [
  'DriverOpts',
  'ClusterVolumeSpec',
]);

export function volumeRoutes(deps: EngineDeps): Route[] {
  return [
    ['GET /volumes', (call) => list(deps, call)],
    ['POST /volumes/create', (call) => create(deps, call)],
    [
      'GET /volumes/{name}',
      async ({ params }) => json(volumeJson(await deps.volumes.get(params.name ?? ''))),
    ],
    ['DELETE /volumes/{name}', (call) => remove(deps, call)],
  ];
}

/** Ids of the containers that hold a volume, running or not. */
export function volumeUsers(containers: readonly Container[], name: string): string[] {
  return containers
    .filter(({ config }) => config.mounts.some((m) => m.type === 'volume' && m.name === name))
    .map(({ config }) => config.id);
}

async function list(deps: EngineDeps, call: Call): Promise<Reply> {
  const filters = parseFilters(call.query, ['name', 'label', 'driver', 'dangling']);
  const dangling = booleanIn(filters, 'dangling');
  const containers = dangling === undefined ? [] : await deps.runtime.list();
  const volumes = (await deps.volumes.list()).filter(
    (volume) =>
      anyOf(filters, 'name', (part) => volume.name.includes(part)) &&
      anyOf(filters, 'driver', (driver) => volume.driver === driver) &&
      labelsMatch(filters, volume.labels) &&
      (dangling === undefined || dangling === (volumeUsers(containers, volume.name).length === 0)),
  );
  return json({ Volumes: volumes.map(volumeJson), Warnings: null });
}

async function create(deps: EngineDeps, call: Call): Promise<Reply> {
  const wanted = volumeCreate.decode(await call.json(), '');
  const volume = await deps.volumes.ensure(wanted.name, wanted);
  deps.events.publish({
    type: 'volume',
    action: 'create',
    actorId: volume.name,
    attributes: { driver: volume.driver },
  });
  return json(volumeJson(volume), 201);
}

async function remove(deps: EngineDeps, call: Call): Promise<Reply> {
  const name = call.params.name ?? '';
  const users = volumeUsers(await deps.runtime.list(), name);
  await deps.volumes.remove(name, { force: isTrue(call.query.get('force')), users });
  deps.events.publish({
    type: 'volume',
    action: 'destroy',
    actorId: name,
    attributes: { driver: 'local' },
  });
  return empty(204);
}
