import { HEADER_BYTES, readHead, readRecord, recordBytes } from './record.ts';

/** Written all or not at all by a disk that loses power. */
const SECTOR_BYTES = 512;
const ALIGNMENT = 8;

export type Damage =
  /** Zeros from there to the end of the file: nothing was ever written. */
  | Readonly<{ kind: 'none' }>
  /** The last write before a crash, of which a part never arrived. It was never acknowledged. */
  | Readonly<{ kind: 'torn'; end: number }>
  /** What was written there has changed since: it may have been acknowledged. */
  | Readonly<{ kind: 'rotten'; why: string }>;

/**
 * Judges what lies at `at` in a segment that was zeros before it was written, where no whole record
 * is. The log writes and syncs one record after the other: whatever is followed by a trace of
 * another record had been synced. Only the very last record can be torn, and then some of it is still
 * zeros, a whole sector or everything from some byte on; a record of which every part is there,
 * but not as it was, has rotted.
 */
export function judge(bytes: Uint8Array, at: number): Damage {
  const end = endOfData(bytes, at);
  if (end === at) return { kind: 'none' };
  const torn: Damage = { kind: 'torn', end };
  const head = readHead(bytes, at);
  if (head === undefined) {
    if (validRecordAfter(bytes, at, end)) return rotten('there are whole records after it');
    if (end < at + HEADER_BYTES || lacksSector(bytes, at, at + HEADER_BYTES)) return torn;
    return rotten('its header is damaged');
  }
  const expectedEnd = at + recordBytes(head.length);
  if (expectedEnd > bytes.length) return rotten('it reaches beyond the end of the file');
  if (end > expectedEnd) return rotten('something was written after it');
  if (end < expectedEnd || lacksSector(bytes, at, expectedEnd)) return torn;
  return rotten('its checksum is wrong');
}

function rotten(why: string): Damage {
  return { kind: 'rotten', why };
}

/** Just behind the last byte that is not zero; `at` when all are. */
function endOfData(bytes: Uint8Array, at: number): number {
  let end = bytes.length;
  while (end > at && bytes[end - 1] === 0) end--;
  return end;
}

/** Whether the part of some sector between `from` and `to` is all zeros. */
function lacksSector(bytes: Uint8Array, from: number, to: number): boolean {
  for (let at = from; at < to; ) {
    const next = Math.min(to, at - (at % SECTOR_BYTES) + SECTOR_BYTES);
    if (bytes.subarray(at, next).every((byte) => byte === 0)) return true;
    at = next;
  }
  return false;
}

function validRecordAfter(bytes: Uint8Array, from: number, to: number): boolean {
  for (let at = from + ALIGNMENT; at < to; at += ALIGNMENT) {
    if (readRecord(bytes, at) !== undefined) return true;
  }
  return false;
}
