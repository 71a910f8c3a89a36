import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { crc32 } from 'node:zlib';
import { messageOf, ShoalError } from '../../../shared/errors.ts';
import { decodeEntry, decodeHardState, encodeEntry, encodeHardState } from '../codec.ts';
import type { NodeStorage } from '../ports.ts';
import type {
  DurableBatch,
  Entry,
  HardState,
  LoadedState,
  SnapshotBody,
  SnapshotMeta,
} from '../types.ts';
import { Reader, Writer } from '../wire.ts';
import { Floor } from './floor.ts';
import {
  type FileSnapshotSink,
  SnapshotFiles,
  type SnapshotName,
  syncFolder,
} from './snapshot-files.ts';

const DATABASE = 'raft.db';
const FLOOR = 'floor';
const FORMAT = 1;
/** Write-ahead log to checkpoint when nothing else is to do, and at the latest. */
const IDLE_CHECKPOINT_BYTES = 4 << 20;
const FORCED_CHECKPOINT_BYTES = 64 << 20;
/** The newest, and the one before: should the newest be unreadable while the log still reaches back. */
const SNAPSHOTS_KEPT = 2;
const NO_STATE: HardState = { term: 0, vote: undefined, commit: 0 };
/** A frame of SQLite's write-ahead log: header and page. */
const WAL_FRAME_BYTES = 24 + 4096;

/**
 * Raft's log in SQLite: write-ahead log, `synchronous=FULL`, one transaction (and one sync) per
 * batch. SQLite's own recovery stops at the first damaged frame and forgets what follows, also what
 * was acknowledged: so each batch has a number, kept in the transaction and, after it is on disk, in
 * a file beside it (`floor`). A database whose number is below the file's has lost batches, and the
 * node refuses to start with it. Each entry has a checksum of its own, over its index as well.
 *
 * Synchronous: it belongs into the thread that runs consensus and nothing else.
 */
export class SqliteLog implements NodeStorage {
  readonly #folder: string;
  readonly #database: DatabaseSync;
  readonly #files: SnapshotFiles;
  readonly #floor: Floor;
  readonly #insert: StatementSync;
  readonly #cut: StatementSync;
  readonly #put: StatementSync;
  #batch = 0;
  #hardState = NO_STATE;
  #hardStateDirty = false;
  #compacted: SnapshotName = { index: 0, term: 0 };
  #snapshot: SnapshotName | undefined;
  #lastIndex = 0;
  #walBytes = 0;
  #wroteSinceIdle = false;
  #closed = false;

