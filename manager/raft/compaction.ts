export type CompactionPolicy = Readonly<{
  /** A snapshot is due when this many entries were applied since the last one. */
  snapshotEveryEntries: number;
  /** Entries kept before a snapshot, so that a slow member is served from the log. */
  trailingEntries: number;
}>;

/** Swarm's numbers: 10,000 entries between snapshots, 500 kept. */
export const DEFAULT_COMPACTION: CompactionPolicy = {
  snapshotEveryEntries: 10_000,
  trailingEntries: 500,
};

export function snapshotDue(
  policy: CompactionPolicy,
  appliedIndex: number,
  snapshotIndex: number,
): boolean {
  return appliedIndex - snapshotIndex >= policy.snapshotEveryEntries;
}

/** Up to which index the log may go once a snapshot at `snapshotIndex` is durable; 0 for not at all. */
export function compactTo(policy: CompactionPolicy, snapshotIndex: number): number {
  return Math.max(0, snapshotIndex - policy.trailingEntries);
}
