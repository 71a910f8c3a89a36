import { ShoalError } from '../../shared/errors.ts';
import { encodeMessage } from './codec.ts';
import type { Message } from './types.ts';
import { malformed } from './wire.ts';

/**
 * What travels on a link between members, in both directions: `u32 length | u8 kind | payload`, the
 * length counting kind and payload. A link begins with a hello and its answer.
 */
export const FRAME = {
  hello: 1,
  welcome: 2,
  refused: 3,
  message: 4,
  ping: 5,
  pong: 6,
  removed: 7,
  snapshotBegin: 8,
  snapshotChunk: 9,
  snapshotEnd: 10,
  snapshotDone: 11,
} as const;

const HEADER_BYTES = 5;
/** An append of one entry of the largest size, and a chunk of a snapshot, are far below this. */
export const LARGEST_FRAME_BYTES = 16 << 20;
export const LARGEST_HELLO_BYTES = 4 << 10;

export type Frame = Readonly<{ kind: number; payload: Uint8Array }>;

/** All frames in one piece of memory, so that they leave in one write. */
export function encodeFrames(frames: readonly Frame[]): Uint8Array {
  let length = 0;
  for (const { payload } of frames) length += HEADER_BYTES + payload.length;
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const { kind, payload } of frames) {
    writeHeader(bytes, at, kind, payload.length);
    bytes.set(payload, at + HEADER_BYTES);
    at += HEADER_BYTES + payload.length;
  }
  return bytes;
}

/** Whole frames in one piece of memory; the only one there is, as most of the time, stays where it is. */
export function joinFrames(frames: readonly Uint8Array[]): Uint8Array {
  const [only] = frames;
  return frames.length === 1 && only !== undefined ? only : Buffer.concat(frames);
}

/** A message in its frame: it is large at times, and is encoded where it leaves from. */
export function encodeMessageFrame(message: Message): Uint8Array {
  const bytes = encodeMessage(message, HEADER_BYTES);
  writeHeader(bytes, 0, FRAME.message, bytes.length - HEADER_BYTES);
  return bytes;
}

function writeHeader(bytes: Uint8Array, at: number, kind: number, payloadBytes: number): void {
  new DataView(bytes.buffer, bytes.byteOffset + at).setUint32(0, payloadBytes + 1);
  bytes[at + 4] = kind;
}

/** Cuts a byte stream into frames. Payloads are in memory of their own: entries keep them alive. */
export class FrameReader {
  #limitBytes: number;
  readonly #header = new Uint8Array(HEADER_BYTES);
  #headerLength = 0;
  #payload: Uint8Array | undefined;
  #payloadLength = 0;
  constructor(limitBytes = LARGEST_HELLO_BYTES) {
    this.#limitBytes = limitBytes;
  }

  /** Once the other side is known. */
  allow(limitBytes: number): void {
    this.#limitBytes = limitBytes;
  }

  /** Throws ShoalError `invalid-argument` for a frame above the limit: close the link then. */
  push(chunk: Uint8Array, onFrame: (frame: Frame) => void): void {
    for (let at = 0; at < chunk.length; ) {
      if (this.#payload === undefined) {
        const take = Math.min(HEADER_BYTES - this.#headerLength, chunk.length - at);
        this.#header.set(chunk.subarray(at, at + take), this.#headerLength);
        this.#headerLength += take;
        at += take;
        if (this.#headerLength < HEADER_BYTES) return;
        this.#begin();
      } else {
        const take = Math.min(this.#payload.length - this.#payloadLength, chunk.length - at);
        this.#payload.set(chunk.subarray(at, at + take), this.#payloadLength);
        this.#payloadLength += take;
        at += take;
      }
      this.#deliver(onFrame);
    }
  }

  #begin(): void {
    const length = new DataView(this.#header.buffer).getUint32(0);
    if (length < 1 || length > this.#limitBytes) throw malformed(`a frame of ${length} bytes`);
    this.#payload = new Uint8Array(length - 1);
    this.#payloadLength = 0;
  }

  #deliver(onFrame: (frame: Frame) => void): void {
    const payload = this.#payload;
    if (payload === undefined || this.#payloadLength < payload.length) return;
    this.#payload = undefined;
    this.#headerLength = 0;
    onFrame({ kind: this.#header[4] ?? 0, payload });
  }
}

/** Who calls, and whom: a member made anew under an old address must not be taken for the old one. */
export type Hello = Readonly<{
  version: 1;
  clusterId: string;
  from: string;
  to: string;
  channel: 'messages' | 'snapshot';
  /** Where the caller takes links itself: whom it calls may not have heard of it yet. */
  address?: string;
}>;
export type Refusal = 'wrong-cluster' | 'wrong-member' | 'wrong-node' | 'removed' | 'bad-hello';

export function encodeHello(hello: Hello): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(hello));
}

export function decodeHello(payload: Uint8Array): Hello {
  const value: unknown = parseJson(payload);
  if (typeof value === 'object' && value !== null && 'version' in value && value.version === 1) {
    const hello = value as Record<string, unknown>;
    const { clusterId, from, to, channel, address } = hello;
    if (
      typeof clusterId === 'string' &&
      typeof from === 'string' &&
      typeof to === 'string' &&
      (channel === 'messages' || channel === 'snapshot')
    ) {
      const known = typeof address === 'string' && isAddress(address) ? { address } : {};
      return { version: 1, clusterId, from, to, channel, ...known };
    }
  }
  throw malformed('not a hello');
}

function parseJson(payload: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(payload));
  } catch (error) {
    throw new ShoalError('invalid-argument', 'raft: malformed bytes: not a hello', {
      cause: error,
    });
  }
}

const ADDRESS = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/;

/** Whether it is `host:port`, or `[host]:port` for IPv6. */
export function isAddress(address: string): boolean {
  const port = Number(ADDRESS.exec(address)?.[3] ?? Number.NaN);
  return port <= 65_535;
}

/** Throws ShoalError `invalid-argument`. */
export function parseAddress(address: string): { host: string; port: number } {
  const [, bracketed, plain, digits] = ADDRESS.exec(address) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || !isAddress(address)) {
    throw new ShoalError('invalid-argument', `"${address}" is not host:port`);
  }
  return { host, port: Number(digits) };
}
