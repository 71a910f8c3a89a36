import { ShoalError } from '../../../shared/errors.ts';
import { imageSizes } from '../../image/sizes.ts';
import { containerEvent } from '../container-events.ts';
import type { EngineDeps } from '../deps.ts';
import { booleanIn, type Filters, labelsMatch, parseFilters, valuesIn } from '../filters.ts';
import { type Call, HttpError, json, type Reply } from '../http.ts';
import type { Route } from '../router.ts';
import { parseTime } from '../times.ts';
import { publishRemoved, type Removed, removedJson, userOf } from './images.ts';
import { volumeUsers } from './volumes.ts';

/** Takes away what nothing uses. Each item stands for itself: one that is used by now is left. */
export function pruneRoutes(deps: EngineDeps): Route[] {
  return [
    ['POST /containers/prune', (call) => pruneContainers(deps, call)],
    ['POST /images/prune', (call) => pruneImages(deps, call)],
    ['POST /volumes/prune', (call) => pruneVolumes(deps, call)],
    ['POST /networks/prune', (call) => pruneNetworks(deps, call)],
    // Nothing is built here, so there is no cache; `docker system prune` asks all the same.
    ['POST /build/prune', () => json({ CachesDeleted: [], SpaceReclaimed: 0 })],
  ];
}

type Labels = Readonly<Record<string, string>>;
type Wanted = (labels: Labels, createdAtMs: number) => boolean;

const COMMON_FILTERS = ['label', 'label!', 'until'];

/** `until` takes what was made before a time; `label!` leaves what has any of the labels. */
function wantedBy(filters: Filters, nowMs: number): Wanted {
  const untils = valuesIn(filters, 'until');
  if (untils.length > 1) throw new HttpError(400, 'more than one until filter specified');
  const untilMs = parseTime('until', untils[0] ?? null, nowMs) ?? Number.POSITIVE_INFINITY;
  const refused = valuesIn(filters, 'label!').map((label) => new Map([['label', [label]]]));
  return (labels, createdAtMs) =>
    createdAtMs <= untilMs &&
    labelsMatch(filters, labels) &&
    !refused.some((one) => labelsMatch(one, labels));
}

/** Containers that have ended; one that is only made is a task's, which is about to start it. */
async function pruneContainers(deps: EngineDeps, call: Call): Promise<Reply> {
  const { runtime, events, clock } = deps;
  const isWanted = wantedBy(parseFilters(call.query, COMMON_FILTERS), clock.now());
  const removed: string[] = [];
  let reclaimedBytes = 0;
  for (const { config, state } of await runtime.list()) {
    const isOver = state.status === 'exited' || state.status === 'dead';
    if (!isOver || !isWanted(config.labels, config.createdAtMs)) continue;
    await unlessUsed(deps, config.id, async () => {
      const bytes = await runtime.writtenBytes(config.id);
      await runtime.remove(config.id, { force: false });
      events.publish(containerEvent(config, 'destroy'));
      removed.push(config.id);
      reclaimedBytes += bytes;
    });
  }
  return answer(deps, 'container', 'ContainersDeleted', removed, reclaimedBytes);
}

/** Without a filter only images that have no name; `dangling=false`: all that no container uses. */
async function pruneImages(deps: EngineDeps, call: Call): Promise<Reply> {
  const { runtime, images, clock } = deps;
  const filters = parseFilters(call.query, [...COMMON_FILTERS, 'dangling']);
  const isWanted = wantedBy(filters, clock.now());
  const onlyDangling = booleanIn(filters, 'dangling') ?? true;
  const used = new Set((await runtime.list()).map(({ config }) => config.imageId));
  const inUse = await userOf(deps);
  const before = await images.list();
  const removed: Removed[number][] = [];
  for (const image of before) {
    if (used.has(image.id) || (onlyDangling && image.tags.length > 0)) continue;
    if (!isWanted(image.config.labels, Date.parse(image.createdAt) || 0)) continue;
    await unlessUsed(deps, image.id, async () => {
      removed.push(...(await images.remove(image.id, { force: true, inUse })));
    });
  }
  publishRemoved(deps, removed);
  const left = new Set((await images.list()).map(({ id }) => id));
  const kept = before.filter(({ id }) => left.has(id));
  const bytes = imageSizes(before).totalBytes - imageSizes(kept).totalBytes;
  return answer(deps, 'image', 'ImagesDeleted', removedJson(removed), bytes);
}

/** Volumes that no container has: since API 1.42 those without a name, unless all are asked for. */
async function pruneVolumes(deps: EngineDeps, call: Call): Promise<Reply> {
  const { runtime, volumes, events, clock } = deps;
  const filters = parseFilters(call.query, ['label', 'label!', 'all']);
  const isWanted = wantedBy(filters, clock.now());
  const all = call.api < 42 || booleanIn(filters, 'all') === true;
  const containers = await runtime.list();
  const removed: string[] = [];
  let reclaimedBytes = 0;
  for (const volume of await volumes.list()) {
    const { name, labels, createdAtMs, anonymous } = volume;
    const users = volumeUsers(containers, name);
    if (users.length > 0 || !(all || anonymous) || !isWanted(labels, createdAtMs)) continue;
    await unlessUsed(deps, name, async () => {
      const bytes = await volumes.sizeBytes(name);
      await volumes.remove(name, { force: false, users });
      const attributes = { driver: volume.driver };
      events.publish({ type: 'volume', action: 'destroy', actorId: name, attributes });
      removed.push(name);
      reclaimedBytes += bytes;
    });
  }
  return answer(deps, 'volume', 'VolumesDeleted', removed, reclaimedBytes);
}

/** Networks of the cluster that no service and no task has; asked on a worker there are none. */
async function pruneNetworks(deps: EngineDeps, call: Call): Promise<Reply> {
  const isWanted = wantedBy(parseFilters(call.query, COMMON_FILTERS), deps.clock.now());
  const control = deps.access.controlIfManager();
  const networks = (await control?.list('network', {}, call.signal))?.objects ?? [];
  const removed: string[] = [];
  for (const { id, spec, meta } of networks) {
    if (spec === undefined || spec.ingress) continue;
    if (!isWanted(spec.labels, meta?.createdAtMs ?? 0)) continue;
    await unlessUsed(deps, id, async () => {
      await control?.remove('network', id, false);
      removed.push(spec.name);
    });
  }
  deps.events.publish({ type: 'network', action: 'prune', actorId: '' });
  return json({ NetworksDeleted: removed });
}

/** What is used, or was removed by another meanwhile, is none of a prune's business. */
async function unlessUsed(deps: EngineDeps, id: string, remove: () => Promise<void>) {
  try {
    await remove();
  } catch (error) {
    const cause = error instanceof HttpError ? error.cause : error;
    const isLeft =
      cause instanceof ShoalError &&
      (cause.code === 'failed-precondition' || cause.code === 'not-found');
    if (!isLeft) throw error;
    deps.log.debug('not pruned', { id, error: cause.message });
  }
}

function answer(
  { events }: EngineDeps,
  type: string,
  field: string,
  removed: readonly unknown[],
  reclaimedBytes: number,
): Reply {
  const attributes = { reclaimed: String(reclaimedBytes) };
  events.publish({ type, action: 'prune', actorId: '', attributes });
  return json({ [field]: removed, SpaceReclaimed: reclaimedBytes });
}
