/** Two slips, or a word in another spelling of its case and dashes. */
const MOST_SLIPS = 2;

/** Of `known` the word that was probably meant by `given`; undefined when none is near. */
export function nearest(given: string, known: readonly string[]): string | undefined {
  const plain = bare(given);
  let best: string | undefined;
  let fewest = Math.min(MOST_SLIPS, Math.ceil(plain.length / 3)) + 1;
  for (const word of known) {
    const slips = distance(plain, bare(word), fewest);
    if (slips >= fewest) continue;
    best = word;
    fewest = slips;
  }
  return best;
}

const bare = (word: string) => word.toLowerCase().replace(/[-_]/g, '');

/** Insertions, removals and replacements from one to the other; counts no further than `limit`. */
function distance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit;
  let above = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (above[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(replaced, (above[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1));
    }
    above = row;
  }
  return above[b.length] ?? limit;
}
