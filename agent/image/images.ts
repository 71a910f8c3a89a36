import type { Clock } from '../../shared/clock.ts';
import { isShoalError, ShoalError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { ContainerdClient } from '../runtime/io/containerd.ts';
import {
  danglingName,
  findImage,
  type NamedImage,
  namesOf,
  noSuchImage,
  PULLED_LABEL,
  planRemoval,
} from './catalog.ts';
import { configLabels } from './gc-labels.ts';
import { type Catalog, ImageNames } from './image-names.ts';
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

/** Images of this host, in containerd's content store, snapshots and image names. */
export class ContainerdImages implements Images {
  readonly #store: ImageStore;
  readonly #names: ImageNames;
  readonly #registries: RegistryOptions;
  readonly #platform: Platform;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #pulls = new SharedWork<Image>();
  /** Images whose layers were seen to be unpacked. */
  readonly #unpacked = new Set<string>();

  constructor(options: ImagesOptions) {
    const { client, snapshotter = 'overlayfs', registries = {}, clock, log } = options;
    this.#platform = { os: 'linux', architecture: toOci(hostArchitecture()) };
    const content = new ContentStore(client);
    this.#store = new ImageStore(client, content, { snapshotter, platform: this.#platform });
    this.#names = new ImageNames({ store: this.#store, clock, log });
    this.#registries = registries;
    this.#clock = clock;
    this.#log = log;
  }

  async list(): Promise<readonly Image[]> {
    const { named, contents } = await this.#names.read();
    const byId = new Map([...contents.values()].map((content) => [content.id, content]));
    return [...byId.values()].map((content) => imageOf(content, named));
  }

  async get(nameOrId: string): Promise<Image> {
    const catalog = await this.#names.read();
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

  pull(reference: string, options: Parameters<Images['pull']>[1]): Promise<Image> {
    return this.#pull(reference, options);
  }

  load(tar: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<readonly string[]> {
    return this.#store.content.withLease('load', async (lease) => {
      const platform = this.#platform;
      const loaded = await loadArchive(tar, this.#store, { lease, platform, signal });
      const told: string[] = [];
      for (const { target, names, id } of loaded) {
        for (const name of names) {
          const reference = parseReference(name);
          await this.#names.set(normalisedName(reference), target, {}, lease);
          told.push(familiarName(reference));
        }
        if (names.length > 0) continue;
        await this.#names.set(danglingName(target.digest), target, {}, lease);
        told.push(id);
      }
      return told;
    });
  }

  async import(
    tar: AsyncIterable<Uint8Array>,
    options: Parameters<Images['import']>[1],
  ): Promise<Image> {
    const { reference } = options;
    const wanted = reference === undefined ? undefined : normalisedName(parseReference(reference));
    const target = await this.#store.content.withLease('import', async (lease) => {
      const platform = this.#platform;
      const nowMs = this.#clock.now();
      const made = await importRootfs(tar, this.#store, { ...options, lease, platform, nowMs });
      await this.#names.set(wanted ?? danglingName(made.digest), made, {}, lease);
      return made;
    });
    return this.#byTarget(target);
  }

  async *save(
    names: readonly string[],
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array, void, void> {
    const catalog = await this.#names.read();
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
    const { named, contents } = await this.#names.read();
    const found = findImage(source, named);
    const content = found && contents.get(found.targetDigest);
    if (content === undefined) throw noSuchImage(source);
    await this.#names.set(normalisedName(parsed), content.target, {});
    await this.#names.dropDangling(content.target.digest);
  }

  async remove(
    name: string,
    options: Parameters<Images['remove']>[1],
  ): Promise<readonly RemovedImage[]> {
    const catalog = await this.#names.read();
    const found = findImage(name, catalog.named);
    if (found === undefined) throw noSuchImage(name);
    const content = catalog.contents.get(found.targetDigest);
    const container = options.inUse(found.imageId);
    const { force } = options;
    const plan = planRemoval(name, found, catalog.named, { force, container });
    const told: RemovedImage[] = plan.untagged.map((untagged) => ({ untagged }));
    if (plan.keepDangling && content !== undefined) {
      await this.#names.set(danglingName(content.target.digest), content.target, {});
    }
    for (const [index, each] of plan.names.entries()) {
      // The last one waits for the garbage collector, so that what is told as deleted is.
      await this.#store.removeName(each, plan.deletes && index === plan.names.length - 1);
    }
    this.#names.changed();
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
  ): ReturnType<Images['resolve']> {
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
    const before = (await this.#names.read()).named.find((each) => each.name === name);
    const target = await this.#store.content.withLease('pull', async (lease) => {
      const repository = new Repository(reference, auth, this.#registries);
      const work = { lease, platform, onProgress, signal };
      const pulled = await pullImage(repository, this.#store, work);
      // Another platform of the same index may have been read before.
      this.#store.forget(pulled.target.digest);
      await this.#names.set(name, pulled.target, { [PULLED_LABEL]: 'true' }, lease);
      return pulled.target;
    });
    await this.#names.dropDangling(target.digest);
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
    const { contents } = await this.#names.read();
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
      this.#names.changed();
    }
    this.#unpacked.add(image.id);
  }

  async #byTarget(target: Descriptor): Promise<Image> {
    const catalog = await this.#names.read();
    const found = catalog.named.find(({ targetDigest }) => targetDigest === target.digest);
    if (found === undefined) throw noSuchImage(target.digest);
    return this.#image(found, catalog);
  }

  #image(found: NamedImage, { named, contents }: Catalog): Image {
    const content = contents.get(found.targetDigest);
    if (content === undefined) throw noSuchImage(found.name);
    return imageOf(content, named);
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

function isId(text: string): boolean {
  return /^(sha256:)?[0-9a-f]{64}$/.test(text);
}
