import type { Duplex as NodeDuplex } from 'node:stream';

/** Chunks that wait to be read before the socket is paused. */
const QUEUED_CHUNKS = 16;

/**
 * What a client sends on a hijacked connection, until it closes its half. Node's own iterator would
 * destroy the socket at that point, and with it the half that still carries output.
 */
export class SocketInput implements AsyncIterable<Uint8Array> {
  readonly #socket: NodeDuplex;
  readonly #queue: Uint8Array[] = [];
  #ended = false;
  #wake: (() => void) | undefined;

  constructor(socket: NodeDuplex, head: Uint8Array) {
    this.#socket = socket;
    if (head.length > 0) this.#queue.push(head);
    socket.on('data', (chunk: Buffer) => {
      this.#queue.push(chunk);
      if (this.#queue.length >= QUEUED_CHUNKS) socket.pause();
      this.#wake?.();
    });
    const end = () => {
      this.#ended = true;
      this.#wake?.();
    };
    socket.once('end', end);
    socket.once('close', end);
  }

  /** The next bytes; undefined at the end. One reader at a time. */
  async take(): Promise<Uint8Array | undefined> {
    while (this.#queue.length === 0) {
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
    const chunk = this.#queue.shift();
    if (this.#queue.length < QUEUED_CHUNKS) this.#socket.resume();
    return chunk;
  }

  putBack(chunk: Uint8Array): void {
    if (chunk.length > 0) this.#queue.unshift(chunk);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      const chunk = await this.take();
      if (chunk === undefined) return;
      yield chunk;
    }
  }
}

/** The next `length` bytes; the rest of the last chunk goes back. */
export async function* readExactly(input: SocketInput, length: number): AsyncGenerator<Uint8Array> {
  let left = length;
  while (left > 0) {
    const chunk = await input.take();
    if (chunk === undefined) return;
    input.putBack(chunk.subarray(left));
    yield chunk.subarray(0, left);
    left -= Math.min(left, chunk.length);
  }
}
