import { Channel } from '../../../shared/channel.ts';
import { isShoalError, messageOf } from '../../../shared/errors.ts';
import { imageSizes } from '../../image/sizes.ts';
import type { Image, ImageProgress } from '../../image/types.ts';
import type { EngineDeps } from '../deps.ts';
import { anyOf, booleanIn, type Filters, labelsMatch, parseFilters, valuesIn } from '../filters.ts';
import { type Call, empty, HttpError, isTrue, json, notSupported, type Reply } from '../http.ts';
import { progressBar } from '../json/human.ts';
import { historyJson, imageJson, imageSummaryJson, unixSeconds } from '../json/image.ts';
import { primed } from '../primed.ts';
import { registryAuth } from '../registry-auth.ts';
import type { Route } from '../router.ts';
import { withDeadline } from './common.ts';

const IMAGE_FILTERS = ['dangling', 'label', 'reference', 'before', 'since', 'until'];
/** Lines that a slow reader may be behind; progress beyond that is dropped, results are not. */
const QUEUED_LINES = 512;
/** The CLI asks the registry before each service create and goes on without an answer. */
const RESOLVE_MS = 3000;

export function imageRoutes(deps: EngineDeps): Route[] {
  return [
    ['GET /images/json', (call) => list(deps, call)],
    ['POST /images/create', (call) => create(deps, call)],
    ['POST /images/load', (call) => load(deps, call)],
    ['GET /images/get', (call) => save(deps, call, call.query.getAll('names'))],
    [
      'GET /images/search',
      () => {
        throw notSupported('searching a registry (docker search)');
      },
    ],
    ['GET /images/{name*}/get', (call) => save(deps, call, [call.params.name ?? ''])],
    [
      'GET /images/{name*}/json',
      async ({ params }) => json(imageJson(await deps.images.get(params.name ?? ''))),
    ],
    [
      'GET /images/{name*}/history',
      async ({ params }) => json(historyJson(await deps.images.get(params.name ?? ''))),
    ],
    ['POST /images/{name*}/tag', (call) => tag(deps, call)],
    [
      'POST /images/{name*}/push',
      () => {
        throw notSupported('pushing images (docker push)');
      },
    ],
    ['DELETE /images/{name*}', (call) => remove(deps, call)],
    ['GET /distribution/{name*}/json', (call) => distribution(deps, call)],
  ];
}

async function list(deps: EngineDeps, call: Call): Promise<Reply> {
  const filters = parseFilters(call.query, IMAGE_FILTERS);
  const images = await deps.images.list();
  const limitOf = async (name: string) => {
    const [value] = valuesIn(filters, name);
    return value === undefined ? undefined : unixSeconds((await deps.images.get(value)).createdAt);
  };
  const before = await limitOf('before');
  const since = await limitOf('since');
  const sizes = isTrue(call.query.get('shared-size')) ? imageSizes(images) : undefined;
  const shown = images
    .filter(
      (image) =>
        matches(filters, image) &&
        (before === undefined || unixSeconds(image.createdAt) < before) &&
        (since === undefined || unixSeconds(image.createdAt) > since),
    )
    .map((image) => ({
      ...imageSummaryJson(image, -1),
      ...(sizes && { SharedSize: sizes.sharedBytes.get(image.id) ?? 0 }),
    }))
    .sort((a, b) => b.Created - a.Created);
  return json(call.api >= 43 ? shown : shown.map(withNoneNames));
}

/** Before API 1.43 an image without names had these for them. */
function withNoneNames(image: ReturnType<typeof imageSummaryJson>) {
  return {
    ...image,
    RepoTags: image.RepoTags.length > 0 ? image.RepoTags : ['<none>:<none>'],
    RepoDigests: image.RepoDigests.length > 0 ? image.RepoDigests : ['<none>@<none>'],
    VirtualSize: image.Size,
  };
}

function matches(filters: Filters, image: Image): boolean {
  const dangling = booleanIn(filters, 'dangling');
  return (
    (dangling === undefined || dangling === (image.tags.length === 0)) &&
    labelsMatch(filters, image.config.labels) &&
    anyOf(filters, 'reference', (pattern) => image.tags.some((name) => isLike(pattern, name)))
  );
}

/** `*` and `?` as in file names, against `name:tag` and against the name alone. */
export function isLike(pattern: string, name: string): boolean {
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replace(/\*/g, '[^/]*')
    .replace(/\?/g, '[^/]');
  const expression = new RegExp(`^${source}$`);
  return expression.test(name) || expression.test(name.replace(/:[^:/]*$/, ''));
}

async function create(deps: EngineDeps, call: Call): Promise<Reply> {
  const source = call.query.get('fromSrc') ?? '';
  if (source !== '') return importImage(deps, call, source);
  const name = call.query.get('fromImage') ?? '';
  if (name === '') throw new HttpError(400, 'fromImage or fromSrc is required');
  const tagOrDigest = call.query.get('tag') ?? '';
  const separator = tagOrDigest.includes(':') ? '@' : ':';
  const reference = tagOrDigest === '' ? name : `${name}${separator}${tagOrDigest}`;
  return pull(deps, call, reference);
}

async function pull(deps: EngineDeps, call: Call, reference: string): Promise<Reply> {
  const auth = registryAuth(call.headers['x-registry-auth']);
  const platform = call.query.get('platform') ?? '';
  const lines = new Channel<ImageProgress>(QUEUED_LINES, call.signal);
  deps.images
    .pull(reference, {
      ...(auth && { auth }),
      ...(platform !== '' && { platform }),
      onProgress: (line) => lines.offer(line),
      signal: call.signal,
    })
    .then(
      (image) => {
        deps.events.publish({
          type: 'image',
          action: 'pull',
          actorId: reference,
          attributes: { ...image.config.labels, name: reference },
        });
        lines.close();
      },
      (error: unknown) => lines.fail(error),
    );
  const chunks = await primed(lines).catch((error: unknown) => {
    throw pullError(error);
  });
  return progress(progressLines(chunks));
}

