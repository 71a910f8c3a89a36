import type { Clock } from '../../shared/clock.ts';
import { isShoalError, messageOf, ShoalError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { ContainerdClient } from '../runtime/io/containerd.ts';
import {
  danglingName,
  findImage,
  isDangling,
  type NamedImage,
  namesOf,
  noSuchImage,
  PULLED_LABEL,
  planRemoval,
} from './catalog.ts';
import { configLabels } from './gc-labels.ts';
import { ContentStore } from './io/content.ts';
import { hostArchitecture } from './io/host.ts';
import { type ImageContent, ImageStore } from './io/image-store.ts';
import { importRootfs } from './io/import.ts';
import { loadArchive } from './io/load.ts';
import { pullImage } from './io/pull.ts';
import { type RegistryOptions, Repository } from './io/registry.ts';
import { saveArchive } from './io/save.ts';
import {
  type Descriptor,
  isIndexDocument,
  type Platform,
  parseConfig,
  parseManifest,
  parsePlatform,
  toOci,
} from './manifest.ts';
import { familiarFull, familiarName, normalisedName, parseReference } from './reference.ts';
import { SharedWork } from './shared-work.ts';
import type { Image, ImageProgress, Images, RegistryAuth, RemovedImage } from './types.ts';

export type ImagesOptions = Readonly<{
  client: ContainerdClient;
  /** The same as the runtime's; default `overlayfs`. */
  snapshotter?: string;
  registries?: RegistryOptions;
  clock: Clock;
  log: Log;
}>;

/** How long names are believed without asking containerd. Our own changes are seen at once. */
const NAMES_FRESH_MS = 5_000;

type Catalog = Readonly<{
  named: readonly NamedImage[];
  contents: ReadonlyMap<string, ImageContent>;
}>;

/** Images of this host, in containerd's content store, snapshots and image names. */
export class ContainerdImages implements Images {
  readonly #store: ImageStore;
  readonly #registries: RegistryOptions;
  readonly #platform: Platform;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #pulls = new SharedWork<Image>();
  /** Images whose layers were seen to be unpacked. */
  readonly #unpacked = new Set<string>();
  #catalog: Promise<Catalog> | undefined;
  #catalogAtMs = 0;

  constructor(options: ImagesOptions) {
    const { client, snapshotter = 'overlayfs', registries = {}, clock, log } = options;
    this.#platform = { os: 'linux', architecture: toOci(hostArchitecture()) };
    const content = new ContentStore(client);
    this.#store = new ImageStore(client, content, { snapshotter, platform: this.#platform });
    this.#registries = registries;
    this.#clock = clock;
    this.#log = log;
  }

  async list(): Promise<readonly Image[]> {
    const { named, contents } = await this.#names();
    const byId = new Map([...contents.values()].map((content) => [content.id, content]));
    return [...byId.values()].map((content) => imageOf(content, named));
  }

  async get(nameOrId: string): Promise<Image> {
    const catalog = await this.#names();
    const found = findImage(nameOrId, catalog.named);
    if (found === undefined) throw noSuchImage(nameOrId);
    return this.#image(found, catalog);
  }

  async ensure(
    reference: string,
    auth: RegistryAuth | undefined,
    signal: AbortSignal,
  ): Promise<Image> {
    const here = await this.get(reference).catch((error) => {
      if (isShoalError(error, 'not-found')) return undefined;
      throw error;
    });
    if (here !== undefined) {
      await this.#unpack(here, signal);
      return here;
    }
    if (isId(reference)) throw noSuchImage(reference);
    const name = normalisedName(parseReference(reference));
    try {
      return await this.#pulls.run(
        name,
        (shared) => this.#pull(reference, { auth, onProgress: () => undefined, signal: shared }),
        signal,
      );
    } catch (error) {
      if (!isShoalError(error) || signal.aborted) throw error;
      this.#log.warn('image: pull failed', { image: reference, error: error.message });
      const missing = noSuchImage(reference, error);
      if (error.code === 'not-found') throw missing;
      throw new ShoalError(error.code, `${missing.message} (${error.message})`, { cause: error });
    }
  }

  pull(
    reference: string,
    options: {
      auth?: RegistryAuth;
      platform?: string;
      onProgress: (line: ImageProgress) => void;
      signal: AbortSignal;
    },
  ): Promise<Image> {
    const { auth, platform, onProgress, signal } = options;
    return this.#pull(reference, { auth, platform, onProgress, signal });
  }

  load(tar: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<readonly string[]> {
    return this.#store.content.withLease('load', async (lease) => {
      const platform = this.#platform;
      const loaded = await loadArchive(tar, this.#store, { lease, platform, signal });
      const told: string[] = [];
      for (const { target, names, id } of loaded) {
        for (const name of names) {
          const reference = parseReference(name);
          await this.#setName(normalisedName(reference), target, {}, lease);
          told.push(familiarName(reference));
        }
        if (names.length > 0) continue;
        await this.#setName(danglingName(target.digest), target, {}, lease);
        told.push(id);
      }
      return told;
    });
  }

  async import(
    tar: AsyncIterable<Uint8Array>,
    options: {
      reference: string | undefined;
      message: string;
      changes: readonly string[];
      signal: AbortSignal;
    },
  ): Promise<Image> {
    const { reference } = options;
    const wanted = reference === undefined ? undefined : normalisedName(parseReference(reference));
    const target = await this.#store.content.withLease('import', async (lease) => {
      const platform = this.#platform;
      const nowMs = this.#clock.now();
      const made = await importRootfs(tar, this.#store, { ...options, lease, platform, nowMs });
      await this.#setName(wanted ?? danglingName(made.digest), made, {}, lease);
      return made;
    });
    return this.#byTarget(target);
  }

  async *save(
    names: readonly string[],
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array, void, void> {
    const catalog = await this.#names();
    const chosen = new Map<string, { image: ImageContent; names: Set<string> }>();
    for (const name of names) {
      const found = findImage(name, catalog.named);
      const image = found && catalog.contents.get(found.targetDigest);
      if (found === undefined || image === undefined) throw noSuchImage(name);
      const item = chosen.get(image.id) ?? { image, names: new Set<string>() };
      chosen.set(image.id, item);
      // An id is saved without a name, as by Docker.
      const { tags } = namesOf(image.id, [found]);
      if (!image.id.slice('sha256:'.length).startsWith(name) && !isId(name)) {
        for (const tag of tags) item.names.add(tag);
      }
    }
    const images = [...chosen.values()].map((item) => ({
      image: item.image,
      names: [...item.names],
    }));
    yield* saveArchive(images, this.#store, signal);
  }

  async tag(source: string, reference: string): Promise<void> {
    const parsed = parseReference(reference);
    if (parsed.digest !== undefined) {
      throw new ShoalError('invalid-argument', 'refusing to create a tag with a digest reference');
    }
    const { named, contents } = await this.#names();
    const found = findImage(source, named);
    const content = found && contents.get(found.targetDigest);
    if (content === undefined) throw noSuchImage(source);
    await this.#setName(normalisedName(parsed), content.target, {});
    await this.#dropDangling(content.target.digest);
  }

  async remove(
    name: string,
    options: { force: boolean; inUse: (imageId: string) => string | undefined },
  ): Promise<readonly RemovedImage[]> {
    const catalog = await this.#names();
    const found = findImage(name, catalog.named);
    if (found === undefined) throw noSuchImage(name);
    const content = catalog.contents.get(found.targetDigest);
    const container = options.inUse(found.imageId);
    const { force } = options;
    const plan = planRemoval(name, found, catalog.named, { force, container });
    const told: RemovedImage[] = plan.untagged.map((untagged) => ({ untagged }));
    if (plan.keepDangling && content !== undefined) {
      await this.#setName(danglingName(content.target.digest), content.target, {});
    }
    for (const [index, each] of plan.names.entries()) {
      // The last one waits for the garbage collector, so that what is told as deleted is.
      await this.#store.removeName(each, plan.deletes && index === plan.names.length - 1);
    }
    this.#changed();
    if (!plan.deletes || content === undefined) return told;
    this.#store.forget(content.target.digest);
    this.#unpacked.delete(content.id);
    told.push({ deleted: content.id });
    for (const layer of [...content.chainIds].reverse()) {
      if (!(await this.#store.hasSnapshot(layer))) told.push({ deleted: layer });
    }
    return told;
  }

  async resolve(
    reference: string,
    auth: RegistryAuth | undefined,
    signal: AbortSignal,
  ): Promise<{
    mediaType: string;
    digest: string;
    sizeBytes: number;
    platforms: readonly { architecture: string; os: string }[];
  }> {
    const repository = new Repository(parseReference(reference), auth, this.#registries);
    const { descriptor, bytes } = await repository.top(signal);
    const document = parseManifest(bytes);
    const platforms = isIndexDocument(document)
      ? document.manifests.flatMap(({ platform }) =>
          platform === undefined ? [] : [{ architecture: platform.architecture, os: platform.os }],
        )
      : [parseConfig(await repository.document(document.config.digest, signal)).image].map(
          ({ architecture, os }) => ({ architecture, os }),
        );
    const { mediaType, digest, size } = descriptor;
    return { mediaType, digest, sizeBytes: size, platforms };
  }

  async #pull(
    raw: string,
    options: Readonly<{
      auth?: RegistryAuth | undefined;
      platform?: string | undefined;
      onProgress: (line: ImageProgress) => void;
      signal: AbortSignal;
    }>,
  ): Promise<Image> {
    const reference = parseReference(raw);
    const name = normalisedName(reference);
    const { onProgress, signal, auth } = options;
    const platform = parsePlatform(options.platform, this.#platform);
    const tag = reference.digest ?? reference.tag ?? 'latest';
    onProgress({ id: tag, status: `Pulling from ${reference.path}` });
    const before = (await this.#names()).named.find((each) => each.name === name);
    const target = await this.#store.content.withLease('pull', async (lease) => {
      const repository = new Repository(reference, auth, this.#registries);
      const work = { lease, platform, onProgress, signal };
      const pulled = await pullImage(repository, this.#store, work);
      // Another platform of the same index may have been read before.
      this.#store.forget(pulled.target.digest);
      await this.#setName(name, pulled.target, { [PULLED_LABEL]: 'true' }, lease);
      return pulled.target;
    });
    await this.#dropDangling(target.digest);
    const image = await this.#byTarget(target);
    const same = before?.targetDigest === target.digest;
    onProgress({ status: `Digest: ${target.digest}` });
    onProgress({
      status: `Status: ${same ? 'Image is up to date' : 'Downloaded newer image'} for ${familiarFull(reference)}`,
    });
    return image;
  }

  /** An image that somebody else put here may lack its snapshots. */
  async #unpack(image: Image, signal: AbortSignal): Promise<void> {
    if (this.#unpacked.has(image.id)) return;
    const { contents } = await this.#names();
    const content = contents.get(image.targetDigest);
    if (content === undefined) throw noSuchImage(image.id);
    if (image.chainId !== '' && !(await this.#store.hasSnapshot(image.chainId))) {
      const { manifest, document } = content;
      await this.#store.content.withLease('unpack', async (lease) => {
        await this.#store.unpack(manifest, document.diffIds, lease, signal);
        const labels = configLabels(this.#store.snapshotter, image.chainId);
        await this.#store.content.label(image.id, labels);
      });
      this.#store.forget(image.targetDigest);
      this.#changed();
    }
    this.#unpacked.add(image.id);
  }

  /** Gives `target` the name; the image that had it before stays, without one. */
  async #setName(
    name: string,
    target: Descriptor,
    labels: Readonly<Record<string, string>>,
    lease?: string,
  ): Promise<void> {
    const { named, contents } = await this.#names();
    const before = named.find((each) => each.name === name);
    const others = named.filter((each) => each.name !== name && each.imageId === before?.imageId);
    const displaced = before && contents.get(before.targetDigest);
    if (
      displaced !== undefined &&
      displaced.target.digest !== target.digest &&
      others.length === 0
    ) {
      await this.#store.setName(danglingName(displaced.target.digest), displaced.target, {});
    }
    await this.#store.setName(name, target, labels, lease);
    this.#changed();
  }

  /** It has a name now, so it need not be kept as one that has none. */
  async #dropDangling(targetDigest: string): Promise<void> {
    const name = danglingName(targetDigest);
    const { named } = await this.#names();
    if (!named.some((each) => each.name === name)) return;
    await this.#store.removeName(name, false);
    this.#changed();
  }

  async #byTarget(target: Descriptor): Promise<Image> {
    const catalog = await this.#names();
    const found = catalog.named.find(({ targetDigest }) => targetDigest === target.digest);
    if (found === undefined) throw noSuchImage(target.digest);
    return this.#image(found, catalog);
  }

  #image(found: NamedImage, { named, contents }: Catalog): Image {
    const content = contents.get(found.targetDigest);
    if (content === undefined) throw noSuchImage(found.name);
    return imageOf(content, named);
  }

  #changed(): void {
    this.#catalog = undefined;
  }

  /** All names and what they lead to. Contents are immutable and cached by digest; names for a few seconds. */
  #names(): Promise<Catalog> {
    const now = this.#clock.monotonicMs();
    if (this.#catalog === undefined || now - this.#catalogAtMs > NAMES_FRESH_MS) {
      const reading = this.#readNames();
      this.#catalog = reading;
      this.#catalogAtMs = now;
      reading.catch(() => {
        if (this.#catalog === reading) this.#catalog = undefined;
      });
    }
    return this.#catalog;
  }

  async #readNames(): Promise<Catalog> {
    const contents = new Map<string, ImageContent>();
    const named: NamedImage[] = [];
    for (const { name, target, labels } of await this.#store.names()) {
      if (target === undefined || !isReadable(name)) continue;
      try {
        const content = await this.#store.describe(target);
        if (content === undefined) continue;
        contents.set(target.digest, content);
        const pulled = labels[PULLED_LABEL] === 'true';
        named.push({ name, targetDigest: target.digest, imageId: content.id, pulled });
      } catch (error) {
        if (isShoalError(error, 'unavailable')) throw error;
        this.#log.warn('image: cannot be read, left out', { name, error: messageOf(error) });
      }
    }
    return { named, contents };
  }
}

function imageOf(content: ImageContent, named: readonly NamedImage[]): Image {
  return {
    id: content.id,
    ...namesOf(content.id, named),
    ...content.document.image,
    sizeBytes: content.layerBytes.reduce((sum, bytes) => sum + bytes, 0),
    layerBytes: content.layerBytes,
    diffIds: content.document.diffIds,
    chainId: content.chainIds.at(-1) ?? '',
    targetDigest: content.target.digest,
  };
}

/** Others may have put names here that are no references. */
function isReadable(name: string): boolean {
  if (isDangling(name)) return true;
  try {
    parseReference(name);
    return true;
  } catch {
    return false;
  }
}

function isId(text: string): boolean {
  return /^(sha256:)?[0-9a-f]{64}$/.test(text);
}
