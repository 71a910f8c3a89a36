/**
 * The few DER rules (ITU-T X.690) that certificates of this cluster need, in both directions. Reading
 * is strict: definite lengths in the shortest form, no bytes left over.
 */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectId: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** Context-specific tag, constructed (`[n]` in the standards) or primitive. */
export function contextTag(number: number, constructed: boolean): number {
  return 0x80 | (constructed ? 0x20 : 0) | number;
}

export function der(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const header = [tag, ...encodeLength(length)];
  const out = new Uint8Array(header.length + length);
  out.set(header);
  let at = header.length;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

export const sequence = (...parts: readonly Uint8Array[]) => der(TAG.sequence, ...parts);
export const octetString = (content: Uint8Array) => der(TAG.octetString, content);
export const utf8String = (text: string) => der(TAG.utf8String, new TextEncoder().encode(text));
export const boolean = (value: boolean) => der(TAG.boolean, Uint8Array.of(value ? 0xff : 0));
/** Whole bytes only, or the `unusedBits` lowest bits of the last byte not counted. */
export const bitString = (content: Uint8Array, unusedBits = 0) =>
  der(TAG.bitString, Uint8Array.of(unusedBits), content);

/** A non-negative integer given by its big-endian bytes. */
export function unsignedInteger(bytes: Uint8Array): Uint8Array {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const trimmed = bytes.subarray(start);
  // A set top bit would make the number negative.
  return (trimmed[0] ?? 0) >= 0x80
    ? der(TAG.integer, Uint8Array.of(0), trimmed)
    : der(TAG.integer, trimmed);
}

/** `dotted`: as in `2.5.4.3`. */
export function objectId(dotted: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const groups = [arc & 0x7f];
    for (let left = arc >>> 7; left > 0; left >>>= 7) groups.unshift((left & 0x7f) | 0x80);
    bytes.push(...groups);
  }
  return der(TAG.objectId, Uint8Array.from(bytes));
}

/** UTCTime up to 2049, GeneralizedTime from then on, as RFC 5280 4.1.2.5 wants it; whole seconds. */
export function time(atMs: number): Uint8Array {
  const digits = new Date(atMs).toISOString().replace(/[-:T]/g, '').slice(0, 14);
  const year = Number(digits.slice(0, 4));
  return year < 2050
    ? der(TAG.utcTime, new TextEncoder().encode(`${digits.slice(2)}Z`))
    : der(TAG.generalizedTime, new TextEncoder().encode(`${digits}Z`));
}

export type DerNode = Readonly<{
  tag: number;
  content: Uint8Array;
  /** Header and content: what a signature covers. */
  raw: Uint8Array;
}>;

/** The elements that `bytes` is made of, one level deep. Throws RangeError on anything malformed. */
export function readDer(bytes: Uint8Array): DerNode[] {
  const nodes: DerNode[] = [];
  for (let at = 0; at < bytes.length; ) {
    const { tag, start, end } = readHeader(bytes, at);
    nodes.push({ tag, content: bytes.subarray(start, end), raw: bytes.subarray(at, end) });
    at = end;
  }
  return nodes;
}

function readHeader(bytes: Uint8Array, at: number): { tag: number; start: number; end: number } {
  const tag = bytes[at];
  const first = bytes[at + 1];
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f) throw malformed(at);
  if (first < 0x80) return checkedEnd(bytes, tag, at + 2, first);
  const count = first & 0x7f;
  // Nothing of ours comes near 16 MiB; zero is the indefinite form, which DER forbids.
  if (count === 0 || count > 3) throw malformed(at);
  let length = 0;
  for (let i = 0; i < count; i++) {
    const byte = bytes[at + 2 + i];
    if (byte === undefined) throw malformed(at);
    length = length * 256 + byte;
  }
  if (encodeLength(length).length !== count + 1) throw malformed(at);
  return checkedEnd(bytes, tag, at + 2 + count, length);
}

function checkedEnd(bytes: Uint8Array, tag: number, start: number, length: number) {
  if (start + length > bytes.length) throw malformed(start);
  return { tag, start, end: start + length };
}

function malformed(at: number): RangeError {
  return new RangeError(`Cannot parse DER at byte ${at}`);
}

function encodeLength(length: number): number[] {
  if (length < 0x80) return [length];
  const bytes: number[] = [];
  for (let left = length; left > 0; left = Math.floor(left / 256)) bytes.unshift(left % 256);
  return [0x80 | bytes.length, ...bytes];
}
