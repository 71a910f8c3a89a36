import type { Image } from './types.ts';

export type ImageSizes = Readonly<{
  /** All images together: a layer that several have (upon the same layers) is there once. */
  totalBytes: number;
  /** By image id: what others have as well. */
  sharedBytes: ReadonlyMap<string, number>;
}>;

export function imageSizes(images: readonly Image[]): ImageSizes {
  const owners = new Map<string, number>();
  let totalBytes = 0;
  for (const image of images) {
    for (const [chain, bytes] of chains(image)) {
      const known = owners.get(chain) ?? 0;
      if (known === 0) totalBytes += bytes;
      owners.set(chain, known + 1);
    }
  }
  const shared = (image: Image) =>
    chains(image).reduce((sum, [chain, bytes]) => sum + (owners.get(chain) === 1 ? 0 : bytes), 0);
  return { totalBytes, sharedBytes: new Map(images.map((image) => [image.id, shared(image)])) };
}

/** Each layer's size, by what it stands upon and itself. */
function chains({ diffIds, layerBytes }: Image): [chain: string, bytes: number][] {
  return layerBytes.map((bytes, index) => [diffIds.slice(0, index + 1).join(' '), bytes]);
}
