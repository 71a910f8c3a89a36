import { chmod, mkdir, unlink } from 'node:fs/promises';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import type { Duplex as NodeDuplex } from 'node:stream';
import { messageOf, ShoalError } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/log.ts';
import type { Dispatch, RawRequest } from '../dispatch.ts';
import { type Duplex, RAW_STREAM, type Reply } from '../http.ts';
import { API_VERSION, ENGINE_VERSION } from '../version.ts';
import { readExactly, SocketInput } from './socket-input.ts';

// An import of node:http reads all its names, and so loads the whole of fetch and WebSocket: 1 MiB.
const { createServer, STATUS_CODES } = process.getBuiltinModule('node:http');

export type EngineServerOptions = Readonly<{
  /** Made with mode 0660; a socket left by a daemon that died is replaced. */
  socketPath: string;
  log: Log;
}>;

const KEEP_ALIVE_MS = 300_000; // SDKs keep connections for minutes
const HEADERS_WITHIN_MS = 30_000;
/** How long a client that was refused early may go on sending before it is cut off. */
const REFUSED_BODY_MS = 10_000;

const COMMON_HEADERS = {
  'Api-Version': API_VERSION,
  'Docker-Experimental': 'false',
  Ostype: 'linux',
  Server: `Docker/${ENGINE_VERSION} (linux)`,
} as const;

/** Speaks HTTP on a unix socket for a `Dispatch`: sockets and bytes, no decisions. */
export class EngineServer {
  readonly #dispatch: Dispatch;
  readonly #options: EngineServerOptions;
  readonly #server: Server;
  readonly #upgraded = new Set<NodeDuplex>();

