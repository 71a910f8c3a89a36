import {
  closeSync,
  fdatasync,
  fdatasyncSync,
  fsyncSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { crc32 } from 'node:zlib';
import { ShoalError } from '../../../shared/errors.ts';
import { decodeSnapshotMeta, encodeSnapshotMeta } from '../codec.ts';
import type { SnapshotSink } from '../ports.ts';
import type { SnapshotMeta } from '../types.ts';

/**
 * Snapshots as files: `snap-<index>-<term>`, written as `.tmp`, synced, renamed, and the folder
 * synced. Layout, all numbers big-endian u32:
 *
 *     magic | meta length | meta | (chunk length | chunk)... | 0 | CRC-32 of everything before
 *
 * Chunks come back as they were written: whoever made them may rely on their borders.
 */
const MAGIC = 0x53_48_53_31; // "SHS1"
const NAME = /^snap-(\d{16})-(\d{16})$/;
const LARGEST_CHUNK_BYTES = 64 << 20;
const LARGEST_META_BYTES = 1 << 20;
const CHECK_BUFFER_BYTES = 256 << 10;

export type SnapshotName = Readonly<{ index: number; term: number }>;

/** With a commit that blocks, for callers that cannot wait any other way. */
export interface FileSnapshotSink extends SnapshotSink {
  commitSync(): void;
}

const fdatasyncAsync = promisify(fdatasync);

export class SnapshotFiles {
  readonly #folder: string;
  #temporaries = 0;
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Finished snapshots, newest first. By index: a term may not tell, but an index never goes back. */
  list(): SnapshotName[] {
    const names: SnapshotName[] = [];
    for (const file of readdirSync(this.#folder)) {
      const [, index, term] = NAME.exec(file) ?? [];
      if (index !== undefined && term !== undefined) {
        names.push({ index: Number(index), term: Number(term) });
      }
    }
    return names.sort((a, b) => b.index - a.index || b.term - a.term);
  }

  begin(meta: SnapshotMeta): FileSnapshotSink {
    // Two may be under way at once: one of this node's own, one that a leader sends.
    const temporary = `${this.#pathOf(meta)}.${++this.#temporaries}.tmp`;
    const fd = openSync(temporary, 'wx', 0o600);
    return new FileSink(fd, temporary, this.#pathOf(meta), this.#folder, meta);
  }

  /**
   * Chunks of a snapshot, read as they are asked for. The file is open from the first chunk on, so
   * that it may be removed meanwhile. Throws `failed-precondition` when it is damaged.
   */
  *read(name: SnapshotName): Generator<Uint8Array, void, void> {
    const path = this.#pathOf(name);
    const fd = openSync(path, 'r');
    try {
      const reader = new FileReader(fd, path);
      reader.header();
      for (;;) {
        const chunk = reader.chunk();
        if (chunk === undefined) return;
        yield chunk;
      }
    } finally {
      closeSync(fd);
    }
  }

  /** Reads a whole file and returns what it says of itself; throws `failed-precondition`. */
  check(name: SnapshotName): SnapshotMeta {
    const path = this.#pathOf(name);
    let fd: number;
    try {
      fd = openSync(path, 'r');
    } catch (error) {
      throw damaged(path, 'it cannot be opened', error);
    }
    try {
      const reader = new FileReader(fd, path);
      const meta = reader.header();
      reader.skipToEnd();
      if (meta.index !== name.index || meta.term !== name.term) {
        throw damaged(path, `it says to be at index ${meta.index} of term ${meta.term}`);
      }
      return meta;
    } finally {
      closeSync(fd);
    }
  }

  /** Removes files that were never finished, and finished ones for which `keep` says no. */
  prune(keep: (name: SnapshotName) => boolean): void {
    for (const file of readdirSync(this.#folder)) {
      if (file.startsWith('snap-') && file.endsWith('.tmp')) rmSync(join(this.#folder, file));
    }
    this.pruneFinished(keep);
  }

  pruneFinished(keep: (name: SnapshotName) => boolean): void {
    for (const name of this.list()) if (!keep(name)) rmSync(this.#pathOf(name), { force: true });
  }

  #pathOf({ index, term }: SnapshotName): string {
    const digits = (value: number) => String(value).padStart(16, '0');
    return join(this.#folder, `snap-${digits(index)}-${digits(term)}`);
  }
}

class FileSink implements FileSnapshotSink {
  readonly #fd: number;
  readonly #temporary: string;
  readonly #path: string;
  readonly #folder: string;
  #crc = 0;
  #open = true;
  constructor(fd: number, temporary: string, path: string, folder: string, meta: SnapshotMeta) {
    this.#fd = fd;
    this.#temporary = temporary;
    this.#path = path;
    this.#folder = folder;
    const encoded = encodeSnapshotMeta(meta);
    this.#put(u32(MAGIC), u32(encoded.length), encoded);
  }

  write(chunk: Uint8Array): void {
    if (chunk.length === 0) return; // a length of zero is the end
    if (chunk.length > LARGEST_CHUNK_BYTES) {
      throw new ShoalError('internal', `a chunk of a snapshot has ${chunk.length} bytes`);
    }
    this.#put(u32(chunk.length), chunk);
  }

  async commit(): Promise<void> {
    this.#end();
    await fdatasyncAsync(this.#fd);
    this.#publish();
  }

  commitSync(): void {
    this.#end();
    fdatasyncSync(this.#fd);
    this.#publish();
  }

  abort(): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.#fd);
    rmSync(this.#temporary, { force: true });
  }

  #end(): void {
    this.#put(u32(0));
    writeAll(this.#fd, u32(this.#crc));
  }

  #publish(): void {
    this.#open = false;
    closeSync(this.#fd);
    renameSync(this.#temporary, this.#path);
    syncFolder(this.#folder);
  }

  #put(...parts: readonly Uint8Array[]): void {
    for (const part of parts) {
      this.#crc = crc32(part, this.#crc);
      writeAll(this.#fd, part);
    }
  }
}

class FileReader {
  readonly #fd: number;
  readonly #path: string;
  #crc = 0;
  constructor(fd: number, path: string) {
    this.#fd = fd;
    this.#path = path;
  }

  header(): SnapshotMeta {
    if (this.#number() !== MAGIC) throw damaged(this.#path, 'it does not begin as a snapshot');
    const length = this.#number();
    if (length > LARGEST_META_BYTES) throw damaged(this.#path, 'its header is too long');
    const bytes = this.#take(length);
    try {
      return decodeSnapshotMeta(bytes);
    } catch (error) {
      throw damaged(this.#path, 'its header makes no sense', error);
    }
  }

  /** Undefined at the end, after the checksum was found right. */
  chunk(): Uint8Array | undefined {
    const length = this.#chunkLength();
    return length === 0 ? undefined : this.#take(length);
  }

  skipToEnd(): void {
    const buffer = new Uint8Array(CHECK_BUFFER_BYTES);
    for (let length = this.#chunkLength(); length > 0; length = this.#chunkLength()) {
      for (let left = length; left > 0; left -= buffer.length) {
        this.#fill(buffer.subarray(0, Math.min(left, buffer.length)));
      }
    }
  }

  #chunkLength(): number {
    const length = this.#number();
    if (length > LARGEST_CHUNK_BYTES) throw damaged(this.#path, 'a chunk is too long');
    if (length === 0) {
      const computed = this.#crc;
      if (this.#number() !== computed) throw damaged(this.#path, 'its checksum is wrong');
    }
    return length;
  }

  #number(): number {
    const bytes = this.#take(4);
    return new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0);
  }

  #take(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.#fill(bytes);
    return bytes;
  }

  #fill(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const got = readSync(this.#fd, bytes, at, bytes.length - at, null);
      if (got === 0) throw damaged(this.#path, 'it ends too early');
      at += got;
    }
    this.#crc = crc32(bytes, this.#crc);
  }
}

export function syncFolder(folder: string): void {
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

export function writeAll(fd: number, bytes: Uint8Array, position: number | null = null): void {
  for (let at = 0; at < bytes.length; ) {
    const from = position === null ? null : position + at;
    at += writeSync(fd, bytes, at, bytes.length - at, from);
  }
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

function damaged(path: string, why: string, cause?: unknown): ShoalError {
  return new ShoalError(
    'failed-precondition',
    `the snapshot ${path} is damaged: ${why}`,
    cause === undefined ? undefined : { cause },
  );
}
