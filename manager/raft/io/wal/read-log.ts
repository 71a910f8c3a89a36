import { messageOf, ShoalError } from '../../../../shared/errors.ts';
import type { Disk, DiskFile } from '../disk.ts';
import type { LogKeys } from '../log-keys.ts';
import { decodeBatch, decodeState } from './content.ts';
import { judge } from './damage.ts';
import { boundPart, type FoundRecord, readRecord } from './record.ts';
import { Replay } from './replay.ts';
import {
  decodeSegmentHeader,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
  type SegmentName,
  segmentCipher,
  segmentsOf,
} from './segment.ts';

/** A segment that is not written to any more. Its last entry is `firstIndex - 1` of the next one. */
export type OldSegment = Readonly<{
  sequence: number;
  firstIndex: number;
  file: string;
  keyId: string;
}>;

export type ReadLog = Readonly<{
  replay: Replay;
  segments: readonly OldSegment[];
  /** Files of older ones that were being removed. */
  leftover: readonly string[];
  /** Of the last record there is, and where it ends in the last segment. */
  crc: number;
  end: number;
  /** Where the bytes of a torn write end, when the last segment has one. */
  tornEnd: number | undefined;
}>;

/**
 * Reads all segments. Throws `failed-precondition`, naming file, offset and the way out, for anything
 * that a crash cannot explain. Writes nothing.
 */
export function readLog(disk: Disk, keys: LogKeys): ReadLog {
  const { names, leftover } = neededSegments(disk.list());
  const replay = new Replay();
  const segments: OldSegment[] = [];
  let crc = 0;
  let end = 0;
  let tornEnd: number | undefined;
  for (const [i, name] of names.entries()) {
    const before = names[i - 1];
    const reader = new SegmentReader(disk, keys, name, replay);
    if (before !== undefined && reader.header.previous !== crc) {
      throw refusal(
        disk,
        before.file,
        end,
        'its end is missing: the next segment follows another record',
      );
    }
    const isLast = i === names.length - 1;
    const result = reader.readAll(isLast);
    ({ crc, end, tornEnd } = result);
    segments.push({ ...name, keyId: reader.header.keyId });
  }
  return { replay, segments, leftover, crc, end, tornEnd };
}

/**
 * Removals may reach the disk in any order: older segments before a gap were all to go. Each segment
 * begins with the state up to it, so that it shows when one is missing that is needed.
 */
function neededSegments(files: readonly string[]) {
  const all = segmentsOf(files);
  const gap = all.findLastIndex((one, i) => one.sequence !== (all[i - 1]?.sequence ?? 0) + 1);
  const from = Math.max(0, gap);
  return { names: all.slice(from), leftover: all.slice(0, from).map(({ file }) => file) };
}

class SegmentReader {
  readonly header: SegmentHeader;
  readonly #disk: Disk;
  readonly #name: SegmentName;
  readonly #bytes: Uint8Array;
  readonly #replay: Replay;
  readonly #open: (at: number, record: FoundRecord) => Uint8Array | undefined;

  constructor(disk: Disk, keys: LogKeys, name: SegmentName, replay: Replay) {
    this.#disk = disk;
    this.#name = name;
    this.#replay = replay;
    this.#bytes = this.#readFile();
    const header = decodeSegmentHeader(this.#bytes);
    if (typeof header === 'string') throw this.#refusal(0, header);
    this.header = header;
    if (Buffer.compare(header.logId, keys.logId) !== 0) {
      throw this.#refusal(0, 'it belongs to another log');
    }
    if (header.sequence !== name.sequence || header.firstIndex !== name.firstIndex) {
      throw this.#refusal(0, 'its name is not its own');
    }
    const dataKey = keys.get(header.keyId);
    if (dataKey === undefined) throw this.#refusal(0, 'the key that it was sealed with is gone');
    const cipher = segmentCipher(dataKey, header.salt);
    this.#open = (at, record) => {
      return cipher.open(at, boundPart(this.#bytes.subarray(at)), record.payload);
    };
  }

  readAll(isLast: boolean): Pick<ReadLog, 'crc' | 'end' | 'tornEnd'> {
    let at = SEGMENT_HEADER_BYTES;
    let crc = this.header.crc;
    let ended = false;
    for (;;) {
      const record = readRecord(this.#bytes, at);
      if (record === undefined) break;
      if (record.previous !== crc)
        throw this.#refusal(at, 'a record does not follow the one before');
      if (record.type === 'end') {
        ended = true;
        break;
      }
      this.#take(at, record);
      crc = record.crc;
      at = record.end;
    }
    // What follows the last record of an older segment is an end that may be torn; whether anything
    // else is missing there, the next segment's checksum tells.
    if (!isLast) return { crc, end: at, tornEnd: undefined };
    if (ended) throw this.#refusal(at, 'the segment after it is missing');
    const damage = judge(this.#bytes, at);
    if (damage.kind === 'rotten') throw this.#refusal(at, `a record is damaged: ${damage.why}`);
    if (this.#bytes.length < this.header.size) {
      throw this.#refusal(this.#bytes.length, `the file was ${this.header.size} bytes long`);
    }
    return { crc, end: at, tornEnd: damage.kind === 'torn' ? damage.end : undefined };
  }

  #take(at: number, record: FoundRecord): void {
    const plain = this.#open(at, record);
    if (plain === undefined) throw this.#refusal(at, 'a record cannot be decrypted');
    let problem: string | undefined;
    try {
      problem =
        record.type === 'state'
          ? this.#replay.state(decodeState(plain))
          : this.#replay.batch(decodeBatch(plain, record.index));
    } catch (error) {
      problem = messageOf(error);
    }
    if (problem !== undefined) throw this.#refusal(at, problem);
  }

  #readFile(): Uint8Array {
    let file: DiskFile | undefined;
    try {
      file = this.#disk.open(this.#name.file);
      if (file === undefined) throw new RangeError('it is gone');
      const bytes = new Uint8Array(file.size());
      return bytes.subarray(0, file.read(bytes, 0));
    } catch (error) {
      throw this.#refusal(0, `it cannot be read: ${messageOf(error)}`, error);
    } finally {
      file?.close();
    }
  }

  #refusal(at: number, what: string, cause?: unknown): ShoalError {
    return refusal(this.#disk, this.#name.file, at, what, cause);
  }
}

export function refusal(
  disk: Disk,
  file: string | undefined,
  at: number | undefined,
  what: string,
  cause?: unknown,
): ShoalError {
  const where = file === undefined ? '' : `${file}${at === undefined ? '' : ` at byte ${at}`}: `;
  return new ShoalError(
    'failed-precondition',
    `the Raft log in ${disk.path} cannot be trusted: ${where}${what}. Starting with it could lose ` +
      'what the cluster has acknowledged. Remove this node from the managers, put the folder ' +
      'aside (keep it), and let the node join again as a new member',
    cause === undefined ? undefined : { cause },
  );
}