  constructor(dispatch: Dispatch, options: EngineServerOptions) {
    this.#dispatch = dispatch;
    this.#options = options;
    this.#server = createServer(
      {
        requestTimeout: 0, // loads and imports take as long as they take
        headersTimeout: HEADERS_WITHIN_MS,
        keepAliveTimeout: KEEP_ALIVE_MS,
        noDelay: true,
      },
      (request, response) => {
        this.#serve(request, response).catch((error: unknown) => {
          options.log.warn('request broke', { url: request.url, error: messageOf(error) });
          response.destroy();
        });
      },
    );
    this.#server.on('upgrade', (request: IncomingMessage, socket: NodeDuplex, head: Buffer) => {
      this.#serveUpgrade(request, socket, head).catch((error: unknown) => {
        options.log.warn('hijacked request broke', { url: request.url, error: messageOf(error) });
        socket.destroy();
      });
    });
  }

  /** Throws ShoalError `already-exists` when another daemon answers on the socket. */
  async listen(): Promise<void> {
    const { socketPath } = this.#options;
    await mkdir(dirname(socketPath), { recursive: true });
    await removeStaleSocket(socketPath);
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(socketPath, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    // Until now only root could write to it, for the umask leaves no write bit to others.
    await chmod(socketPath, 0o660);
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    this.#server.closeAllConnections();
    for (const socket of this.#upgraded) socket.destroy();
    await closed;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.once('close', () => gone.abort(new Error('the client went away')));
    const { reply, error } = await this.#dispatch(rawRequest(request, () => request, gone.signal));
    if (error !== undefined) this.#report(request, error);
    if (!request.complete) cutOffLater(request);
    if (reply.kind === 'hijack') {
      await this.#hijackWithoutUpgrade(reply, response);
      return;
    }
    for (const [name, value] of Object.entries(COMMON_HEADERS)) response.setHeader(name, value);
    if (reply.kind === 'stream') {
      await this.#stream(reply, request, response);
      return;
    }
    const { status, body, headers } = flat(reply);
    response.writeHead(status, headers);
    response.end(request.method === 'HEAD' ? undefined : body);
  }

  async #stream(
    reply: Extract<Reply, { kind: 'stream' }>,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    response.writeHead(reply.status, { 'Content-Type': reply.contentType });
    response.flushHeaders();
    try {
      for await (const chunk of reply.chunks) {
        if (response.destroyed) return;
        if (chunk.length > 0 && !response.write(chunk)) await drained(response);
      }
      response.end();
    } catch (error) {
      // An end without the last chunk is how a client sees that something is missing.
      if (!response.destroyed) {
        this.#report(request, error);
        response.destroy();
      }
    }
  }

  /** Clients that did not ask for an upgrade get the bytes until the connection closes, and cannot send any. */
  async #hijackWithoutUpgrade(
    reply: Extract<Reply, { kind: 'hijack' }>,
    response: ServerResponse,
  ): Promise<void> {
    response.useChunkedEncodingByDefault = false;
    response.writeHead(200, { ...COMMON_HEADERS, 'Content-Type': RAW_STREAM, Connection: 'close' });
    response.flushHeaders();
    await reply.run({
      input: nothing,
      write: async (data) => {
        if (!response.destroyed && !response.write(data)) await drained(response);
      },
    });
    response.end();
  }

  async #serveUpgrade(request: IncomingMessage, socket: NodeDuplex, head: Buffer): Promise<void> {
    this.#upgraded.add(socket);
    const gone = new AbortController();
    socket.once('close', () => {
      this.#upgraded.delete(socket);
      gone.abort(new Error('the client went away'));
    });
    socket.on('error', (error) =>
      this.#options.log.debug('hijacked connection broke', { error: error.message }),
    );
    const input = new SocketInput(socket, head);
    // The request's own body comes first; what follows it belongs to the stream.
    const length = Number(request.headers['content-length'] ?? '0');
    const body = () => readExactly(input, length);
    const { reply, error } = await this.#dispatch(rawRequest(request, body, gone.signal));
    if (error !== undefined) this.#report(request, error);
    if (reply.kind !== 'hijack') {
      await this.#answerRaw(reply, socket);
      return;
    }
    socket.write(
      `HTTP/1.1 101 UPGRADED\r\nContent-Type: ${reply.contentType}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nApi-Version: ${API_VERSION}\r\n\r\n`,
    );
    const duplex: Duplex = {
      input: () => input,
      write: async (data) => {
        if (!socket.destroyed && !socket.write(data)) await drained(socket);
      },
    };
    try {
      await reply.run(duplex);
    } finally {
      // All output is flushed, then the connection ends both ways: the client waits for that.
      socket.end(() => socket.destroy());
    }
  }

  /** The parser has let go of the connection: an ordinary answer is written by hand. */
  async #answerRaw(reply: Exclude<Reply, { kind: 'hijack' }>, socket: NodeDuplex): Promise<void> {
    const isStream = reply.kind === 'stream';
    const { status, body, headers } = isStream
      ? {
          status: reply.status,
          body: Buffer.alloc(0),
          headers: { 'Content-Type': reply.contentType },
        }
      : flat(reply);
    const lines = Object.entries({ ...COMMON_HEADERS, ...headers, Connection: 'close' })
      .map(([name, value]) => `${name}: ${value}\r\n`)
      .join('');
    socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${lines}\r\n`);
    if (isStream) {
      for await (const chunk of reply.chunks) {
        if (socket.destroyed) return;
        if (chunk.length > 0 && !socket.write(chunk)) await drained(socket);
      }
    }
    socket.end(body, () => socket.destroy());
  }

  #report(request: IncomingMessage, error: unknown): void {
    this.#options.log.warn('request failed', {
      method: request.method,
      url: request.url,
      error: messageOf(error),
    });
  }
}

async function* nothing(): AsyncGenerator<Uint8Array> {
  yield* [];
}

function rawRequest(
  request: IncomingMessage,
  body: () => AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): RawRequest {
  const headers: Record<string, string | undefined> = {};
  for (const [name, value] of Object.entries(request.headers)) {
    headers[name] = Array.isArray(value) ? value[0] : value;
  }
  return { method: request.method ?? 'GET', target: request.url ?? '/', headers, body, signal };
}

/** An answer that is there as a whole. */
function flat(reply: Exclude<Reply, { kind: 'stream' | 'hijack' }>): {
  status: number;
  body: Buffer;
  headers: Record<string, string | number>;
} {
  switch (reply.kind) {
    case 'json': {
      const body = Buffer.from(`${JSON.stringify(reply.body)}\n`);
      const headers = {
        ...reply.headers,
        'Content-Type': 'application/json',
        'Content-Length': body.length,
      };
      return { status: reply.status, body, headers };
    }
    case 'text': {
      const body = typeof reply.body === 'string' ? Buffer.from(reply.body) : reply.body;
      const headers = {
        ...reply.headers,
        'Content-Type': reply.contentType,
        'Content-Length': body.length,
      };
      return { status: reply.status, body, headers };
    }
    default: {
      // 204 and 304 have no body, and say nothing about its length either.
      const hasLength = reply.status !== 204 && reply.status !== 304;
      const headers = { ...reply.headers, ...(hasLength && { 'Content-Length': 0 }) };
      return { status: reply.status, body: Buffer.alloc(0), headers };
    }
  }
}

/**
 * The answer came before the body was read. Node discards the rest, so that the client, still
 * sending, gets to read it; one that never stops is cut off.
 */
function cutOffLater(request: IncomingMessage): void {
  const timer = setTimeout(() => request.socket.destroy(), REFUSED_BODY_MS);
  const stop = () => clearTimeout(timer);
  request.once('end', stop);
  request.once('close', stop);
}

function drained(stream: NodeDuplex | ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      stream.off('drain', done);
      stream.off('close', done);
      resolve();
    };
    stream.once('drain', done);
    stream.once('close', done);
  });
}

async function removeStaleSocket(path: string): Promise<void> {
  const isAlive = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
  if (isAlive) {
    throw new ShoalError('already-exists', `another daemon answers on ${path}: stop it first`);
  }
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
}
