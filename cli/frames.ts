/**
 * Takes Docker's multiplexed stream apart: an 8-byte head (stream number, then the length, big-endian) before each
 * piece. Give it the bytes as they come.
 */
export class FrameReader {
  #rest: Uint8Array = new Uint8Array(0);

  push(chunk: Uint8Array): { stream: number; data: Uint8Array }[] {
    const bytes = new Uint8Array(this.#rest.length + chunk.length);
    bytes.set(this.#rest);
    bytes.set(chunk, this.#rest.length);
    const view = new DataView(bytes.buffer);
    const frames: { stream: number; data: Uint8Array }[] = [];
    let at = 0;
    while (at + 8 <= bytes.length) {
      const length = view.getUint32(at + 4);
      if (at + 8 + length > bytes.length) break;
      frames.push({ stream: bytes[at] ?? 0, data: bytes.subarray(at + 8, at + 8 + length) });
      at += 8 + length;
    }
    this.#rest = bytes.slice(at);
    return frames;
  }
}
