import { randomUUID } from 'node:crypto';
import { isShoalError, ShoalError } from '../../../shared/errors.ts';
import { DiffService } from '../../../shared/gen/containerd/diff.ts';
import { type ImageRecord, ImagesService } from '../../../shared/gen/containerd/images.ts';
import { SnapshotsService } from '../../../shared/gen/containerd/snapshots.ts';
import type { ContainerdClient } from '../../runtime/io/containerd.ts';
import { Limiter } from '../../runtime/limiter.ts';
import {
  type ConfigDocument,
  choosePlatform,
  type Descriptor,
  type Index,
  isIndex,
  isIndexDocument,
  type Manifest,
  type Platform,
  parseConfig,
  parseManifest,
} from '../manifest.ts';
import type { ContentStore } from './content.ts';
import { chainIds } from './digest.ts';

/** What is known of the image behind a manifest or index: all of it is immutable, so it is read once. */
export type ImageContent = Readonly<{
  /** Digest of the configuration. */
  id: string;
  target: Descriptor;
  manifest: Manifest;
  document: ConfigDocument;
  chainIds: readonly string[];
  layerBytes: readonly number[];
}>;

const MAX_CACHED = 512;
/** What containerd says of bytes that are no layer; anything else of its failures is not the image's fault. */
const BAD_LAYER = /archive\/tar|invalid tar header|gzip: |unexpected EOF|zstd/;
const APPLY_DEADLINE_MS = 600_000;

/** Names, contents and unpacked layers of images in containerd. */
export class ImageStore {
  readonly snapshotter: string;
  readonly content: ContentStore;
  readonly #client: ContainerdClient;
  readonly #platform: Platform;
  readonly #byTarget = new Map<string, ImageContent>();
  readonly #inWork = new Map<string, Limiter>();

  constructor(
    client: ContainerdClient,
    content: ContentStore,
    options: Readonly<{ snapshotter: string; platform: Platform }>,
  ) {
    this.#client = client;
    this.content = content;
    this.snapshotter = options.snapshotter;
    this.#platform = options.platform;
  }

