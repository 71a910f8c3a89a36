import { ShoalError } from '../../shared/errors.ts';

const INITIAL_BYTES = 512;
const HIGH = 0x80;
/** A varint of 8 groups of 7 bits holds every safe integer. */
const MAX_VARINT_BYTES = 8;
const MAX_ASCII_BYTES = 64;

export function malformed(what: string): ShoalError {
  return new ShoalError('invalid-argument', `raft: malformed bytes: ${what}`);
}

/** Appends to a buffer that grows; `finish` gives what was written, in memory of its own. */
export class Writer {
  #bytes = new Uint8Array(INITIAL_BYTES);
  #length = 0;

  /** `sizeHint`: bytes about to be written, so that the buffer need not grow in steps. */
  constructor(sizeHint = 0) {
    if (sizeHint > INITIAL_BYTES) this.#bytes = new Uint8Array(sizeHint);
  }

  byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
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
    return this.#bytes.subarray(0, this.#length);
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
    const characters = this.blob();
    if (characters.length > MAX_ASCII_BYTES) throw malformed('an id that is too long');
    return String.fromCharCode(...characters);
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
