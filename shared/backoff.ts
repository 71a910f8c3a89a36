import type { Random } from './random.ts';

type Pauses = Readonly<{ firstMs: number; lastMs: number }>;

/** The pause after so many failures in a row (at least 1), milliseconds: each is twice as long, none longer than `lastMs`. */
export function doubledMs(failures: number, { firstMs, lastMs }: Pauses): number {
  // Beyond 2^30 times the first pause nothing asks for more, and the power stays a number.
  return Math.min(lastMs, firstMs * 2 ** Math.min(failures - 1, 30));
}

/** As `doubledMs`, but chance takes up to half of it away: those who failed together come back apart. */
export function backoffMs(failures: number, pauses: Pauses, random: Random): number {
  return Math.ceil(doubledMs(failures, pauses) * (0.5 + random.next() / 2));
}
