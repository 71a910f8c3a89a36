import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Pack, pack } from 'tar-stream';
import { OCI_INDEX, OCI_MANIFEST } from '../manifest.ts';
import { normalisedName, parseReference } from '../reference.ts';
import { sha256 } from './digest.ts';
import type { ImageContent, ImageStore } from './image-store.ts';

/** An image with the familiar names to save it under. */
export type Saved = Readonly<{ image: ImageContent; names: readonly string[] }>;

/**
 * A tar that is both a docker-archive (manifest.json, repositories) and an OCI layout (index.json): blobs lie
 * once, under blobs/sha256/, in the form the store has them in.
 */
export async function* saveArchive(
  images: readonly Saved[],
  store: ImageStore,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, void> {
  const tar = pack();
  const filling = fill(tar, images, store, signal).catch((error) => tar.destroy(error));
  try {
    for await (const chunk of tar as AsyncIterable<Buffer>) yield chunk;
  } finally {
    tar.destroy();
    await filling;
  }
}

async function fill(
  tar: Pack,
  images: readonly Saved[],
  store: ImageStore,
  signal: AbortSignal,
): Promise<void> {
  const written = new Set<string>();
  const blob = async (digest: string, size: number) => {
    if (written.has(digest)) return;
    written.add(digest);
    const entry = tar.entry({ name: blobPath(digest), size });
    await pipeline(Readable.from(store.content.read(digest, signal)), entry, { signal });
  };
  const manifests: object[] = [];
  const items: object[] = [];
  const repositories: Record<string, Record<string, string>> = {};
  for (const { image, names } of images) {
    const { config, layers } = image.manifest;
    for (const part of [config, ...layers]) await blob(part.digest, part.size);
    const body = JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, ...image.manifest });
    const digest = sha256(body);
    if (!written.has(digest)) await text(tar, blobPath(digest), body);
    written.add(digest);
    const descriptor = { mediaType: OCI_MANIFEST, digest, size: Buffer.byteLength(body) };
    if (names.length === 0) manifests.push(descriptor);
    for (const name of names) {
      const annotations = {
        'io.containerd.image.name': normalisedName(parseReference(name)),
        'org.opencontainers.image.ref.name': name.slice(name.lastIndexOf(':') + 1),
      };
      manifests.push({ ...descriptor, annotations });
      const colon = name.lastIndexOf(':');
      const repository = name.slice(0, colon);
      repositories[repository] = {
        ...repositories[repository],
        [name.slice(colon + 1)]: image.chainIds.at(-1)?.slice('sha256:'.length) ?? '',
      };
    }
    items.push({
      Config: blobPath(config.digest),
      RepoTags: names.length === 0 ? null : names,
      Layers: layers.map((layer) => blobPath(layer.digest)),
    });
  }
  await text(
    tar,
    'index.json',
    JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }),
  );
  await text(tar, 'oci-layout', JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  await text(tar, 'manifest.json', JSON.stringify(items));
  await text(tar, 'repositories', JSON.stringify(repositories));
  tar.finalize();
}

function blobPath(digest: string): string {
  return `blobs/sha256/${digest.slice('sha256:'.length)}`;
}

function text(tar: Pack, name: string, body: string): Promise<void> {
  return new Promise((resolve, reject) => {
    tar.entry({ name }, body, (error) => (error ? reject(error) : resolve()));
  });
}
