import type { Descriptor, Index, Manifest } from './manifest.ts';

/** Labels by which containerd's garbage collector finds what a blob refers to. */
export function configLabels(snapshotter: string, chainId: string): Record<string, string> {
  // Without it the unpacked layers go as soon as the lease that made them ends.
  return chainId === '' ? {} : { [`containerd.io/gc.ref.snapshot.${snapshotter}`]: chainId };
}

export function manifestLabels(manifest: Manifest): Record<string, string> {
  return {
    'containerd.io/gc.ref.content.config': manifest.config.digest,
    ...numbered('l', manifest.layers),
  };
}

export function indexLabels(index: Index): Record<string, string> {
  return numbered('m', index.manifests);
}

function numbered(kind: string, descriptors: readonly Descriptor[]): Record<string, string> {
  return Object.fromEntries(
    descriptors.map(({ digest }, at) => [`containerd.io/gc.ref.content.${kind}.${at}`, digest]),
  );
}