  /** Opens or creates the log in `folder`. Throws `failed-precondition` when it is in use or no log. */
  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.#files = new SnapshotFiles(folder);
    this.#database = openDatabase(join(folder, DATABASE));
    this.#floor = new Floor(join(folder, FLOOR));
    syncFolder(folder);
    this.#insert = this.#database.prepare('INSERT INTO entries (idx, crc, data) VALUES (?, ?, ?)');
    this.#cut = this.#database.prepare('DELETE FROM entries WHERE idx >= ?');
    this.#put = this.#database.prepare('INSERT OR REPLACE INTO facts (key, value) VALUES (?, ?)');
  }

  load(): LoadedState {
    this.#batch = this.#number('batch') ?? 0;
    const floor = this.#floor.read();
    if (floor > this.#batch) {
      throw this.#refusal(
        `${DATABASE} has lost the last ${floor - this.#batch} of ${floor} writes that were acknowledged`,
      );
    }
    this.#hardState = this.#fact('hard-state', decodeHardState) ?? NO_STATE;
    this.#compacted = this.#fact('compacted', decodeName) ?? { index: 0, term: 0 };
    this.#snapshot = this.#fact('snapshot', decodeName);
    const entries = this.#readEntries();
    this.#lastIndex = this.#compacted.index + entries.length;
    const snapshot = this.#findSnapshot(entries);
    if (this.#hardState.commit > this.#lastIndex) {
      throw this.#refusal(
        `${DATABASE} ends at entry ${this.#lastIndex}, but ${this.#hardState.commit} were committed`,
      );
    }
    return { hardState: this.#hardState, snapshot, entries, compacted: this.#compacted };
  }

  append(batch: DurableBatch, options?: Readonly<{ lazy: boolean }>): void {
    const { hardState, snapshot, entries } = batch;
    if (hardState !== undefined) {
      this.#hardState = hardState;
      this.#hardStateDirty = true;
    }
    // Only the commit index moved, which is a hint: it goes with the next batch, or when idle.
    if (options?.lazy === true && snapshot === undefined && entries.length === 0) return;
    if (snapshot !== undefined) this.#bringSnapshot(snapshot.meta, snapshot.body);
    this.#transaction(() => {
      if (snapshot !== undefined) this.#restartAt(snapshot.meta);
      this.#writeEntries(entries);
    });
    if (snapshot !== undefined) this.#pruneSnapshots();
  }

  saveSnapshot(meta: SnapshotMeta, body: SnapshotBody): void {
    const sink = this.beginSnapshot(meta);
    try {
      for (const chunk of body) sink.write(chunk);
      sink.commitSync();
    } catch (error) {
      sink.abort();
      throw error;
    }
    this.adoptSnapshot(meta);
  }

  /**
   * The streaming way to keep a snapshot: write the chunks, commit, then `adoptSnapshot` (for one of
   * this node's own state) or hand it to `append` (for one that a leader sent).
   */
  beginSnapshot(meta: SnapshotMeta): FileSnapshotSink {
    return this.#files.begin(meta);
  }

  /** A committed snapshot becomes the one to start from. */
  adoptSnapshot({ index, term }: SnapshotMeta): void {
    if (index <= (this.#snapshot?.index ?? 0)) return;
    this.#transaction(() => {
      this.#put.run('snapshot', checked(encodeName({ index, term })));
    });
    this.#snapshot = { index, term };
    this.#pruneSnapshots();
  }

  readSnapshot(): Readonly<{ meta: SnapshotMeta; body: SnapshotBody }> | undefined {
    const name = this.#snapshot;
    if (name === undefined) return undefined;
    return { meta: this.#files.check(name), body: this.#files.read(name) };
  }

  /** Body of one certain snapshot; undefined when it is not kept any more. */
  openSnapshot(name: SnapshotName): SnapshotBody | undefined {
    const kept = this.#files
      .list()
      .some(({ index, term }) => index === name.index && term === name.term);
    return kept ? this.#files.read(name) : undefined;
  }

  compact(toIndex: number): void {
    if (toIndex <= this.#compacted.index) return;
    if (toIndex > (this.#snapshot?.index ?? 0) || toIndex > this.#lastIndex) {
      throw new ShoalError(
        'internal',
        `cannot compact the log to ${toIndex}: no snapshot covers it`,
      );
    }
    const { term } = this.#readEntry(toIndex);
    this.#transaction(() => {
      this.#database.prepare('DELETE FROM entries WHERE idx <= ?').run(toIndex);
      this.#put.run('compacted', checked(encodeName({ index: toIndex, term })));
    });
    this.#compacted = { index: toIndex, term };
  }

  /** Small facts of the node beside the log: durable when it returns. */
  putNote(key: string, value: Uint8Array): void {
    this.#transaction(() => {
      this.#put.run(`note:${key}`, checked(value));
    });
  }

  note(key: string): Uint8Array | undefined {
    return this.#fact(`note:${key}`, (bytes) => bytes);
  }

  /**
   * To be called now and then (each tick): does what can wait. Checkpoints cost some ten
   * milliseconds, so they are done after a moment without writes, unless the file grows too long.
   */
  idle(): void {
    const quiet = !this.#wroteSinceIdle;
    this.#wroteSinceIdle = false;
    if (quiet && this.#hardStateDirty) {
      this.#transaction(() => undefined);
      this.#wroteSinceIdle = false;
      return;
    }
    if (this.#walBytes < (quiet ? IDLE_CHECKPOINT_BYTES : FORCED_CHECKPOINT_BYTES)) return;
    this.#database.exec('PRAGMA wal_checkpoint(PASSIVE)');
    this.#floor.sync();
    this.#walBytes = 0;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#hardStateDirty) this.#transaction(() => undefined);
    this.#floor.close();
    this.#database.close();
  }

  // ------------------------------------------------------------------------------------- writing

  /** Everything in `write`, the hard state and the batch's number: all or nothing, and synced. */
  #transaction(write: () => void): void {
    this.#database.exec('BEGIN IMMEDIATE');
    write();
    if (this.#hardStateDirty) {
      const bytes = encodeHardState(this.#hardState);
      this.#put.run('hard-state', checked(bytes));
      this.#walBytes += WAL_FRAME_BYTES;
    }
    this.#put.run('batch', checked(encodeNumber(this.#batch + 1)));
    this.#database.exec('COMMIT');
    this.#hardStateDirty = false;
    this.#wroteSinceIdle = true;
    this.#walBytes += WAL_FRAME_BYTES;
    this.#batch++;
    // After the commit is on disk, never before: else a crash in between would look like a loss.
    this.#floor.write(this.#batch);
  }

  #writeEntries(entries: readonly Entry[]): void {
    const [first] = entries;
    if (first === undefined) return;
    if (first.index <= this.#compacted.index || first.index > this.#lastIndex + 1) {
      throw new ShoalError(
        'internal',
        `entry ${first.index} does not follow the log, which ends at ${this.#lastIndex}`,
      );
    }
    if (first.index <= this.#lastIndex) this.#cut.run(first.index);
    for (const entry of entries) {
      const data = encodeEntry(entry);
      this.#insert.run(entry.index, checksum(entry.index, data), data);
      this.#walBytes += data.length;
    }
    this.#walBytes += WAL_FRAME_BYTES;
    this.#lastIndex = first.index + entries.length - 1;
  }

  #restartAt({ index, term }: SnapshotMeta): void {
    const name = checked(encodeName({ index, term }));
    this.#database.exec('DELETE FROM entries');
    this.#put.run('snapshot', name);
    this.#put.run('compacted', name);
    this.#snapshot = { index, term };
    this.#compacted = { index, term };
    this.#lastIndex = index;
  }

  /** It is there already when it was streamed in; a leftover of that name is written over. */
  #bringSnapshot(meta: SnapshotMeta, body: SnapshotBody): void {
    const there = this.#files.list().some(({ index, term }) => {
      return index === meta.index && term === meta.term;
    });
    if (there) return;
    const sink = this.beginSnapshot(meta);
    try {
      for (const chunk of body) sink.write(chunk);
      sink.commitSync();
    } catch (error) {
      sink.abort();
      throw error;
    }
  }

  #pruneSnapshots(): void {
    const current = this.#snapshot?.index ?? 0;
    // Newer ones are on their way in: received, and not yet handed to `append`.
    const older = this.#files.list().filter(({ index }) => index < current);
    const kept = new Set(older.slice(0, SNAPSHOTS_KEPT - 1).map(({ index }) => index));
    this.#files.pruneFinished(({ index }) => index >= current || kept.has(index));
  }

  // ------------------------------------------------------------------------------------- reading

  #readEntries(): Entry[] {
    const entries: Entry[] = [];
    let expected = this.#compacted.index + 1;
    const rows = this.#database
      .prepare('SELECT idx, crc, data FROM entries ORDER BY idx')
      .iterate();
    for (const row of rows) {
      const entry = this.#toEntry(row, expected);
      entries.push(entry);
      expected++;
    }
    return entries;
  }

  #readEntry(index: number): Entry {
    const row = this.#database
      .prepare('SELECT idx, crc, data FROM entries WHERE idx = ?')
      .get(index);
    return this.#toEntry(row ?? {}, index);
  }

  #toEntry(row: Record<string, unknown>, expected: number): Entry {
    const { idx, crc, data } = row;
    if (idx !== expected) {
      throw this.#refusal(`entry ${expected} is missing in ${DATABASE} (next is ${idx})`);
    }
    if (!(data instanceof Uint8Array) || crc !== checksum(expected, data)) {
      throw this.#refusal(`the checksum of entry ${expected} in ${DATABASE} is wrong`);
    }
    try {
      return decodeEntry(data, expected);
    } catch (error) {
      throw this.#refusal(`entry ${expected} in ${DATABASE}: ${messageOf(error)}`, error);
    }
  }

  /** The newest snapshot that can be read and that the log continues. */
  #findSnapshot(entries: readonly Entry[]): SnapshotMeta | undefined {
    const recorded = this.#snapshot;
    // Newer than recorded: finished, but the crash came before it counted.
    this.#files.prune(({ index }) => index <= (recorded?.index ?? 0));
    if (recorded === undefined) {
      if (this.#compacted.index === 0) return undefined;
      throw this.#refusal('the log begins after a snapshot, but none is recorded');
    }
    let why: unknown;
    for (const name of this.#files.list()) {
      if (name.index < this.#compacted.index) break;
      try {
        const meta = this.#files.check(name);
        const term =
          name.index === this.#compacted.index
            ? this.#compacted.term
            : entries[name.index - this.#compacted.index - 1]?.term;
        if (term !== meta.term) continue;
        this.#snapshot = name;
        return meta;
      } catch (error) {
        why ??= error;
      }
    }
    const which = `snapshot ${recorded.index} (term ${recorded.term})`;
    throw this.#refusal(
      why === undefined ? `${which} is missing` : `${which}: ${messageOf(why)}`,
      why,
    );
  }

  #fact<T>(key: string, decode: (bytes: Uint8Array) => T): T | undefined {
    const row = this.#database.prepare('SELECT value FROM facts WHERE key = ?').get(key);
    if (row === undefined) return undefined;
    const { value } = row;
    const content = value instanceof Uint8Array ? unchecked(value) : undefined;
    if (content === undefined) throw this.#refusal(`"${key}" in ${DATABASE} is damaged`);
    return decode(content);
  }

  #number(key: string): number | undefined {
    return this.#fact(key, (bytes) => new Reader(bytes).varint());
  }

  #refusal(what: string, cause?: unknown): ShoalError {
    return new ShoalError(
      'failed-precondition',
      `the Raft log in ${this.#folder} cannot be trusted: ${what}. Starting with it could lose ` +
        'what the cluster has acknowledged. Remove this node from the managers, delete the ' +
        'folder, and let it join again as a new member',
      cause === undefined ? undefined : { cause },
    );
  }
}

