import { randomUUID } from 'node:crypto';
import { applyChanges } from '../changes.ts';
import { type Descriptor, OCI_CONFIG, OCI_LAYER, type Platform } from '../manifest.ts';
import { decompressed } from './archive.ts';
import { sha256 } from './digest.ts';
import type { ImageStore } from './image-store.ts';
import { storeManifest } from './load.ts';

/** Makes an image of one layer out of a root file system. The caller names it before the lease ends. */
export async function importRootfs(
  tar: AsyncIterable<Uint8Array>,
  store: ImageStore,
  options: Readonly<{
    lease: string;
    platform: Platform;
    message: string;
    changes: readonly string[];
    nowMs: number;
    signal: AbortSignal;
  }>,
): Promise<Descriptor> {
  const { lease, platform, message, nowMs, signal } = options;
  // First, so that a wrong instruction is told before a gigabyte was read.
  const config = applyChanges(options.changes);
  // Kept uncompressed: its digest is the layer's identity, and it is read once, from the local disk.
  const layer = await store.content.write({ ref: `import-${randomUUID()}`, lease }, async () => ({
    from: 0,
    data: abortable(decompressed(tar), signal),
  }));
  const created = new Date(nowMs).toISOString();
  const comment = message || 'Imported from -';
  const body = Buffer.from(
    JSON.stringify({
      created,
      architecture: platform.architecture,
      os: platform.os,
      config,
      rootfs: { type: 'layers', diff_ids: [layer.digest] },
      history: [{ created, comment }],
    }),
  );
  const digest = sha256(body);
  await store.content.writeBytes(body, { lease, digest });
  const manifest = {
    config: { mediaType: OCI_CONFIG, digest, size: body.length },
    layers: [{ mediaType: OCI_LAYER, digest: layer.digest, size: layer.sizeBytes }],
  };
  return storeManifest(manifest, store, { lease, platform, signal });
}

async function* abortable(
  source: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, void> {
  for await (const chunk of source) {
    signal.throwIfAborted();
    yield chunk;
  }
}
