import type { Image } from './types.ts';

/** What images take together: a layer that several have (upon the same layers) is there once. */
export function layersBytes(images: readonly Image[]): number {
  const seen = new Set<string>();
  let total = 0;
  for (const { diffIds, layerBytes } of images) {
    let chain = '';
    for (const [index, bytes] of layerBytes.entries()) {
      chain += `${diffIds[index]} `;
      if (seen.has(chain)) continue;
      seen.add(chain);
      total += bytes;
    }
  }
  return total;
}
