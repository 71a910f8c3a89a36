import { randomBytes } from 'node:crypto';
import { ShoalError } from '../../../shared/errors.ts';
import type { DurableBatch, LoadedState, SnapshotBody } from '../durable-log.ts';
import { DiskFullError, type NodeStorage } from '../ports.ts';
import type { HardState, SnapshotMeta } from '../types.ts';
import type { Disk } from './disk.ts';
import type { LogKeys } from './log-keys.ts';
import { Notes } from './notes.ts';
import { type FileSnapshotSink, SnapshotFiles } from './snapshot-files.ts';
import { SALT_BYTES } from './wal/cipher.ts';
import { type Batch, encodeBatch, encodeState, type Place } from './wal/content.ts';
import { KekChange } from './wal/kek-change.ts';
import { newestSnapshot } from './wal/newest-snapshot.ts';
import { type OldSegment, type ReadLog, readLog, refusal } from './wal/read-log.ts';
import { sealedRecordBytes } from './wal/record.ts';
import {
  encodeSegmentHeader,
  SEGMENT_HEADER_BYTES,
  segmentCipher,
  segmentFile,
} from './wal/segment.ts';
import { SegmentWriter } from './wal/segment-writer.ts';
import { Spares } from './wal/spare.ts';
import { TermRuns } from './wal/terms.ts';

/** Segments begin small, for clusters in which little happens, and double up to the largest. */
const FIRST_SEGMENT_BYTES = 256 << 10;
const LARGEST_SEGMENT_BYTES = 8 << 20;
/** Kept free for what must be written when there is no room for entries any more: terms and votes. */
const RESERVE_BYTES = 16 << 10;
/** The state that a segment begins with and the end, at most. */
const FRAME_BYTES = 1 << 10;
/** The newest, and the one before: should the newest be unreadable while the log still reaches back. */
const SNAPSHOTS_KEPT = 2;
/** Calls of `idle` between two attempts to make room, after one that failed. */
const RETRY_ROOM_IDLES = 10;
const NO_STATE: HardState = { term: 0, vote: undefined, commit: 0 };
const NOTHING: Batch = {
  hardState: undefined,
  install: undefined,
  adopt: undefined,
  compact: undefined,
  entries: [],
};

/**
 * Raft's log in segments of its own, each batch one record: one write and one sync. Records are
 * checksummed in a chain and sealed; a part of the last write that a crash left out is cut off, any
 * other damage refused (`wal/damage.ts`). Every start begins a new segment.
 *
 * Synchronous: it belongs into the thread that runs consensus and nothing else.
 */
export class WalLog implements NodeStorage {
  readonly #disk: Disk;
  readonly #keys: LogKeys;
  readonly #files: SnapshotFiles;
  readonly #notes: Notes;
  readonly #spares: Spares;
  readonly #kekChange: KekChange;
  readonly #terms = new TermRuns();
  #hardState = NO_STATE;
  #hardStateDirty = false;
  #compacted: Place = { index: 0, term: 0 };
  #snapshot: Place | undefined;
  #lastIndex = 0;
  #active: SegmentWriter | undefined;
  /** With the active one as the last. */
  #segments: OldSegment[] = [];
  #nextSize = FIRST_SEGMENT_BYTES;
  #idles = 0;
  #wroteSinceIdle = false;
  #marked = true;
  #loaded = false;
  #closed = false;

  constructor(disk: Disk, keys: LogKeys) {
    this.#disk = disk;
    this.#keys = keys;
    this.#files = new SnapshotFiles(disk, keys);
    this.#notes = new Notes(disk);
    this.#spares = new Spares(disk);
    this.#kekChange = new KekChange(keys, () => this.#roll(0));
  }

