import { FileCipher, SALT_BYTES } from './cipher.ts';
import { checksum } from './record.ts';

/**
 * A segment: `wal-<sequence>-<first index>`, made of zeros in its full size before it is used. Header,
 * numbers big-endian, then records:
 *
 *      0 u32  magic
 *      4 u32  format
 *      8 u64  sequence: one more than that of the segment before
 *     16 u64  index of the first entry that it can hold
 *     24 u32  size of the file
 *     28 u32  checksum of the last record of the segment before
 *     32      id of the log (16 bytes), of the data key (8), salt (16), zeros
 *     92 u32  checksum of the header so far
 */
export const SEGMENT_HEADER_BYTES = 96;
export const LOG_ID_BYTES = 16;
export const KEY_ID_BYTES = 8;
const MAGIC = 0x53_48_57_4c; // "SHWL"
const FORMAT = 1;
const CRC_AT = 92;
const NAME = /^wal-(\d{16})-(\d{16})$/;
const PURPOSE = 'shoal raft segment';

export type SegmentHeader = Readonly<{
  sequence: number;
  firstIndex: number;
  size: number;
  previous: number;
  logId: Uint8Array;
  /** 16 hex digits. */
  keyId: string;
  salt: Uint8Array;
  /** Of the header itself: what the first record follows. */
  crc: number;
}>;

export type SegmentName = Readonly<{ sequence: number; firstIndex: number; file: string }>;

export function segmentFile(sequence: number, firstIndex: number): string {
  const digits = (value: number) => String(value).padStart(16, '0');
  return `wal-${digits(sequence)}-${digits(firstIndex)}`;
}

/** In order. */
export function segmentsOf(files: readonly string[]): SegmentName[] {
  const names: SegmentName[] = [];
  for (const file of files) {
    const [, sequence, firstIndex] = NAME.exec(file) ?? [];
    if (sequence === undefined || firstIndex === undefined) continue;
    names.push({ sequence: Number(sequence), firstIndex: Number(firstIndex), file });
  }
  return names.sort((a, b) => a.sequence - b.sequence);
}

export function encodeSegmentHeader(header: Omit<SegmentHeader, 'crc'>): {
  bytes: Uint8Array;
  crc: number;
} {
  const bytes = new Uint8Array(SEGMENT_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC);
  view.setUint32(4, FORMAT);
  view.setBigUint64(8, BigInt(header.sequence));
  view.setBigUint64(16, BigInt(header.firstIndex));
  view.setUint32(24, header.size);
  view.setUint32(28, header.previous);
  bytes.set(header.logId, 32);
  bytes.set(Buffer.from(header.keyId, 'hex'), 48);
  bytes.set(header.salt, 56);
  const crc = checksum(bytes.subarray(0, CRC_AT));
  view.setUint32(CRC_AT, crc);
  return { bytes, crc };
}

/** Says what is wrong with it where something is. */
export function decodeSegmentHeader(bytes: Uint8Array): SegmentHeader | string {
  if (bytes.length < SEGMENT_HEADER_BYTES) return 'the file is too short';
  const view = new DataView(bytes.buffer, bytes.byteOffset, SEGMENT_HEADER_BYTES);
  const crc = checksum(bytes.subarray(0, CRC_AT));
  if (view.getUint32(CRC_AT) !== crc) return 'the checksum of its header is wrong';
  if (view.getUint32(0) !== MAGIC) return 'it does not begin as a segment';
  const format = view.getUint32(4);
  if (format !== FORMAT) return `its format is ${format}, this program knows ${FORMAT}`;
  return {
    sequence: Number(view.getBigUint64(8)),
    firstIndex: Number(view.getBigUint64(16)),
    size: view.getUint32(24),
    previous: view.getUint32(28),
    logId: bytes.slice(32, 32 + LOG_ID_BYTES),
    keyId: Buffer.from(bytes.subarray(48, 48 + KEY_ID_BYTES)).toString('hex'),
    salt: bytes.slice(56, 56 + SALT_BYTES),
    crc,
  };
}

export function segmentCipher(dataKey: Uint8Array, salt: Uint8Array): FileCipher {
  return new FileCipher(dataKey, salt, PURPOSE);
}