  async names(): Promise<readonly ImageRecord[]> {
    return (await this.#client.call(ImagesService.list, { filters: [] })).images;
  }

  async setName(
    name: string,
    target: Descriptor,
    labels: Readonly<Record<string, string>>,
    lease?: string,
  ): Promise<void> {
    const { mediaType, digest, size } = target;
    const image: ImageRecord = {
      name,
      labels: { ...labels },
      target: { mediaType, digest, size, annotations: {} },
      createdAt: undefined,
      updatedAt: undefined,
    };
    try {
      await this.#client.call(ImagesService.create, { image }, { lease });
    } catch (error) {
      if (!isShoalError(error, 'already-exists')) throw error;
      const updateMask = { paths: ['target', 'labels'] };
      await this.#client.call(ImagesService.update, { image, updateMask }, { lease });
    }
  }

  /** `collect`: wait until what only this name kept is gone. */
  async removeName(name: string, collect: boolean): Promise<void> {
    try {
      await this.#client.call(ImagesService.delete, { name, sync: collect });
    } catch (error) {
      if (!isShoalError(error, 'not-found')) throw error;
    }
  }

  /** Undefined when parts of it are not here. */
  async describe(target: Descriptor): Promise<ImageContent | undefined> {
    const known = this.#byTarget.get(target.digest);
    if (known !== undefined) return known;
    try {
      const manifest = await this.#manifestOf(target);
      if (manifest === undefined) return undefined;
      const document = parseConfig(await this.content.document(manifest.config.digest));
      const chain = chainIds(document.diffIds);
      const content: ImageContent = {
        id: manifest.config.digest,
        target,
        manifest,
        document,
        chainIds: chain,
        layerBytes: await this.#layerBytes(manifest, chain),
      };
      this.#byTarget.set(target.digest, content);
      const [oldest] = this.#byTarget.keys();
      if (this.#byTarget.size > MAX_CACHED && oldest !== undefined) this.#byTarget.delete(oldest);
      return content;
    } catch (error) {
      if (isShoalError(error, 'not-found')) return undefined;
      throw error;
    }
  }

  forget(targetDigest: string): void {
    this.#byTarget.delete(targetDigest);
  }

  /** Makes the snapshots of all layers that are not there yet, bottom up; containerd checks each layer's digest. */
  async unpack(
    manifest: Manifest,
    diffIds: readonly string[],
    lease: string,
    signal: AbortSignal,
    onLayer: (layer: Descriptor, step: 'extracting' | 'done') => void = () => undefined,
  ): Promise<void> {
    if (manifest.layers.length !== diffIds.length) {
      throw new ShoalError(
        'invalid-argument',
        `the image has ${manifest.layers.length} layers, but its configuration names ${diffIds.length}`,
      );
    }
    const chain = chainIds(diffIds);
    for (const [index, layer] of manifest.layers.entries()) {
      const name = chain[index] ?? '';
      const parent = index === 0 ? '' : (chain[index - 1] ?? '');
      await this.alone(name, signal, async () => {
        await this.content.hold(lease, `snapshots/${this.snapshotter}`, name);
        if (await this.hasSnapshot(name)) return;
        onLayer(layer, 'extracting');
        await this.#unpackLayer({ name, parent, layer, diffId: diffIds[index] ?? '', lease });
      });
      onLayer(layer, 'done');
    }
  }

  async hasSnapshot(name: string): Promise<boolean> {
    try {
      const request = { snapshotter: this.snapshotter, key: name };
      await this.#client.call(SnapshotsService.stat, request);
      return true;
    } catch (error) {
      if (isShoalError(error, 'not-found')) return false;
      throw error;
    }
  }

  async #unpackLayer(
    work: Readonly<{
      name: string;
      parent: string;
      layer: Descriptor;
      diffId: string;
      lease: string;
    }>,
  ): Promise<void> {
    const { name, parent, layer, diffId, lease } = work;
    const { snapshotter } = this;
    const key = `extract-${randomUUID()} ${name}`;
    const { mounts } = await this.#client.call(
      SnapshotsService.prepare,
      { snapshotter, key, parent, labels: {} },
      { lease },
    );
    try {
      const { mediaType, digest, size } = layer;
      const { applied } = await this.#client.call(
        DiffService.apply,
        { diff: { mediaType, digest, size, annotations: {} }, mounts },
        { lease, deadlineMs: APPLY_DEADLINE_MS },
      );
      if (applied?.digest !== diffId) {
        throw new ShoalError(
          'invalid-argument',
          `layer ${digest} unpacks to ${applied?.digest ?? 'nothing'}, but the image's configuration promises ${diffId}`,
        );
      }
      await this.#client.call(
        SnapshotsService.commit,
        { snapshotter, name, key, labels: {} },
        { lease },
      );
    } catch (error) {
      await this.#client.call(SnapshotsService.remove, { snapshotter, key }).catch(() => undefined);
      // Somebody else (another daemon in this namespace) was quicker.
      if (isShoalError(error, 'already-exists')) return;
      throw isShoalError(error, 'internal') && BAD_LAYER.test(error.message)
        ? new ShoalError('invalid-argument', unreadableLayer(error.message), { cause: error })
        : error;
    }
  }

  /** Work on one blob or chain: whoever comes second waits, and then finds it done. */
  async alone<T>(digest: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const turn = this.#inWork.get(digest) ?? new Limiter(1);
    this.#inWork.set(digest, turn);
    try {
      return await turn.run(work, signal);
    } finally {
      if (!turn.busy) this.#inWork.delete(digest);
    }
  }

  async #manifestOf(target: Descriptor): Promise<Manifest | undefined> {
    const document = parseManifest(await this.content.document(target.digest));
    if (!isIndexDocument(document)) return document;
    for (const candidate of candidates(document, this.#platform)) {
      if (isIndex(candidate.mediaType)) continue;
      if ((await this.content.sizeOf(candidate.digest)) === undefined) continue;
      const manifest = parseManifest(await this.content.document(candidate.digest));
      if (!isIndexDocument(manifest)) return manifest;
    }
    return undefined;
  }

  /** Unpacked, as Docker counts; of an image that is not unpacked yet, what its blobs have. */
  async #layerBytes({ layers }: Manifest, chain: readonly string[]): Promise<number[]> {
    const bytes: number[] = [];
    for (const key of chain) {
      const request = { snapshotter: this.snapshotter, key };
      const usage = await this.#client.call(SnapshotsService.usage, request).catch((error) => {
        if (isShoalError(error, 'not-found')) return undefined;
        throw error;
      });
      if (usage === undefined) return layers.map(({ size }) => size);
      bytes.push(usage.size);
    }
    return bytes;
  }
}

/** Without the temporary path that containerd puts before its reason. */
function unreadableLayer(message: string): string {
  return `cannot unpack the layer: ${message.replace(/^.*tmpmounts\/\S+: /, '')}`;
}

/** The host's own first; another that was asked for by `--platform` is better than none. */
function candidates(index: Index, platform: Platform): readonly Descriptor[] {
  try {
    const own = choosePlatform(index, platform);
    return [own, ...index.manifests.filter((each) => each !== own)];
  } catch {
    return index.manifests;
  }
}