  load(): LoadedState {
    this.#active?.file.close();
    this.#active = undefined;
    if (!this.#loaded) this.#removeUnfinished();
    this.#loaded = true;
    const read = readLog(this.#disk, this.#keys);
    if (read.segments.length === 0 && this.#notes.note(BEGUN) !== undefined) {
      throw this.#refusal('all its segments are gone');
    }
    const { replay } = read;
    const entries = replay.entries();
    if (typeof entries === 'string') throw this.#refusal(entries);
    this.#hardState = replay.hardState;
    this.#compacted = replay.compacted;
    this.#lastIndex = this.#compacted.index + entries.length;
    if (this.#hardState.commit > this.#lastIndex) {
      throw this.#refusal(
        `it ends at entry ${this.#lastIndex}, but ${this.#hardState.commit} were committed`,
      );
    }
    this.#terms.clear();
    this.#terms.from(this.#compacted.index, this.#compacted.term);
    for (const { index, term } of entries) this.#terms.from(index, term);
    const snapshot = newestSnapshot(replay, this.#files, this.#terms, (what, cause) =>
      this.#refusal(what, cause),
    );
    this.#snapshot = snapshot && { index: snapshot.index, term: snapshot.term };
    this.#segments = [...read.segments];
    for (const file of read.leftover) this.#disk.remove(file);
    this.#beginToWrite(read);
    return { hardState: this.#hardState, snapshot, entries, compacted: this.#compacted };
  }

  /** Entries cannot be kept now, or soon, for want of room. */
  get full(): boolean {
    return this.#spares.full && (this.#active?.room ?? 0) < this.#nextSize / 2;
  }

  append(batch: DurableBatch, options?: Readonly<{ lazy: boolean }>): void {
    const { hardState, snapshot, entries } = batch;
    // Only the commit index moved, which is a hint: it goes with the next batch, or when idle.
    if (options?.lazy === true && snapshot === undefined && entries.length === 0) {
      this.#hardStateDirty ||= hardState !== undefined;
      this.#hardState = hardState ?? this.#hardState;
      return;
    }
    if (snapshot !== undefined) this.#bringSnapshot(snapshot.meta, snapshot.body);
    const install = snapshot && { index: snapshot.meta.index, term: snapshot.meta.term };
    const [first] = entries;
    const last = install?.index ?? this.#lastIndex;
    const committed = install?.index ?? Math.max(this.#hardState.commit, this.#compacted.index);
    if (first !== undefined && (first.index <= committed || first.index > last + 1)) {
      throw new ShoalError(
        'internal',
        `entry ${first.index} does not follow the log, which ends at ${last} and is committed up to ${committed}`,
      );
    }
    this.#write({ ...NOTHING, hardState: hardState ?? this.#dirtyState(), install, entries });
    if (install !== undefined) {
      this.#snapshot = install;
      this.#compacted = install;
      this.#lastIndex = install.index;
      this.#terms.clear();
      this.#terms.from(install.index, install.term);
      this.#removeOldFiles();
    }
    for (const { index, term } of entries) this.#terms.from(index, term);
    if (first !== undefined) this.#lastIndex = first.index + entries.length - 1;
  }

  saveSnapshot(meta: SnapshotMeta, body: SnapshotBody): void {
    this.#writeSnapshot(meta, body);
    this.adoptSnapshot(meta);
  }

  /**
   * The streaming way to keep a snapshot: write the chunks, commit, then `adoptSnapshot` (for one of
   * this node's own state) or hand it to `append` (for one that a leader sent).
   */
  beginSnapshot(meta: SnapshotMeta): FileSnapshotSink {
    return this.#files.begin(meta);
  }

  adoptSnapshot({ index, term }: SnapshotMeta): void {
    if (index <= (this.#snapshot?.index ?? 0)) return;
    const adopt = { index, term };
    this.#write({ ...NOTHING, hardState: this.#dirtyState(), adopt });
    this.#snapshot = adopt;
    this.#removeOldFiles();
  }

  readSnapshot(): Readonly<{ meta: SnapshotMeta; body: SnapshotBody }> | undefined {
    const name = this.#snapshot;
    if (name === undefined) return undefined;
    return { meta: this.#files.check(name), body: this.#files.read(name) };
  }

  /** Body of one certain snapshot; undefined when it is not kept any more. */
  openSnapshot(name: Place): SnapshotBody | undefined {
    return this.#files.has(name) ? this.#files.read(name) : undefined;
  }

  compact(toIndex: number): void {
    if (toIndex <= this.#compacted.index) return;
    const term = this.#terms.at(toIndex);
    if (toIndex > (this.#snapshot?.index ?? 0) || toIndex > this.#lastIndex || term === undefined) {
      throw new ShoalError(
        'internal',
        `cannot compact the log to ${toIndex}: no snapshot covers it`,
      );
    }
    const compact = { index: toIndex, term };
    this.#write({ ...NOTHING, hardState: this.#dirtyState(), compact });
    this.#compacted = compact;
    this.#terms.forgetBefore(toIndex);
    this.#removeOldFiles();
  }

  putNote(key: string, value: Uint8Array): void {
    this.#notes.put(key, value);
  }

  note(key: string): Uint8Array | undefined {
    return this.#notes.note(key);
  }

  /** See `KekChange`. */
  rotateKey(): void {
    this.#kekChange.rotate();
  }

  setKek(kek: Uint8Array | undefined): boolean {
    return this.#kekChange.set(kek);
  }

  /**
   * After a moment without writes the newest record is followed by another one: from then on damage
   * to it is known to be no torn write. True as `setKek`, when that had to wait for room.
   */
  idle(): boolean {
    this.#idles++;
    const quiet = !this.#wroteSinceIdle;
    this.#wroteSinceIdle = false;
    if (this.#spares.full && this.#idles % RETRY_ROOM_IDLES === 0) {
      this.#spares.prepare(this.#nextSize);
    }
    const mustReplaceAll = this.#kekChange.idle();
    if (quiet && (!this.#marked || this.#hardStateDirty)) {
      this.#mark();
      this.#wroteSinceIdle = false;
    }
    return mustReplaceAll;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#active !== undefined && (this.#hardStateDirty || !this.#marked)) this.#mark();
    this.#active?.file.close();
    this.#spares.close();
  }

  // ------------------------------------------------------------------------------------- writing

  #mark(): void {
    try {
      this.#write({ ...NOTHING, hardState: this.#hardState });
      this.#marked = true;
    } catch (error) {
      // Nothing is lost by it, and there will be room again.
      if (!(error instanceof DiskFullError)) throw error;
    }
  }

  #dirtyState(): HardState | undefined {
    return this.#hardStateDirty ? this.#hardState : undefined;
  }

  /** On disk when it returns; nothing is changed when it throws DiskFullError. */
  #write(batch: Batch): void {
    const plain = encodeBatch(batch);
    const needed = sealedRecordBytes(plain.length) + FRAME_BYTES;
    const reserve = batch.entries.length > 0 ? RESERVE_BYTES : 0;
    if ((this.#active?.room ?? 0) < needed + reserve) this.#roll(needed);
    const active = this.#active;
    if (active === undefined) throw new DiskFullError(this.#disk.path);
    const first = batch.entries[0]?.index ?? 0;
    active.write('batch', first, (batch.hardState ?? this.#hardState).term, plain);
    if (batch.hardState !== undefined) {
      this.#hardState = batch.hardState;
      this.#hardStateDirty = false;
    }
    this.#wroteSinceIdle = true;
    this.#marked = false;
    if (active.room < active.size / 2 && !this.#spares.full) {
      this.#spares.prepare(this.#nextSize);
    }
  }

  /** Goes on in a new segment with room for `needed` bytes. Throws DiskFullError. */
  #roll(needed: number): void {
    const least = SEGMENT_HEADER_BYTES + FRAME_BYTES + needed + RESERVE_BYTES;
    const spare = this.#spares.take(this.#nextSize, least);
    if (spare === undefined) throw new DiskFullError(this.#disk.path);
    const old = this.#active;
    const { id: keyId, key } = this.#keys.current;
    const salt = randomBytes(SALT_BYTES);
    const sequence = (this.#segments.at(-1)?.sequence ?? 0) + 1;
    const firstIndex = this.#lastIndex + 1;
    const header = encodeSegmentHeader({
      sequence,
      firstIndex,
      size: spare.size,
      previous: old?.crc ?? 0,
      logId: this.#keys.logId,
      keyId,
      salt,
    });
    spare.file.write(header.bytes, 0);
    spare.file.sync();
    const file = segmentFile(sequence, firstIndex);
    this.#disk.rename(spare.name, file);
    this.#disk.syncFolder();
    const cipher = segmentCipher(key, salt);
    this.#active = SegmentWriter.begin(spare.file, cipher, spare.size, header.crc);
    this.#segments.push({ sequence, firstIndex, file, keyId });
    const state = encodeState({
      hardState: this.#hardState,
      compacted: this.#compacted,
      snapshot: this.#snapshot,
      last: { index: this.#lastIndex, term: this.#terms.at(this.#lastIndex) ?? 0 },
    });
    this.#active.write('state', 0, this.#hardState.term, state);
    old?.end();
    this.#nextSize = Math.min(LARGEST_SEGMENT_BYTES, 2 * spare.size);
  }

  /** Clears what a torn write left, and goes on in a new segment. */
  #beginToWrite({ segments, crc, end, tornEnd }: ReadLog): void {
    const last = segments.at(-1);
    if (last !== undefined) {
      const file = this.#disk.open(last.file);
      if (file === undefined) throw this.#refusal(`${last.file} is gone`);
      if (tornEnd !== undefined) {
        file.write(new Uint8Array(tornEnd - end), end);
        file.sync();
      }
      this.#active = SegmentWriter.ending(file, end, crc);
    }
    try {
      this.#roll(0);
      this.#removeOldFiles();
    } catch (error) {
      // The node begins, and waits for room.
      if (!(error instanceof DiskFullError)) throw error;
    }
    if (this.#notes.note(BEGUN) === undefined) this.#notes.put(BEGUN, new Uint8Array(0));
  }

  #removeUnfinished(): void {
    for (const file of this.#disk.list()) if (file.endsWith('.tmp')) this.#disk.remove(file);
  }

  #writeSnapshot(meta: SnapshotMeta, body: SnapshotBody): void {
    const sink = this.beginSnapshot(meta);
    try {
      for (const chunk of body) sink.write(chunk);
      sink.commitSync();
    } catch (error) {
      sink.abort();
      throw error;
    }
  }

  /** It is there already when it was streamed in; a leftover of that name is written over. */
  #bringSnapshot(meta: SnapshotMeta, body: SnapshotBody): void {
    if (!this.#files.has(meta)) this.#writeSnapshot(meta, body);
  }

  /** Segments whose entries are all compacted, snapshots beyond those kept, keys that no file needs. */
  #removeOldFiles(): void {
    const current = this.#snapshot?.index ?? 0;
    const rotating = this.#keys.ids.length > 1;
    const older = this.#files.list().filter(({ index }) => index < current);
    const keep = rotating ? [] : older.slice(0, SNAPSHOTS_KEPT - 1);
    const kept = new Set(keep.map(({ index }) => index));
    // Newer ones are on their way in: received, and not yet handed to `append`.
    this.#files.pruneFinished(({ index }) => index >= current || kept.has(index));
    while (true) {
      const [oldest, next] = this.#segments;
      if (oldest === undefined || next === undefined) break;
      if (next.firstIndex - 1 > this.#compacted.index) break;
      this.#disk.remove(oldest.file);
      this.#segments.shift();
    }
    if (!rotating) return;
    // A file that comes back after a power loss must find its key.
    this.#disk.syncFolder();
    const used = new Set(this.#segments.map(({ keyId }) => keyId));
    for (const keyId of this.#files.keyIds()) used.add(keyId);
    this.#keys.keepOnly(used);
  }

  #refusal(what: string, cause?: unknown): ShoalError {
    return refusal(this.#disk, undefined, undefined, what, cause);
  }
}

/** The note that there are segments, or were. */
const BEGUN = 'log-begun';
