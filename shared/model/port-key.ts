import type { PortConfig } from '../gen/shoal/v1/objects.ts';

/** `tcp/80`. Two ports with the same key cannot both be published on one address. */
export function portKey(port: Pick<PortConfig, 'protocol' | 'publishedPort'>): string {
  return `${port.protocol || 'tcp'}/${port.publishedPort}`;
}
