import type { ProgressView, RaftId } from './types.ts';

export type CompactionPolicy = Readonly<{
  /** A snapshot is due when this many entries were applied since the last one. */
  snapshotEveryEntries: number;
  /**
   * And when they have at least this part of the last snapshot's bytes; 1 when not told. A snapshot
   * writes out the whole state: of a large one each entry would else cost more than all that is
   * done for the entry itself (measured with 120,000 objects: twice as much).
   */
  leastLogRatio?: number;
  /** Entries kept before a snapshot, so that a slow member is served from the log. */
  trailingEntries: number;
}>;

/** Swarm's numbers: 10,000 entries between snapshots, 500 kept. */
export const DEFAULT_COMPACTION: CompactionPolicy = {
  snapshotEveryEntries: 10_000,
  trailingEntries: 500,
};

const LEAST_LOG_RATIO = 1;
/** Snapshots up to this size cost too little to wait for more. */
const SMALL_SNAPSHOT_BYTES = 1 << 20;

/** `logBytes`: of the entries since the last snapshot, which had `snapshotBytes`. */
export function snapshotDue(
  policy: CompactionPolicy,
  appliedIndex: number,
  snapshotIndex: number,
  { logBytes, snapshotBytes } = { logBytes: 0, snapshotBytes: 0 },
): boolean {
  if (appliedIndex - snapshotIndex < policy.snapshotEveryEntries) return false;
  if (snapshotBytes <= SMALL_SNAPSHOT_BYTES) return true;
  return logBytes >= snapshotBytes * (policy.leastLogRatio ?? LEAST_LOG_RATIO);
}

/** Up to which index the log may go once a snapshot at `snapshotIndex` is durable; 0 for not at all. */
export function compactTo(policy: CompactionPolicy, snapshotIndex: number): number {
  return Math.max(0, snapshotIndex - policy.trailingEntries);
}

/**
 * The first entry that some member is about to need; undefined when nobody needs any. To one that is being
 * sent a snapshot it is what follows that: were it compacted while the snapshot is on its way, the member
 * would need another one, and under steady writes over a slow link yet another after each.
 */
export function neededFrom(
  progress: readonly Pick<ProgressView, 'id' | 'state' | 'match' | 'next'>[],
  isActive: (id: RaftId) => boolean,
  firstIndex: number,
): number | undefined {
  let needed: number | undefined;
  for (const { id, state, match, next } of progress) {
    const from = state === 'snapshot' ? next : match + 1;
    // What is not there any more a snapshot will stand for.
    if (from < firstIndex || !isActive(id)) continue;
    needed = Math.min(needed ?? from, from);
  }
  return needed;
}
