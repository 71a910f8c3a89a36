import { randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { ShoalError } from '../../../shared/errors.ts';
import { decodeSnapshotMeta, encodeSnapshotMeta } from '../codec.ts';
import { DiskFullError, type SnapshotSink } from '../ports.ts';
import type { SnapshotMeta } from '../types.ts';
import { type Disk, type DiskFile, isDiskFull } from './disk.ts';
import type { LogKeys } from './log-keys.ts';
import { FileCipher, SALT_BYTES, TAG_BYTES } from './wal/cipher.ts';
import type { Place } from './wal/content.ts';
import { KEY_ID_BYTES } from './wal/segment.ts';

/**
 * Snapshots as files: `snap-<index>-<term>`, written as `.tmp`, synced, renamed, and the folder
 * synced. Layout, all numbers big-endian u32:
 *
 *     magic | id of the data key (8 bytes) | salt (16) | (length | sealed chunk)... | 0 | CRC-32 of all before
 *
 * Each chunk is sealed under its number; number 0 is the meta, and the last one is empty, so that none
 * can be left out. Chunks come back as they were written: whoever made them may rely on their borders.
 */
const MAGIC = 0x53_48_53_32; // "SHS2"
const NAME = /^snap-(\d{16})-(\d{16})$/;
const PURPOSE = 'shoal raft snapshot';
const HEAD_BYTES = 4 + KEY_ID_BYTES + SALT_BYTES;
const LARGEST_CHUNK_BYTES = 64 << 20;
const NOTHING = new Uint8Array(0);

/** With a commit that blocks, for callers that cannot wait any other way. */
export interface FileSnapshotSink extends SnapshotSink {
  commitSync(): void;
}

export class SnapshotFiles {
  readonly #disk: Disk;
  readonly #keys: LogKeys;
  #temporaries = 0;
  constructor(disk: Disk, keys: LogKeys) {
    this.#disk = disk;
    this.#keys = keys;
  }

  /** Finished snapshots, newest first. By index: a term may not tell, but an index never goes back. */
  list(): Place[] {
    const names: Place[] = [];
    for (const file of this.#disk.list()) {
      const [, index, term] = NAME.exec(file) ?? [];
      if (index !== undefined && term !== undefined) {
        names.push({ index: Number(index), term: Number(term) });
      }
    }
    return names.sort((a, b) => b.index - a.index || b.term - a.term);
  }

  has({ index, term }: Place): boolean {
    return this.list().some((one) => one.index === index && one.term === term);
  }

  begin(meta: SnapshotMeta): FileSnapshotSink {
    // Two may be under way at once: one of this node's own, one that a leader sends.
    const name = fileName(meta);
    const temporary = `${name}.${++this.#temporaries}.tmp`;
    return new FileSink(this.#disk, this.#keys, temporary, name, meta);
  }

  /**
   * Chunks of a snapshot, read as they are asked for. The file is open from the first chunk on, so
   * that it may be removed meanwhile. Throws `failed-precondition` when it is damaged.
   */
  *read(name: Place): Generator<Uint8Array, void, void> {
    const reader = this.#open(name);
    try {
      reader.meta();
      for (;;) {
        const chunk = reader.chunk();
        if (chunk === undefined) return;
        yield chunk;
      }
    } finally {
      reader.close();
    }
  }

  /** Reads a whole file and returns what it says of itself; throws `failed-precondition`. */
  check(name: Place): SnapshotMeta {
    const reader = this.#open(name);
    try {
      const meta = reader.meta();
      while (reader.chunk() !== undefined);
      if (meta.index !== name.index || meta.term !== name.term) {
        throw reader.damaged(`it says to be at index ${meta.index} of term ${meta.term}`);
      }
      return meta;
    } finally {
      reader.close();
    }
  }

  /** Of the data keys that finished snapshots are sealed with. */
  keyIds(): string[] {
    return this.list().map((name) => {
      const reader = this.#open(name);
      try {
        return reader.keyId;
      } finally {
        reader.close();
      }
    });
  }

  pruneFinished(keep: (name: Place) => boolean): void {
    for (const name of this.list()) if (!keep(name)) this.#disk.remove(fileName(name));
  }

  #open(name: Place): FileReader {
    return new FileReader(this.#disk, this.#keys, fileName(name));
  }
}

function fileName({ index, term }: Place): string {
  const digits = (value: number) => String(value).padStart(16, '0');
  return `snap-${digits(index)}-${digits(term)}`;
}

class FileSink implements FileSnapshotSink {
  readonly #disk: Disk;
  readonly #file: DiskFile;
  readonly #cipher: FileCipher;
  readonly #temporary: string;
  readonly #name: string;
  #number = 0;
  #at = 0;
  #crc = 0;
  #open = true;

  constructor(disk: Disk, keys: LogKeys, temporary: string, name: string, meta: SnapshotMeta) {
    this.#disk = disk;
    this.#temporary = temporary;
    this.#name = name;
    const { id, key } = keys.current;
    const salt = randomBytes(SALT_BYTES);
    this.#cipher = new FileCipher(key, salt, PURPOSE);
    this.#file = this.#withRoom(() => disk.create(temporary));
    try {
      this.#put(u32(MAGIC), Buffer.from(id, 'hex'), salt);
      this.#seal(encodeSnapshotMeta(meta));
    } catch (error) {
      this.abort();
      throw error;
    }
  }

  write(chunk: Uint8Array): void {
    if (chunk.length === 0) return; // an empty one is the end
    if (chunk.length > LARGEST_CHUNK_BYTES) {
      throw new ShoalError('internal', `a chunk of a snapshot has ${chunk.length} bytes`);
    }
    this.#seal(chunk);
  }

  async commit(): Promise<void> {
    this.#end();
    await this.#file.syncSoon().catch((error: unknown) => {
      throw this.#roomOr(error);
    });
    this.#publish();
  }

  commitSync(): void {
    this.#end();
    this.#withRoom(() => this.#file.sync());
    this.#publish();
  }

  abort(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#file.close();
    this.#disk.remove(this.#temporary);
  }

  #end(): void {
    this.#seal(NOTHING);
    this.#put(u32(0));
    this.#put(u32(this.#crc));
  }

  /** Not when it was aborted while it waited for the disk. */
  #publish(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#file.close();
    this.#disk.rename(this.#temporary, this.#name);
    this.#disk.syncFolder();
  }

  #withRoom<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw this.#roomOr(error);
    }
  }

  #roomOr(error: unknown): unknown {
    return isDiskFull(error) ? new DiskFullError(this.#disk.path, { cause: error }) : error;
  }

  #seal(chunk: Uint8Array): void {
    const bytes = new Uint8Array(4 + chunk.length + TAG_BYTES);
    const length = chunk.length + TAG_BYTES;
    new DataView(bytes.buffer).setUint32(0, length);
    this.#cipher.seal(this.#number++, NOTHING, chunk, bytes, 4);
    this.#put(bytes);
  }

  #put(...parts: readonly Uint8Array[]): void {
    for (const part of parts) {
      this.#crc = crc32(part, this.#crc);
      this.#withRoom(() => this.#file.write(part, this.#at));
      this.#at += part.length;
    }
  }
}

