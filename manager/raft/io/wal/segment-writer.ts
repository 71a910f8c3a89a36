import type { DiskFile } from '../disk.ts';
import { type FileCipher, TAG_BYTES } from './cipher.ts';
import {
  boundPart,
  finishRecord,
  HEADER_BYTES,
  type RecordType,
  recordBytes,
  sealedRecordBytes,
  writeHead,
} from './record.ts';
import { SEGMENT_HEADER_BYTES } from './segment.ts';

/** Kept for batches up to this; larger ones get memory of their own. */
const SCRATCH_BYTES = 256 << 10;
const scratch = new Uint8Array(SCRATCH_BYTES);

/** The segment that is written to. */
export class SegmentWriter {
  readonly file: DiskFile;
  readonly #cipher: FileCipher | undefined;
  readonly #size: number;
  #at: number;
  #crc: number;

  private constructor(
    file: DiskFile,
    cipher: FileCipher | undefined,
    size: number,
    at: number,
    crc: number,
  ) {
    this.file = file;
    this.#cipher = cipher;
    this.#size = size;
    this.#at = at;
    this.#crc = crc;
  }

  /** Right after its header, whose checksum is `crc`. */
  static begin(file: DiskFile, cipher: FileCipher, size: number, crc: number): SegmentWriter {
    return new SegmentWriter(file, cipher, size, SEGMENT_HEADER_BYTES, crc);
  }

  /**
   * One of an earlier run: it can only be ended. What lay behind its last record may have been a
   * torn one, and no place is ever sealed twice with the same key.
   */
  static ending(file: DiskFile, end: number, crc: number): SegmentWriter {
    return new SegmentWriter(file, undefined, end, end, crc);
  }

  /** Of the last record. */
  get crc(): number {
    return this.#crc;
  }
  /** Bytes left for records. */
  get room(): number {
    return this.#size - this.#at;
  }
  get size(): number {
    return this.#size;
  }

  /** On disk when it returns. The caller has looked for room. */
  write(type: RecordType, index: number, term: number, plain: Uint8Array): void {
    const cipher = this.#cipher;
    if (cipher === undefined) throw new RangeError('a segment of an earlier run takes no records');
    const at = this.#at;
    const total = sealedRecordBytes(plain.length);
    const bytes = memoryFor(total);
    const length = plain.length + TAG_BYTES;
    writeHead(bytes, { type, length, previous: this.#crc, index, term });
    cipher.seal(at, boundPart(bytes), plain, bytes, HEADER_BYTES);
    const crc = finishRecord(bytes, length);
    this.file.write(bytes, at);
    this.file.sync();
    this.#at += total;
    this.#crc = crc;
  }

  /** Says that another segment follows, and lets go of the file. Not synced: it is a safeguard only. */
  end(): void {
    const bytes = new Uint8Array(recordBytes(0));
    writeHead(bytes, { type: 'end', length: 0, previous: this.#crc, index: 0, term: 0 });
    finishRecord(bytes, 0);
    this.file.write(bytes, this.#at);
    this.file.truncate(this.#at + bytes.length);
    this.file.close();
  }
}

function memoryFor(total: number): Uint8Array {
  return total <= SCRATCH_BYTES ? scratch.subarray(0, total) : new Uint8Array(total);
}
