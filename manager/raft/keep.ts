import type { NodeApplying } from './node-applying.ts';
import { DiskFullError, type NodeStorage } from './ports.ts';
import type { Ready } from './types.ts';

/** On disk when it returns true; false when there is no room for it. */
export function keep(
  { hardState, snapshot, entries, mustSync }: Ready,
  storage: NodeStorage,
  applying: NodeApplying,
): boolean {
  if (hardState === undefined && snapshot === undefined && entries.length === 0) return true;
  try {
    storage.append(
      {
        ...(hardState === undefined ? {} : { hardState }),
        ...(snapshot === undefined
          ? {}
          : { snapshot: { meta: snapshot, body: applying.bodyOf(snapshot) } }),
        entries,
      },
      { lazy: !mustSync },
    );
    return true;
  } catch (error) {
    if (error instanceof DiskFullError) return false;
    throw error;
  }
}
