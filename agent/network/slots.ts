import { hash32 } from './hash.ts';

export type Backend = Readonly<{ taskId: string; address: string }>;

/** Sizes of a service's slot table; each has a map and a chain of its own in the kernel. */
export const SLOT_COUNTS = [16, 64, 256, 1024, 4096] as const;
export type SlotCount = (typeof SLOT_COUNTS)[number];

/**
 * At least eight slots for each back-end, so that shares differ by 12 % at most; past 512 back-ends the
 * largest table does. It follows from the number of back-ends alone: all hosts choose the same.
 */
export function slotCountFor(backends: number): SlotCount {
  return SLOT_COUNTS.find((count) => count >= backends * 8) ?? 4096;
}

/**
 * Which back-end's address each slot of a service leads to (Maglev, Eisenbud et al. 2016, section 3.4).
 * Back-ends take turns in claiming their next preferred slot, so their shares differ by one at most, and
 * a back-end that comes or goes moves few slots of the others. A function of its arguments alone: every
 * host computes the same table, whatever it knew before. `key` tells services apart (the VIP).
 * Expected S ln S steps for S slots: 34,000 for the largest.
 */
export function assignSlots(key: string, backends: readonly Backend[]): readonly string[] {
  const count = slotCountFor(backends.length);
  if (backends.length === 0) return [];
  const sorted = [...backends].sort((a, b) => (a.taskId < b.taskId ? -1 : 1));
  const claims = sorted.map(({ taskId, address }) => ({
    address,
    next: hash32(`${key}/${taskId}`, 1) % count,
    // Odd, and the number of slots is a power of two: the walk visits every slot once.
    step: (hash32(`${key}/${taskId}`, 2) % count) | 1,
  }));
  const slots = new Array<string | undefined>(count).fill(undefined);
  let free: number = count;
  while (free > 0) {
    for (const claim of claims) {
      while (slots[claim.next] !== undefined) claim.next = (claim.next + claim.step) % count;
      slots[claim.next] = claim.address;
      free -= 1;
      if (free === 0) break;
    }
  }
  return slots.map((slot) => slot ?? '');
}
