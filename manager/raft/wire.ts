import { ShoalError } from '../../shared/errors.ts';
import { isId } from '../../shared/ids.ts';
import type { RaftId } from './types.ts';

/** First byte of everything that codec.ts and conf-codec.ts write. */
export const FORMAT_VERSION = 1;

const SCRATCH_BYTES = 4_096;
const HIGH = 0x80;
/** A varint of 8 groups of 7 bits holds every safe integer. */
const MAX_VARINT_BYTES = 8;
const MAX_ASCII_BYTES = 64;

export function malformed(what: string): ShoalError {
  return new ShoalError('invalid-argument', `raft: malformed bytes: ${what}`);
}

/** Small things are written here and copied out: a fresh buffer for each costs more than the writing. */
const scratch = new Uint8Array(SCRATCH_BYTES);

/**
 * Appends to a buffer that grows; `finish` gives what was written, in memory of its own. Only one is
 * in use at a time.
 */
export class Writer {
  #bytes = scratch;
  #length = 0;

  /**
   * `sizeHint`: bytes about to be written, so that the buffer need not grow in steps. `into`: to be
   * written there, when that many fit; what `finish` gives is then a view of it.
   */
  constructor(sizeHint = 0, into?: Uint8Array<ArrayBuffer>) {
    if (into !== undefined && sizeHint <= into.length) this.#bytes = into;
    else if (sizeHint > SCRATCH_BYTES) this.#bytes = new Uint8Array(sizeHint);
  }

  byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  /** Leaves so many bytes to be filled in later; what is in them till then is undefined. */
  skip(count: number): void {
    this.#reserve(count);
    this.#length += count;
  }

  /** Unsigned, up to 2^53 - 1, low groups of 7 bits first. */
  varint(value: number): void {
    this.#reserve(MAX_VARINT_BYTES);
    let rest = value;
    // Division and not shifts: those cut to 32 bits.
    while (rest >= HIGH) {
      this.#bytes[this.#length++] = (rest % HIGH) | HIGH;
      rest = Math.floor(rest / HIGH);
    }
    this.#bytes[this.#length++] = rest;
  }

  raw(data: Uint8Array): void {
    this.#reserve(data.length);
    this.#bytes.set(data, this.#length);
    this.#length += data.length;
  }

  /** Length, then content. */
  blob(data: Uint8Array): void {
    this.varint(data.length);
    this.raw(data);
  }

  /** Ids only: one byte a character. */
  ascii(text: string): void {
    this.varint(text.length);
    this.#reserve(text.length);
    for (let i = 0; i < text.length; i++) this.#bytes[this.#length++] = text.charCodeAt(i);
  }

  finish(): Uint8Array {
    const written = this.#bytes.subarray(0, this.#length);
    return this.#bytes === scratch ? written.slice() : written;
  }

  #reserve(more: number): void {
    const needed = this.#length + more;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }
}

/** Reads what Writer wrote; throws ShoalError `invalid-argument` rather than read past the end. */
export class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  byte(): number {
    const value = this.#bytes[this.#at++];
    if (value === undefined) throw malformed('ends too early');
    return value;
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < MAX_VARINT_BYTES; i++) {
      const byte = this.byte();
      value += (byte & ~HIGH) * scale;
      if (byte < HIGH) {
        if (!Number.isSafeInteger(value)) throw malformed('a number above 2^53 - 1');
        return value;
      }
      scale *= HIGH;
    }
    throw malformed('a number that does not end');
  }

  /** A view into the input, not a copy. */
  blob(): Uint8Array {
    const length = this.varint();
    const end = this.#at + length;
    if (end > this.#bytes.length) throw malformed('ends too early');
    const data = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return data;
  }

  ascii(): string {
    const length = this.varint();
    if (length > MAX_ASCII_BYTES) throw malformed('an id that is too long');
    const start = this.#at;
    if (start + length > this.#bytes.length) throw malformed('ends too early');
    this.#at = start + length;
    return internAscii(this.#bytes, start, length);
  }

  boolean(): boolean {
    const value = this.byte();
    if (value > 1) throw malformed(`${value} where 0 or 1 was expected`);
    return value === 1;
  }

  /** A number of things that follow, each at least `leastBytes` long: bounds what is allocated. */
  count(leastBytes: number): number {
    const count = this.varint();
    if (count * leastBytes > this.#bytes.length - this.#at) throw malformed('ends too early');
    return count;
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw malformed('more bytes than expected');
  }
}

/** Of bytes that begin with the format's version. */
export function openReader(bytes: Uint8Array): Reader {
  const reader = new Reader(bytes);
  const version = reader.byte();
  if (version !== FORMAT_VERSION) {
    throw malformed(`format ${version}, this program knows ${FORMAT_VERSION}`);
  }
  return reader;
}

/** What a number in the bytes stands for. */
export function pick<T>(list: readonly T[], place: number): T {
  const found = list[place];
  if (found === undefined) throw malformed(`unknown kind ${place}`);
  return found;
}

export function readId(reader: Reader): RaftId {
  const id = readOptionalId(reader);
  if (id === undefined) throw malformed('not a raft id');
  return id;
}

/** Empty for none. */
export function readOptionalId(reader: Reader): RaftId | undefined {
  const id = reader.ascii();
  if (id === '') return undefined;
  if (!isId(id)) throw malformed('not a raft id');
  return id as RaftId;
}

/** Ids seen lately, by a hash of their bytes: a cluster has a handful, and each message names two. */
const interned = new Map<number, string>();
const MAX_INTERNED = 256;

function internAscii(bytes: Uint8Array, start: number, length: number): string {
  let hash = length;
  for (let at = start; at < start + length; at++) hash = (hash * 31 + (bytes[at] ?? 0)) | 0;
  const known = interned.get(hash);
  if (known !== undefined && equals(known, bytes, start, length)) return known;
  let text = '';
  for (let at = start; at < start + length; at++) text += String.fromCharCode(bytes[at] ?? 0);
  if (interned.size >= MAX_INTERNED) interned.clear();
  interned.set(hash, text);
  return text;
}

function equals(text: string, bytes: Uint8Array, start: number, length: number): boolean {
  if (text.length !== length) return false;
  for (let i = 0; i < length; i++) if (text.charCodeAt(i) !== bytes[start + i]) return false;
  return true;
}
