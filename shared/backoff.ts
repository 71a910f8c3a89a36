import type { Random } from './random.ts';

/**
 * The pause after so many failures in a row (at least 1), milliseconds: the first is `firstMs`, each next twice as
 * long, none longer than `lastMs`. Chance takes up to half of it away: those who failed together come back apart.
 */
export function backoffMs(
  failures: number,
  { firstMs, lastMs }: Readonly<{ firstMs: number; lastMs: number }>,
  random: Random,
): number {
  // Beyond 2^30 times the first pause nothing asks for more, and the power stays a number.
  const spanMs = Math.min(lastMs, firstMs * 2 ** Math.min(failures - 1, 30));
  return Math.ceil(spanMs * (0.5 + random.next() / 2));
}
