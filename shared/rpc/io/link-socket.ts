import { chmod, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { messageOf, ShoalError } from '../../errors.ts';
import { frameParts, type LinkKind } from '../link-frames.ts';

/** Up to this much is copied together and written as one; larger writes go out part by part. */
const JOIN_BYTES = 64 * 1024;

/** Beside the gRPC socket of a manager: what is called often and by this host only. */
export function linkPathOf(socketPath: string): string {
  return `${socketPath}.calls`;
}

/** A socket of mode 0600 at `path`; one left over by a process that died is replaced. */
export async function listenAt(path: string, accept: (socket: Socket) => void): Promise<Server> {
  await rm(path, { force: true });
  const server = createServer(accept);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      const why = `cannot listen on ${path}: ${messageOf(cause)}`;
      reject(new ShoalError('failed-precondition', why, { cause }));
    });
    server.listen(path, resolve);
  });
  await chmod(path, 0o600);
  return server;
}

/** Frames of one turn of the event loop leave in one write. */
export class FrameWriter {
  readonly #socket: Socket;
  #parts: Uint8Array[] = [];
  #bytes = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  put(kind: LinkKind, call: number, payload?: Uint8Array): void {
    if (this.#parts.length === 0) setImmediate(() => this.#flush());
    for (const part of frameParts(kind, call, payload)) {
      this.#parts.push(part);
      this.#bytes += part.length;
    }
  }

  /** What waits here and in the socket. */
  get waitingBytes(): number {
    return this.#bytes + this.#socket.writableLength;
  }

  #flush(): void {
    const parts = this.#parts;
    const bytes = this.#bytes;
    this.#parts = [];
    this.#bytes = 0;
    if (!this.#socket.writable) return;
    if (bytes <= JOIN_BYTES) {
      this.#socket.write(parts.length === 1 ? (parts[0] ?? '') : Buffer.concat(parts, bytes));
      return;
    }
    this.#socket.cork();
    for (const part of parts) this.#socket.write(part);
    this.#socket.uncork();
  }
}
