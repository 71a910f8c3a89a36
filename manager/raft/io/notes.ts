import { crc32 } from 'node:zlib';
import { ShoalError } from '../../../shared/errors.ts';
import type { NoteReader } from '../ports.ts';
import { Reader, Writer } from '../wire.ts';
import { type Disk, readWhole, replaceWhole } from './disk.ts';

const FILE = 'notes';
const FORMAT = 1;
/** Key and value, each with its length. */
const LEAST_NOTE_BYTES = 2;

/**
 * Small facts beside the log, seldom written, replaced as a whole: who this member is, and whether it
 * was removed. In clear: they must be read before the log is unlocked, and hold no secret.
 */
export class Notes implements NoteReader {
  readonly #disk: Disk;
  readonly #notes: Map<string, Uint8Array>;
  /** Throws `failed-precondition` when they are damaged. */
  constructor(disk: Disk) {
    this.#disk = disk;
    this.#notes = read(disk);
  }
  note(key: string): Uint8Array | undefined {
    return this.#notes.get(key);
  }
  put(key: string, value: Uint8Array): void {
    this.#notes.set(key, value);
    const writer = new Writer();
    writer.byte(FORMAT);
    writer.varint(this.#notes.size);
    for (const [name, note] of this.#notes) {
      writer.blob(new TextEncoder().encode(name));
      writer.blob(note);
    }
    const content = writer.finish();
    const bytes = new Uint8Array(content.length + 4);
    bytes.set(content);
    new DataView(bytes.buffer).setUint32(content.length, crc32(content));
    replaceWhole(this.#disk, FILE, bytes);
  }
}

function read(disk: Disk): Map<string, Uint8Array> {
  const notes = new Map<string, Uint8Array>();
  const bytes = readWhole(disk, FILE);
  if (bytes === undefined) return notes;
  const end = bytes.length - 4;
  const crc = end < 0 ? undefined : new DataView(bytes.buffer, bytes.byteOffset).getUint32(end);
  if (crc !== crc32(bytes.subarray(0, Math.max(0, end)))) throw damaged(disk);
  const reader = new Reader(bytes.subarray(0, end));
  if (reader.byte() !== FORMAT) throw damaged(disk);
  for (let left = reader.count(LEAST_NOTE_BYTES); left > 0; left--) {
    notes.set(new TextDecoder().decode(reader.blob()), reader.blob());
  }
  return notes;
}

function damaged(disk: Disk): ShoalError {
  return new ShoalError(
    'failed-precondition',
    `the file "${FILE}" in ${disk.path} is damaged: it said which member this is. Remove this node ` +
      'from the managers, put the folder aside, and let it join again as a new member',
  );
}
