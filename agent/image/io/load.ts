import { ShoalError } from '../../../shared/errors.ts';
import { configLabels, indexLabels, manifestLabels } from '../gc-labels.ts';
import {
  choosePlatform,
  type Descriptor,
  isIndexDocument,
  type Manifest,
  OCI_CONFIG,
  OCI_LAYER,
  OCI_MANIFEST,
  type Platform,
  parseConfig,
  parseJson,
  parseManifest,
} from '../manifest.ts';
import { type ArchivedFile, type ArchivedFiles, storeArchive } from './archive.ts';
import { chainIds, sha256 } from './digest.ts';
import type { ImageStore } from './image-store.ts';

/** An image of an archive, unpacked; `names` as the archive gives them, perhaps none. */
export type Loaded = Readonly<{ target: Descriptor; names: readonly string[]; id: string }>;

type DockerItem = Readonly<{ Config: string; RepoTags: string[] | null; Layers: string[] }>;

/** Reads a docker-archive or an OCI layout. The caller names the images before the lease ends. */
export async function loadArchive(
  tar: AsyncIterable<Uint8Array>,
  store: ImageStore,
  options: Readonly<{ lease: string; platform: Platform; signal: AbortSignal }>,
): Promise<readonly Loaded[]> {
  const files = await storeArchive(tar, store.content, options.lease, options.signal);
  const docker = files.get('manifest.json');
  if (docker !== undefined) return loadDocker(docker, files, store, options);
  const layout = files.get('index.json');
  if (layout !== undefined) return loadLayout(layout, files, store, options);
  throw new ShoalError(
    'invalid-argument',
    'the archive has neither a manifest.json (docker save) nor an index.json (OCI layout)',
  );
}

type Options = Readonly<{ lease: string; platform: Platform; signal: AbortSignal }>;

async function loadDocker(
  list: ArchivedFile,
  files: ArchivedFiles,
  store: ImageStore,
  options: Options,
): Promise<readonly Loaded[]> {
  const items = parseJson(await store.content.document(list.digest), 'manifest.json');
  if (!Array.isArray(items)) throw new ShoalError('invalid-argument', 'manifest.json is no list');
  const loaded: Loaded[] = [];
  for (const item of items as DockerItem[]) {
    const config = files.need(item.Config);
    const layers = item.Layers.map((path) => files.need(path));
    const manifest: Manifest = {
      config: { mediaType: OCI_CONFIG, digest: config.digest, size: config.sizeBytes },
      layers: layers.map(({ compression, digest, sizeBytes }) => ({
        mediaType: compression === 'none' ? OCI_LAYER : `${OCI_LAYER}+${compression}`,
        digest,
        size: sizeBytes,
      })),
    };
    const target = await storeManifest(manifest, store, options);
    loaded.push({ target, names: item.RepoTags ?? [], id: config.digest });
  }
  return loaded;
}

async function loadLayout(
  layout: ArchivedFile,
  files: ArchivedFiles,
  store: ImageStore,
  options: Options,
): Promise<readonly Loaded[]> {
  const { content } = store;
  const top = parseManifest(await content.document(layout.digest));
  if (!isIndexDocument(top)) throw new ShoalError('invalid-argument', 'index.json is no index');
  const loaded: Loaded[] = [];
  for (const descriptor of top.manifests) {
    if (!files.has(descriptor.digest)) continue;
    const document = parseManifest(await content.document(descriptor.digest));
    let manifest: Manifest;
    if (isIndexDocument(document)) {
      const present = document.manifests.filter(({ digest }) => files.has(digest));
      const chosen = choosePlatform({ manifests: present }, options.platform);
      const inner = parseManifest(await content.document(chosen.digest));
      if (isIndexDocument(inner)) {
        throw new ShoalError('invalid-argument', 'an index inside an index is not supported');
      }
      manifest = inner;
      await finish(manifest, chosen.digest, store, options);
      await content.label(descriptor.digest, indexLabels(document));
    } else {
      manifest = document;
      await finish(manifest, descriptor.digest, store, options);
    }
    const { annotations = {} } = descriptor;
    const name =
      annotations['io.containerd.image.name'] ?? annotations['org.opencontainers.image.ref.name'];
    // Some tools write the tag alone, which names nothing.
    const names = name !== undefined && /[:/]/.test(name) ? [name] : [];
    loaded.push({ target: descriptor, names, id: manifest.config.digest });
  }
  if (loaded.length === 0) {
    throw new ShoalError('invalid-argument', 'the archive has no image for this platform');
  }
  return loaded;
}

/** Writes the manifest of an image whose blobs are in the store, and unpacks it. */
export async function storeManifest(
  manifest: Manifest,
  store: ImageStore,
  options: Options,
): Promise<Descriptor> {
  const body = { schemaVersion: 2, mediaType: OCI_MANIFEST, ...manifest };
  const bytes = Buffer.from(JSON.stringify(body));
  const digest = sha256(bytes);
  await store.content.writeBytes(bytes, { lease: options.lease, digest });
  await finish(manifest, digest, store, options);
  return { mediaType: OCI_MANIFEST, digest, size: bytes.length };
}

async function finish(
  manifest: Manifest,
  digest: string,
  store: ImageStore,
  { lease, signal }: Options,
): Promise<void> {
  const { content } = store;
  const { diffIds } = parseConfig(await content.document(manifest.config.digest));
  await store.unpack(manifest, diffIds, lease, signal);
  const chain = chainIds(diffIds);
  await content.label(manifest.config.digest, configLabels(store.snapshotter, chain.at(-1) ?? ''));
  await content.label(digest, manifestLabels(manifest));
}
