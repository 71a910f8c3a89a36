import { setTimeout as delay } from 'node:timers/promises';
import { isShoalError, ShoalError } from '../../../shared/errors.ts';
import { Limiter } from '../../runtime/limiter.ts';
import { configLabels, indexLabels, manifestLabels } from '../gc-labels.ts';
import {
  type ConfigDocument,
  choosePlatform,
  type Descriptor,
  type Index,
  isIndexDocument,
  MAX_DOCUMENT_BYTES,
  type Manifest,
  type Platform,
  parseConfig,
  parseManifest,
} from '../manifest.ts';
import type { ImageProgress } from '../types.ts';
import { chainIds } from './digest.ts';
import type { ImageStore } from './image-store.ts';
import type { FetchedManifest, Repository } from './registry.ts';

/** Blobs that one pull reads at once. */
const PARALLEL = 4;
const TRIES = 5;
const RETRY_MS = 500;
const PROGRESS_MS = 100;

export type Pulled = Readonly<{ target: Descriptor; document: ConfigDocument }>;

/**
 * Brings the image that `repository` is asked for into the store and unpacks it, all under `lease`. Nothing
 * is named yet: the caller does that before the lease ends.
 */
export async function pullImage(
  repository: Repository,
  store: ImageStore,
  options: Readonly<{
    lease: string;
    platform: Platform;
    onProgress: (line: ImageProgress) => void;
    signal: AbortSignal;
  }>,
): Promise<Pulled> {
  const { lease, platform, onProgress, signal } = options;
  const { content } = store;
  const top = await retrying(() => repository.top(signal), signal);
  const { manifest, fetched, index } = await chooseManifest(repository, top, platform, signal);
  // The configuration first: it says what the layers must unpack to, and a wrong one ends the pull early.
  const config = manifest.config;
  if (config.size > MAX_DOCUMENT_BYTES) {
    throw new ShoalError('invalid-argument', `the image's configuration is ${config.size} bytes`);
  }
  const fetchBlob = (blob: Descriptor, onOffset?: (bytes: number) => void) => {
    const { digest, size: sizeBytes } = blob;
    const upload = { ref: `blob-${digest}`, lease, digest, sizeBytes };
    const open = (offset: number) => repository.blob(digest, offset, signal);
    // containerd refuses a second upload of a blob while the first is in progress.
    return store.alone(digest, signal, () =>
      retrying(() => content.write(upload, open, onOffset), signal),
    );
  };
  await fetchBlob(config);
  const document = parseConfig(await content.document(config.digest));
  const chain = chainIds(document.diffIds);

  const width = new Limiter(PARALLEL);
  const unpacked = await unpackedDepth(store, chain);
  await Promise.all(
    manifest.layers.map(async (layer, at) => {
      const id = shortId(layer.digest);
      onProgress({ id, status: at < unpacked ? 'Already exists' : 'Pulling fs layer' });
      await width.run(async () => {
        await fetchBlob(layer, progressOf(layer, onProgress));
        if (at >= unpacked) onProgress({ id, status: 'Download complete' });
      }, signal);
    }),
  );
  const done = new Set(manifest.layers.slice(0, unpacked));
  await store.unpack(manifest, document.diffIds, lease, signal, (layer, step) => {
    if (done.has(layer)) return;
    const status = step === 'extracting' ? 'Extracting' : 'Pull complete';
    onProgress({ id: shortId(layer.digest), status });
  });

  // Labels last: they must not point to what is not there.
  const labels = configLabels(store.snapshotter, chain.at(-1) ?? '');
  await content.label(config.digest, labels);
  const { descriptor, bytes } = fetched;
  const own = { lease, digest: descriptor.digest, labels: manifestLabels(manifest) };
  await content.writeBytes(bytes, own);
  if (index !== undefined) {
    const { digest } = top.descriptor;
    await content.writeBytes(top.bytes, { lease, digest, labels: indexLabels(index) });
  }
  return { target: top.descriptor, document };
}

async function chooseManifest(
  repository: Repository,
  top: FetchedManifest,
  platform: Platform,
  signal: AbortSignal,
): Promise<{ manifest: Manifest; fetched: FetchedManifest; index: Index | undefined }> {
  const document = parseManifest(top.bytes);
  if (!isIndexDocument(document)) return { manifest: document, fetched: top, index: undefined };
  const chosen = choosePlatform(document, platform);
  const fetched = await retrying(() => repository.manifest(chosen.digest, signal), signal);
  const manifest = parseManifest(fetched.bytes);
  if (isIndexDocument(manifest)) {
    throw new ShoalError('invalid-argument', 'an index inside an index is not supported');
  }
  return { manifest, fetched, index: document };
}

/** Tries again what a registry may do better the next time; what it refused stays refused. */
async function retrying<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      const transient =
        isShoalError(error, 'unavailable') || isShoalError(error, 'resource-exhausted');
      if (!transient || tries === TRIES || refused(error)) throw error;
    }
    await delay(RETRY_MS * 2 ** (tries - 1), undefined, { signal });
  }
}

/** Nobody is there: asking again within seconds would only make whoever waits wait longer. */
function refused(error: ShoalError): boolean {
  const { code } = (error.cause ?? {}) as { code?: string };
  return ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH'].includes(
    code ?? '',
  );
}

/** How many layers, from the bottom, are unpacked already. */
async function unpackedDepth(store: ImageStore, chain: readonly string[]): Promise<number> {
  for (let depth = chain.length; depth > 0; depth -= 1) {
    if (await store.hasSnapshot(chain[depth - 1] ?? '')) return depth;
  }
  return 0;
}

function progressOf(
  layer: Descriptor,
  onProgress: (line: ImageProgress) => void,
): (bytes: number) => void {
  let toldAtMs = 0;
  return (current) => {
    const now = performance.now();
    if (now - toldAtMs < PROGRESS_MS && current < layer.size) return;
    toldAtMs = now;
    onProgress({ id: shortId(layer.digest), status: 'Downloading', current, total: layer.size });
  };
}

/** The first twelve digits, as Docker shows digests. */
function shortId(digest: string): string {
  return digest.replace(/^sha256:/, '').slice(0, 12);
}