function openDatabase(path: string): DatabaseSync {
  try {
    const database = new DatabaseSync(path);
    database.exec(`
      PRAGMA locking_mode = EXCLUSIVE;
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL;
      PRAGMA wal_autocheckpoint = 0;
      PRAGMA journal_size_limit = ${IDLE_CHECKPOINT_BYTES};
      PRAGMA cache_size = -512;
      CREATE TABLE IF NOT EXISTS entries (
        idx INTEGER PRIMARY KEY, crc INTEGER NOT NULL, data BLOB NOT NULL);
      CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    `);
    const { user_version: version } = database.prepare('PRAGMA user_version').get() ?? {};
    if (version === 0) database.exec(`PRAGMA user_version = ${FORMAT}`);
    else if (version !== FORMAT) throw new RangeError(`its format ${version} is not known`);
    return database;
  } catch (error) {
    throw new ShoalError(
      'failed-precondition',
      `cannot open the Raft log ${path}: ${messageOf(error)}. Is another manager using it?`,
      { cause: error },
    );
  }
}

/** Over index and content: an entry in another's place must not pass. */
function checksum(index: number, data: Uint8Array): number {
  const place = new Uint8Array(8);
  new DataView(place.buffer).setBigUint64(0, BigInt(index));
  return crc32(data, crc32(place));
}

function checked(content: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(content.length + 4);
  bytes.set(content);
  new DataView(bytes.buffer).setUint32(content.length, crc32(content));
  return bytes;
}

function unchecked(bytes: Uint8Array): Uint8Array | undefined {
  if (bytes.length < 4) return undefined;
  const content = bytes.subarray(0, -4);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return view.getUint32(content.length) === crc32(content) ? content : undefined;
}

function encodeNumber(value: number): Uint8Array {
  const writer = new Writer();
  writer.varint(value);
  return writer.finish();
}

function encodeName({ index, term }: SnapshotName): Uint8Array {
  const writer = new Writer();
  writer.varint(index);
  writer.varint(term);
  return writer.finish();
}

function decodeName(bytes: Uint8Array): SnapshotName {
  const reader = new Reader(bytes);
  return { index: reader.varint(), term: reader.varint() };
}