/** A registry that is away is the server's error: a client must not take it for "ask again, not a manager". */
function pullError(error: unknown): unknown {
  if (isShoalError(error, 'unavailable')) {
    return new HttpError(500, error.message, { cause: error });
  }
  return error;
}

async function* progressLines(lines: AsyncIterable<ImageProgress>): AsyncGenerator<string> {
  for await (const { id, status, current, total } of lines) {
    yield line({
      status,
      ...(current !== undefined && {
        progressDetail: { current, ...(total !== undefined && { total }) },
        progress: progressBar(current, total ?? 0),
      }),
      ...(id !== undefined && { id }),
    });
  }
}

const line = (value: unknown) => `${JSON.stringify(value)}\r\n`;

/** What goes wrong after the answer has begun is its last line. */
async function* withLastError(lines: AsyncIterable<string>): AsyncGenerator<string> {
  try {
    yield* lines;
  } catch (error) {
    yield line({ errorDetail: { message: messageOf(error) }, error: messageOf(error) });
  }
}

function progress(lines: AsyncIterable<string>): Reply {
  return {
    kind: 'stream',
    status: 200,
    contentType: 'application/json',
    chunks: withLastError(lines),
  };
}

async function importImage(deps: EngineDeps, call: Call, source: string): Promise<Reply> {
  if (source !== '-') throw notSupported('import from a URL; download it and pipe it in');
  const repository = familiar(call.query.get('repo') ?? '');
  const tagName = call.query.get('tag') ?? '';
  const named = tagName === '' ? repository : `${repository}:${tagName}`;
  const image = await deps.images.import(call.body(), {
    reference: repository === '' ? undefined : named,
    message: call.query.get('message') ?? '',
    changes: call.query.getAll('changes').filter((change) => change !== ''),
    signal: call.signal,
  });
  deps.events.publish({ type: 'image', action: 'import', actorId: image.id });
  return progress(one(line({ status: image.id })));
}

async function load(deps: EngineDeps, call: Call): Promise<Reply> {
  const loaded = await deps.images.load(call.body(), call.signal);
  for (const name of loaded) {
    deps.events.publish({ type: 'image', action: 'load', actorId: name, attributes: { name } });
  }
  const text = loaded.map((name) =>
    line({ stream: `Loaded image${name.startsWith('sha256:') ? ' ID' : ''}: ${name}\n` }),
  );
  return progress(one(text.join('')));
}

async function* one(text: string): AsyncGenerator<string> {
  if (text !== '') yield text;
}

async function save(deps: EngineDeps, call: Call, names: readonly string[]): Promise<Reply> {
  const wanted = names.flatMap((name) => name.split(',')).filter((name) => name !== '');
  if (wanted.length === 0) throw new HttpError(400, 'no image names given');
  const chunks = await primed(deps.images.save(wanted, call.signal));
  return { kind: 'stream', status: 200, contentType: 'application/x-tar', chunks };
}

async function tag(deps: EngineDeps, call: Call): Promise<Reply> {
  const name = call.params.name ?? '';
  const repository = familiar(call.query.get('repo') ?? '');
  if (repository === '') throw new HttpError(400, 'repo is required');
  const target = `${repository}:${call.query.get('tag') || 'latest'}`;
  await deps.images.tag(name, target);
  const { id } = await deps.images.get(target);
  deps.events.publish({ type: 'image', action: 'tag', actorId: id, attributes: { name: target } });
  return empty(201);
}

async function remove(deps: EngineDeps, call: Call): Promise<Reply> {
  const removed = await deps.images.remove(call.params.name ?? '', {
    force: isTrue(call.query.get('force')),
    inUse: await userOf(deps),
  });
  publishRemoved(deps, removed);
  return json(removedJson(removed));
}

/** Tells by which container (12 characters of its id) an image is used. */
export async function userOf(deps: EngineDeps): Promise<(imageId: string) => string | undefined> {
  const containers = await deps.runtime.list();
  const users = new Map(containers.map(({ config }) => [config.imageId, config.id.slice(0, 12)]));
  return (imageId) => users.get(imageId);
}

export type Removed = Awaited<ReturnType<EngineDeps['images']['remove']>>;

export function removedJson(removed: Removed) {
  return removed.map(({ untagged, deleted }) => ({
    ...(untagged !== undefined && { Untagged: untagged }),
    ...(deleted !== undefined && { Deleted: deleted }),
  }));
}

export function publishRemoved(deps: EngineDeps, removed: Removed): void {
  for (const { untagged, deleted } of removed) {
    const action = untagged === undefined ? 'delete' : 'untag';
    const name = untagged ?? deleted ?? '';
    deps.events.publish({ type: 'image', action, actorId: name, attributes: { name } });
  }
}

async function distribution(deps: EngineDeps, call: Call): Promise<Reply> {
  const auth = registryAuth(call.headers['x-registry-auth']);
  const found = await withDeadline(deps.clock, RESOLVE_MS, call.signal, (signal) =>
    deps.images.resolve(call.params.name ?? '', auth, signal),
  ).catch((error: unknown) => {
    throw pullError(error);
  });
  return json({
    Descriptor: { mediaType: found.mediaType, digest: found.digest, size: found.sizeBytes },
    Platforms: found.platforms.map(({ architecture, os }) => ({ architecture, os })),
  });
}

/** The CLI sends `docker.io/library/x` where it was told `x`. */
function familiar(repository: string): string {
  return repository.replace(/^docker\.io\/(library\/)?/, '');
}
