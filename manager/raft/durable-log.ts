/** The two ports around the core: the log as it is read (`LogView`), and as it is kept (`DurableLog`). */
import type { Entry, HardState, SnapshotMeta } from './types.ts';

/**
 * The durable part of the log, read synchronously from memory. Index `firstIndex() - 1` is the
 * snapshot's: its term is known, its entry is gone.
 */
export interface LogView {
  firstIndex(): number;
  /** `firstIndex() - 1` when the log is empty. */
  lastIndex(): number;
  /** For `firstIndex() - 1 <= index <= lastIndex()`; undefined outside. */
  term(index: number): number | undefined;
  /**
   * Entries of [low, high), stopping before `maxBytes` are exceeded but never before the first one.
   * The range lies within [firstIndex, lastIndex + 1).
   */
  entries(low: number, high: number, maxBytes: number): readonly Entry[];
  /** The newest snapshot that can be sent now; undefined while there is none. */
  snapshot(): SnapshotMeta | undefined;
}

/** Bytes of a snapshot in order; any chunking. */
export type SnapshotBody = Iterable<Uint8Array>;

export type LoadedState = Readonly<{
  hardState: HardState;
  /** Undefined for a node that has never been given a state: it waits for a leader to send one. */
  snapshot: SnapshotMeta | undefined;
  /** Contiguous; the first follows the log's compaction point, not necessarily the snapshot. */
  entries: readonly Entry[];
  /** Index and term just before `entries[0]`, or of the end of an empty log. */
  compacted: Readonly<{ index: number; term: number }>;
}>;

export type DurableBatch = Readonly<{
  hardState?: HardState;
  /** Installs it and forgets the whole log before it; `entries` then start right after it. */
  snapshot?: Readonly<{ meta: SnapshotMeta; body: SnapshotBody }>;
  /** Replaces whatever is stored from `entries[0].index` on. */
  entries: readonly Entry[];
}>;

/** Log, hard state and snapshots on disk. After any thrown error it is unusable: stop the node. */
export interface DurableLog {
  /**
   * Throws (`failed-precondition`) when what is stored contradicts itself: a gap, a bad checksum, a
   * commit past the end. Such a node must rejoin under a new id; never is it cut short silently.
   */
  load(): LoadedState;
  /** All or nothing, and on disk when it returns, unless `lazy` (see `Ready.mustSync`). */
  append(batch: DurableBatch, options?: Readonly<{ lazy: boolean }>): void;
  /**
   * Keeps a snapshot of this node's own applied state, durable on return. The log stays as it is.
   * `meta.confState` is the configuration as of `meta.index`, as `applyConfChange` returned it.
   */
  saveSnapshot(meta: SnapshotMeta, body: SnapshotBody): void;
  /** Body of the newest snapshot, to restore from or to send. */
  readSnapshot(): Readonly<{ meta: SnapshotMeta; body: SnapshotBody }> | undefined;
  /** Drops entries up to and including `toIndex`, which a stored snapshot covers. */
  compact(toIndex: number): void;
  close(): void;
}
