/**
 * Docker's multiplexed streams (attach, exec, logs): before each piece a head of 8 bytes, the stream's number,
 * three zeros and the length as a big-endian uint32.
 */

/** Which stream a frame belongs to: 1 stdout, 2 stderr, 3 an error of the server's own. */
export type StreamNumber = 1 | 2 | 3;

const HEADER_BYTES = 8;
const LENGTH_AT = 4;

export function frame(stream: StreamNumber, data: Uint8Array): Uint8Array {
  const framed = new Uint8Array(HEADER_BYTES + data.length);
  framed[0] = stream;
  new DataView(framed.buffer).setUint32(LENGTH_AT, data.length);
  framed.set(data, HEADER_BYTES);
  return framed;
}

/** Takes the stream apart again. Give it the bytes as they come. */
export class FrameReader {
  #rest: Uint8Array = new Uint8Array(0);

  push(chunk: Uint8Array): { stream: number; data: Uint8Array }[] {
    const bytes = new Uint8Array(this.#rest.length + chunk.length);
    bytes.set(this.#rest);
    bytes.set(chunk, this.#rest.length);
    const view = new DataView(bytes.buffer);
    const frames: { stream: number; data: Uint8Array }[] = [];
    let at = 0;
    while (at + HEADER_BYTES <= bytes.length) {
      const end = at + HEADER_BYTES + view.getUint32(at + LENGTH_AT);
      if (end > bytes.length) break;
      frames.push({ stream: bytes[at] ?? 0, data: bytes.subarray(at + HEADER_BYTES, end) });
      at = end;
    }
    this.#rest = bytes.slice(at);
    return frames;
  }
}
