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
  const bytes = writer.finish();
  if (bytes.length <= LARGEST_KEPT_BYTES) kept = writer;
  return bytes;
}
