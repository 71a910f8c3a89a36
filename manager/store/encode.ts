import type { StoreTransaction } from '../../shared/gen/shoal/v1/store.ts';

type Writer = ReturnType<(typeof StoreTransaction)['encode']>;
type Encodes<T> = Readonly<{ encode(message: T, writer?: Writer): Writer }>;

/** Larger messages are rare, and their buffers not worth keeping. */
const LARGEST_KEPT_BYTES = 64 << 10;

/** Its buffer has grown already: to let a new one grow costs a write more than its encoding. */
let kept: Writer | undefined;

/** The message's bytes, in memory of their own. */
export function encodeWith<T>(codec: Encodes<T>, message: T): Uint8Array {
  const reused = kept;
  kept = undefined; // and lost with what it holds, should encoding throw
  const writer = reused === undefined ? codec.encode(message) : codec.encode(message, reused);
  if (reused === undefined) speedUp(writer);
  const bytes = writer.finish();
  if (bytes.length <= LARGEST_KEPT_BYTES) kept = writer;
  return bytes;
}

/** Varints of so many groups of 7 bits are written here; above, and below 0, the library's way. */
const VARINT_GROUPS = 7;
const LARGEST_FAST = 2 ** (7 * VARINT_GROUPS);
const GROUPS: readonly Uint8Array[] = Array.from(
  { length: VARINT_GROUPS + 1 },
  (_, length) => new Uint8Array(length),
);

/** Times and versions are numbers, but the library takes each through a BigInt: a third of an encoding. */
function speedUp(writer: Writer): void {
  const slow = writer.int64.bind(writer);
  writer.int64 = (value) => {
    if (typeof value !== 'number' || !Number.isInteger(value)) return slow(value);
    if (value < 0 || value >= LARGEST_FAST) return slow(value);
    if (value <= 0x7fff_ffff) return writer.uint32(value);
    let length = 5;
    for (let rest = Math.floor(value / 2 ** 35); rest > 0; rest >>>= 7) length++;
    const bytes = GROUPS[length] as Uint8Array;
    let rest = value;
    for (let at = 0; at < length; at++) {
      bytes[at] = (rest % 128) | (at < length - 1 ? 0x80 : 0);
      rest = Math.floor(rest / 128);
    }
    return writer.raw(bytes);
  };
}
