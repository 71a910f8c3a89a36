import { crc32 } from 'node:zlib';
import { TAG_BYTES } from './cipher.ts';

/**
 * A record of the log, 8-byte aligned, numbers big-endian:
 *
 *      0 u32  payload's length
 *      4 u32  checksum of the record before (of the segment's header, for the first)
 *      8 u64  index of the first entry in it; 0 for none
 *     16 u64  Raft's term when it was written
 *     24 u8   type
 *     25 u8   0, then u16 MARK
 *     28 u32  checksum of the header so far
 *     32      payload: sealed, with its tag
 *        u32  checksum of everything before
 *        END bytes up to the alignment, at least one
 *
 * Checksums are CRC-32 (IEEE) and never 0, and the last byte never is: in a file of zeros each part
 * that a torn write left out can be told from one that arrived.
 */
export const HEADER_BYTES = 32;
const ALIGNMENT = 8;
const CRC_BYTES = 4;
const MARK = 0xa55a;
const END = 0xff;
const HEADER_CRC_AT = 28;

export const RECORD_TYPES = ['state', 'batch', 'end'] as const;
/**
 * `state` begins a segment with all that its predecessors say but entries; `batch` is one append;
 * `end` says that another segment follows.
 */
export type RecordType = (typeof RECORD_TYPES)[number];

export type RecordHead = Readonly<{
  type: RecordType;
  length: number;
  previous: number;
  index: number;
  term: number;
}>;

/** Of a record whose payload, tag included, has so many bytes. */
export function recordBytes(length: number): number {
  const used = HEADER_BYTES + length + CRC_BYTES;
  return used + ALIGNMENT - (used % ALIGNMENT);
}

export function sealedRecordBytes(plainBytes: number): number {
  return recordBytes(plainBytes + TAG_BYTES);
}

/** The part that the payload's seal is bound to. */
export function boundPart(bytes: Uint8Array): Uint8Array {
  return bytes.subarray(0, HEADER_BYTES);
}

export function writeHead(bytes: Uint8Array, head: RecordHead): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_BYTES);
  view.setUint32(0, head.length);
  view.setUint32(4, head.previous);
  view.setBigUint64(8, BigInt(head.index));
  view.setBigUint64(16, BigInt(head.term));
  view.setUint8(24, RECORD_TYPES.indexOf(head.type) + 1);
  view.setUint8(25, 0);
  view.setUint16(26, MARK);
  view.setUint32(HEADER_CRC_AT, checksum(bytes.subarray(0, HEADER_CRC_AT)));
}

/** After head and payload are in place: checksum and end. Returns the checksum. */
export function finishRecord(bytes: Uint8Array, length: number): number {
  const at = HEADER_BYTES + length;
  const crc = checksum(bytes.subarray(0, at));
  new DataView(bytes.buffer, bytes.byteOffset + at, CRC_BYTES).setUint32(0, crc);
  bytes.fill(END, at + CRC_BYTES, recordBytes(length));
  return crc;
}

/** Undefined when there is no whole header that checks out. */
export function readHead(bytes: Uint8Array, at: number): RecordHead | undefined {
  if (at + HEADER_BYTES > bytes.length) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, HEADER_BYTES);
  if (view.getUint16(26) !== MARK) return undefined;
  const type = RECORD_TYPES[view.getUint8(24) - 1];
  if (type === undefined) return undefined;
  const crc = checksum(bytes.subarray(at, at + HEADER_CRC_AT));
  if (view.getUint32(HEADER_CRC_AT) !== crc) return undefined;
  return {
    type,
    length: view.getUint32(0),
    previous: view.getUint32(4),
    index: Number(view.getBigUint64(8)),
    term: Number(view.getBigUint64(16)),
  };
}

export type FoundRecord = RecordHead & Readonly<{ crc: number; payload: Uint8Array; end: number }>;

/** The record at `at`, whole and with the right checksum; else undefined. */
export function readRecord(bytes: Uint8Array, at: number): FoundRecord | undefined {
  const head = readHead(bytes, at);
  if (head === undefined) return undefined;
  const end = at + recordBytes(head.length);
  if (end > bytes.length) return undefined;
  const crcAt = at + HEADER_BYTES + head.length;
  for (let i = crcAt + CRC_BYTES; i < end; i++) if (bytes[i] !== END) return undefined;
  const crc = new DataView(bytes.buffer, bytes.byteOffset + crcAt, CRC_BYTES).getUint32(0);
  if (crc !== checksum(bytes.subarray(at, crcAt))) return undefined;
  return { ...head, crc, payload: bytes.subarray(at + HEADER_BYTES, crcAt), end };
}

/** CRC-32 with 0 taken out. */
export function checksum(bytes: Uint8Array): number {
  return crc32(bytes) || 1;
}
