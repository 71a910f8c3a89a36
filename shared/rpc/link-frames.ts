import { ShoalError } from '../errors.ts';

/**
 * What travels on a link between two programs of one host: frames of `u32 length, u8 kind, u32 call`
 * and a payload; numbers little-endian, the length counts what follows it. The client chooses the
 * numbers of calls; each ends with exactly one `answer`, `end` or `error`, or with its `cancel`.
 */
export const LINK = {
  /**
   * To the server: `u32 deadlineMs (0: none), u8 length of path, u16 length of metadata`, the path, the
   * metadata as JSON, then the request.
   */
  call: 1,
  /** To the server: nobody waits for this call any more. */
  cancel: 2,
  /** The one response of a unary call, and its end. */
  answer: 3,
  /** One of many responses. */
  message: 4,
  /** After the last of many responses. */
  end: 5,
  /** The call's end; an RpcStatus as JSON. */
  error: 6,
  /** To the server, while calls are under way: a host without power answers none and closes nothing. */
  ping: 7,
  pong: 8,
} as const;
export type LinkKind = (typeof LINK)[keyof typeof LINK];

export type LinkFrame = Readonly<{ kind: number; call: number; payload: Uint8Array }>;

const HEADER_BYTES = 9;
/** Of a call's payload, before the path. */
const CALL_BYTES = 7;
const NO_BYTES = new Uint8Array(0);

/** Header and payload as parts, so that a large payload is not copied. */
export function frameParts(kind: LinkKind, call: number, payload?: Uint8Array): Uint8Array[] {
  const header = Buffer.allocUnsafe(HEADER_BYTES);
  header.writeUInt32LE(HEADER_BYTES - 4 + (payload?.length ?? 0), 0);
  header.writeUInt8(kind, 4);
  header.writeUInt32LE(call, 5);
  return payload === undefined || payload.length === 0 ? [header] : [header, payload];
}

export type CallHead = Readonly<{
  path: string;
  deadlineMs: number | undefined;
  metadata?: Readonly<Record<string, string>> | undefined;
}>;

/** The payload of a `call`. `path`: at most 255 characters of ASCII; metadata: at most 64 KiB. */
export function encodeCall(head: CallHead, request: Uint8Array): Uint8Array {
  const path = Buffer.from(head.path, 'latin1');
  const metadata =
    head.metadata === undefined ? NO_BYTES : Buffer.from(JSON.stringify(head.metadata));
  const fixed = Buffer.allocUnsafe(CALL_BYTES);
  fixed.writeUInt32LE(Math.min(head.deadlineMs ?? 0, 0xffff_ffff), 0);
  fixed.writeUInt8(path.length, 4);
  fixed.writeUInt16LE(metadata.length, 5);
  return Buffer.concat([fixed, path, metadata, request]);
}

/** Throws ShoalError `invalid-argument` for a payload that is none. */
export function decodeCall(payload: Uint8Array): CallHead & Readonly<{ request: Buffer }> {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.length);
  if (bytes.length < CALL_BYTES) throw malformed('a call without its head');
  const deadlineMs = bytes.readUInt32LE(0);
  const pathEnd = CALL_BYTES + bytes.readUInt8(4);
  const end = pathEnd + bytes.readUInt16LE(5);
  if (bytes.length < end) throw malformed('a call without its path');
  return {
    path: bytes.toString('latin1', CALL_BYTES, pathEnd),
    deadlineMs: deadlineMs === 0 ? undefined : deadlineMs,
    metadata: end === pathEnd ? undefined : metadataOf(bytes.toString('utf8', pathEnd, end)),
    request: bytes.subarray(end),
  };
}

function metadataOf(text: string): Record<string, string> {
  try {
    return JSON.parse(text) as Record<string, string>;
  } catch (cause) {
    throw malformed('metadata that are no JSON', cause);
  }
}

/**
 * Cuts a byte stream into frames. Payloads may be views into what was pushed: whoever keeps one for
 * long copies it. Throws ShoalError `invalid-argument` for a frame that cannot be or is too large.
 */
export class LinkReader {
  readonly #maxBytes: number;
  #chunks: Buffer[] = [];
  #have = 0;
  /** Bytes to wait for before it is worth looking: the header, or the whole of a frame. */
  #need = HEADER_BYTES;

  constructor(maxPayloadBytes: number) {
    this.#maxBytes = maxPayloadBytes + HEADER_BYTES - 4;
  }

  push(chunk: Buffer, take: (frame: LinkFrame) => void): void {
    this.#chunks.push(chunk);
    this.#have += chunk.length;
    if (this.#have < this.#need) return;
    const bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks, this.#have);
    let at = 0;
    this.#need = HEADER_BYTES;
    while (bytes.length - at >= HEADER_BYTES) {
      const length = bytes.readUInt32LE(at);
      if (length < HEADER_BYTES - 4 || length > this.#maxBytes) {
        throw malformed(`a frame of ${length} bytes`);
      }
      if (bytes.length - at < 4 + length) {
        this.#need = 4 + length;
        break;
      }
      const payload =
        length === HEADER_BYTES - 4 ? NO_BYTES : bytes.subarray(at + HEADER_BYTES, at + 4 + length);
      take({ kind: bytes.readUInt8(at + 4), call: bytes.readUInt32LE(at + 5), payload });
      at += 4 + length;
    }
    const rest = bytes.subarray(at);
    this.#chunks = rest.length === 0 ? [] : [rest];
    this.#have = rest.length;
  }
}

function malformed(what: string, cause?: unknown): ShoalError {
  return new ShoalError(
    'invalid-argument',
    `the other end of the link does not speak its language: ${what}`,
    {
      cause,
    },
  );
}
