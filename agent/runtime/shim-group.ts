import type { ContainerConfig } from './types.ts';

/** Tasks that share one shim: its end is theirs, so only tasks of one service, and only so many, do. */
const SHARED_BY = 8;
/** Groups that are filled side by side: a shim makes one container at a time. */
const SIDE_BY_SIDE = 4;
const BLOCK = SHARED_BY * SIDE_BY_SIDE;
/** Services come and go as long as the daemon runs: those that had no task for longest are forgotten. */
const OWNERS_MOST = 1024;

/**
 * Which shim a container gets. One shim process per container costs 2.4 MiB and about 8 ms of CPU at its start;
 * shared by eight, 0.45 MiB. `nonce` keeps the groups of one run of the daemon apart from those of an earlier one.
 */
export function shimGroups(
  ownerOf: (config: ContainerConfig) => string | undefined,
  nonce: string,
): (config: ContainerConfig) => string | undefined {
  const made = new Map<string, number>();
  let forgotten = 0;
  return (config) => {
    const owner = ownerOf(config);
    if (owner === undefined) return undefined;
    // One that comes back after it was forgotten begins where its groups cannot be: none is filled twice.
    const number = made.get(owner) ?? forgotten;
    made.delete(owner);
    made.set(owner, number + 1);
    const [oldest] = made;
    if (made.size > OWNERS_MOST && oldest !== undefined) {
      made.delete(oldest[0]);
      forgotten = Math.max(forgotten, wholeBlocks(oldest[1]));
    }
    const block = Math.floor(number / BLOCK);
    return `${owner}-${nonce}-${block * SIDE_BY_SIDE + (number % SIDE_BY_SIDE)}`;
  };
}

/** Rounded up to where new groups begin. */
function wholeBlocks(number: number): number {
  return Math.ceil(number / BLOCK) * BLOCK;
}
