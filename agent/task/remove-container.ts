import type { Runtime } from '../runtime/types.ts';

/** The part of the host's volumes that ends with containers. */
export interface AnonymousVolumes {
  /** Of these volumes those that nobody named; the others outlive their containers. */
  removeAnonymous(names: readonly string[]): Promise<void>;
}

/** A container with the volumes that were made for it alone, as Docker does with a task's. */
export async function removeWithVolumes(
  { runtime, volumes }: { runtime: Pick<Runtime, 'get' | 'remove'>; volumes: AnonymousVolumes },
  id: string,
): Promise<void> {
  const mounts = (await runtime.get(id))?.config.mounts ?? [];
  await runtime.remove(id, { force: true });
  const names = mounts.flatMap((mount) => (mount.type === 'volume' ? [mount.name] : []));
  if (names.length > 0) await volumes.removeAnonymous(names);
}