class FileReader {
  readonly keyId: string;
  readonly #path: string;
  readonly #file: DiskFile;
  readonly #cipher: FileCipher;
  #number = 0;
  #at = 0;
  #crc = 0;

  constructor(disk: Disk, keys: LogKeys, name: string) {
    this.#path = `${disk.path}/${name}`;
    this.#file = this.#openFile(disk, name);
    try {
      const head = this.#take(HEAD_BYTES);
      if (numberAt(head, 0) !== MAGIC) throw this.damaged('it does not begin as a snapshot');
      this.keyId = Buffer.from(head.subarray(4, 4 + KEY_ID_BYTES)).toString('hex');
      const key = keys.get(this.keyId);
      if (key === undefined) throw this.damaged('the key that it was sealed with is gone');
      this.#cipher = new FileCipher(key, head.subarray(4 + KEY_ID_BYTES), PURPOSE);
    } catch (error) {
      this.#file.close();
      throw error;
    }
  }

  meta(): SnapshotMeta {
    const bytes = this.#unseal();
    if (bytes === undefined) throw this.damaged('it has no header');
    try {
      return decodeSnapshotMeta(bytes);
    } catch (error) {
      throw this.damaged('its header makes no sense', error);
    }
  }

  /** Undefined at the end, after the checksum was found right. */
  chunk(): Uint8Array | undefined {
    const chunk = this.#unseal();
    if (chunk !== undefined && chunk.length > 0) return chunk;
    if (chunk === undefined || numberAt(this.#take(4), 0) !== 0) {
      throw this.damaged('its end is missing');
    }
    const computed = this.#crc;
    if (numberAt(this.#take(4), 0) !== computed) throw this.damaged('its checksum is wrong');
    return undefined;
  }

  close(): void {
    this.#file.close();
  }

  damaged(why: string, cause?: unknown): ShoalError {
    return new ShoalError(
      'failed-precondition',
      `the snapshot ${this.#path} is damaged: ${why}`,
      cause === undefined ? undefined : { cause },
    );
  }

  #unseal(): Uint8Array | undefined {
    const length = numberAt(this.#take(4), 0);
    if (length === 0) return undefined;
    if (length > LARGEST_CHUNK_BYTES + TAG_BYTES) throw this.damaged('a chunk is too long');
    const plain = this.#cipher.open(this.#number++, NOTHING, this.#take(length));
    if (plain === undefined) throw this.damaged(`its checksum is wrong before byte ${this.#at}`);
    return plain;
  }

  #openFile(disk: Disk, name: string): DiskFile {
    let file: DiskFile | undefined;
    try {
      file = disk.open(name);
    } catch (error) {
      throw this.damaged('it cannot be opened', error);
    }
    if (file === undefined) throw this.damaged('it is gone');
    return file;
  }

  #take(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    if (this.#file.read(bytes, this.#at) < length) throw this.damaged('it ends too early');
    this.#at += length;
    this.#crc = crc32(bytes, this.#crc);
    return bytes;
  }
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

function numberAt(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0);
}
