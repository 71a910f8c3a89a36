import { chmod, mkdir, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex as NodeDuplex } from 'node:stream';
import { messageOf, ShoalError } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/log.ts';
import { commonHeaders, type Dispatch } from '../dispatch.ts';
import { type Call, type Duplex, errorAnswer, HttpError, RAW_STREAM, type Reply } from '../http.ts';

const JSON_MAX_BYTES = 4 * 1024 * 1024;
const CLOSE_WITHIN_MS = 1_000;
const LINGER_MS = 2_000;

export type EngineServerOptions = Readonly<{
  /** Replaced when it is there; mode 0660. */
  socketPath: string;
  log: Log;
}>;

/** The Engine API over HTTP on a unix socket. */
export class EngineServer {
  readonly #server: Server;
  readonly #options: EngineServerOptions;
  readonly #dispatch: Dispatch;
  readonly #sockets = new Set<NodeDuplex>();

  constructor(dispatch: Dispatch, options: EngineServerOptions) {
    this.#dispatch = dispatch;
    this.#options = options;
    // Streams and uploads may take hours, and an idle keep-alive connection costs nothing.
    this.#server = createServer(
      { requestTimeout: 0, keepAliveTimeout: 600_000, noDelay: true },
      (request, response) => {
        void this.#serve(request, response);
      },
    );
    this.#server.timeout = 0;
    this.#server.on('upgrade', (request: IncomingMessage, socket: NodeDuplex, head: Buffer) => {
      void this.#serveUpgrade(request, socket, head);
    });
    this.#server.on('connection', (socket) => {
      // Half-closed connections stay open for output: `echo x | docker exec -i`.
      socket.allowHalfOpen = true;
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  async listen(): Promise<void> {
    const { socketPath } = this.#options;
    await mkdir(socketPath.slice(0, socketPath.lastIndexOf('/')) || '/', { recursive: true });
    await rm(socketPath, { force: true });
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(socketPath, resolve);
    });
    await chmod(socketPath, 0o660);
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    const timer = setTimeout(() => {
      for (const socket of this.#sockets) socket.destroy();
    }, CLOSE_WITHIN_MS);
    this.#server.closeIdleConnections();
    await closed;
    clearTimeout(timer);
    await rm(this.#options.socketPath, { force: true });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.once('close', () => gone.abort(new ShoalError('cancelled', 'the client went away')));
    let reply: Reply;
    try {
      reply = await this.#dispatch(callOf(request, readBody(request), gone.signal));
    } catch (error) {
      reply = errorReply(error);
    }
    try {
      await this.#answer(request, response, reply);
    } catch (error) {
      if (!gone.signal.aborted)
        this.#options.log.warn('an answer broke', { path: request.url, error: messageOf(error) });
      response.destroy();
    }
    // What is left of a body that nobody read would be taken for the next request.
    if (!request.complete) request.resume();
  }

  async #answer(request: IncomingMessage, response: ServerResponse, reply: Reply): Promise<void> {
    for (const [name, value] of Object.entries(commonHeaders())) response.setHeader(name, value);
    if (!request.complete && reply.kind !== 'hijack' && reply.kind !== 'stream')
      response.setHeader('Connection', 'close');
    switch (reply.kind) {
      case 'json':
        sendText(
          request,
          response,
          reply.status,
          'application/json',
          `${JSON.stringify(reply.body)}\n`,
        );
        return;
      case 'text':
        for (const [name, value] of Object.entries(reply.headers ?? {}))
          response.setHeader(name, value);
        sendText(request, response, reply.status, reply.contentType, reply.body);
        return;
      case 'empty':
        for (const [name, value] of Object.entries(reply.headers ?? {}))
          response.setHeader(name, value);
        response.writeHead(reply.status).end();
        return;
      case 'stream':
        response.writeHead(reply.status, { 'Content-Type': reply.contentType });
        response.flushHeaders();
        for await (const chunk of reply.chunks) {
          if (response.destroyed) return;
          if (!response.write(chunk)) await drained(response);
        }
        response.end();
        return;
      case 'hijack': {
        // Without an upgrade the old form: a plain 200, and then raw bytes until the end.
        const { socket } = request;
        socket.write(`HTTP/1.1 200 OK\r\nContent-Type: ${RAW_STREAM}\r\n\r\n`);
        response.detachSocket(socket);
        await runHijacked(socket, new Uint8Array(0), reply);
        return;
      }
    }
  }

  async #serveUpgrade(request: IncomingMessage, socket: NodeDuplex, head: Buffer): Promise<void> {
    const gone = new AbortController();
    socket.once('close', () => gone.abort(new ShoalError('cancelled', 'the client went away')));
    socket.on('error', () => gone.abort(new ShoalError('cancelled', 'the connection broke')));
    // The request's body is not parsed on an upgrade: it is the first bytes of what follows.
    const length = Number(request.headers['content-length'] ?? 0);
    let rest: Uint8Array = head;
    try {
      if (length > JSON_MAX_BYTES) throw new HttpError(413, 'request body too large');
      const body = await takeBytes(socket, head, length);
      rest = body.rest;
      const reply = await this.#dispatch(callOf(request, once(body.taken), gone.signal));
      if (reply.kind !== 'hijack') {
        writeRaw(socket, reply);
        return;
      }
      socket.write(
        `HTTP/1.1 101 UPGRADED\r\nContent-Type: ${reply.contentType}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n${headerLines()}\r\n`,
      );
      await runHijacked(socket, rest, reply);
    } catch (error) {
      if (gone.signal.aborted) socket.destroy();
      else writeRaw(socket, errorReply(error));
    }
  }
}

function errorReply(error: unknown): Reply {
  const { status, message } = errorAnswer(error);
  return { kind: 'json', status, body: { message } };
}

function callOf(
  request: IncomingMessage,
  body: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Omit<Call, 'params' | 'api'> {
  const url = new URL(request.url ?? '/', 'http://engine');
  const headers: Record<string, string | undefined> = {};
  for (const [name, value] of Object.entries(request.headers))
    headers[name] = Array.isArray(value) ? value[0] : value;
  return {
    method: request.method ?? 'GET',
    path: url.pathname,
    query: url.searchParams,
    headers,
    json: () => parseJson(body, headers, request),
    body: () => body,
    signal,
  };
}

async function parseJson(
  body: AsyncIterable<Uint8Array>,
  headers: Readonly<Record<string, string | undefined>>,
  request: IncomingMessage,
): Promise<unknown> {
  const tooLarge = () => {
    request.pause();
    return new HttpError(
      413,
      `request body too large: at most ${JSON_MAX_BYTES} bytes of JSON are taken`,
    );
  };
  if (Number(headers['content-length'] ?? 0) > JSON_MAX_BYTES) throw tooLarge();
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of body) {
    size += part.length;
    if (size > JSON_MAX_BYTES) throw tooLarge();
    parts.push(part);
  }
  const text = Buffer.concat(parts).toString('utf8');
  if (text.trim() === '') return undefined;
  const type = (headers['content-type'] ?? '').split(';')[0]?.trim();
  if (type !== 'application/json') {
    throw new HttpError(
      400,
      `unsupported Content-Type header (${type ?? ''}): must be 'application/json'`,
    );
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ShoalError('invalid-argument', `invalid JSON: ${messageOf(error)}`, { cause: error });
  }
}

async function* readBody(request: IncomingMessage): AsyncGenerator<Uint8Array> {
  for await (const part of request) yield part as Buffer;
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  if (bytes.length > 0) yield bytes;
}

/** The first `length` bytes of what a socket gives, and what came with them. */
async function takeBytes(
  socket: NodeDuplex,
  head: Uint8Array,
  length: number,
): Promise<{ taken: Uint8Array; rest: Uint8Array }> {
  let bytes = Buffer.from(head);
  while (bytes.length < length) {
    const chunk = (await new Promise((resolve, reject) => {
      socket.once('data', (data: Buffer) => {
        socket.pause();
        resolve(data);
      });
      socket.once('end', () => reject(new HttpError(400, 'unexpected EOF')));
      socket.once('error', reject);
      socket.resume();
    })) as Buffer;
    bytes = Buffer.concat([bytes, chunk]);
  }
  return { taken: bytes.subarray(0, length), rest: bytes.subarray(length) };
}

async function runHijacked(
  socket: NodeDuplex,
  rest: Uint8Array,
  reply: Extract<Reply, { kind: 'hijack' }>,
): Promise<void> {
  const duplex: Duplex = {
    async *input() {
      if (rest.length > 0) yield rest;
      try {
        // Not destroyed at its end: output goes on after the client closed its half.
        for await (const chunk of socket.iterator({ destroyOnReturn: false }))
          yield chunk as Buffer;
      } catch {
        // The connection broke: the same as its end.
      }
    },
    async write(data) {
      if (socket.destroyed || socket.writableEnded) return;
      if (!socket.write(data)) await drained(socket);
    },
  };
  socket.on('error', () => socket.destroy());
  try {
    await reply.run(duplex);
  } finally {
    // Everything written leaves first. A client that never closes its half is cut some time after.
    socket.end(() => {
      socket.resume();
      const timer = setTimeout(() => socket.destroy(), LINGER_MS);
      socket.once('end', () => socket.destroy());
      socket.once('close', () => clearTimeout(timer));
    });
  }
}

type Drainable = {
  once(event: 'drain' | 'close', listener: () => void): unknown;
  off(event: 'drain' | 'close', listener: () => void): unknown;
};

function drained(stream: Drainable): Promise<void> {
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

function sendText(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  contentType: string,
  text: string,
): void {
  const bytes = Buffer.from(text);
  const isHead = request.method === 'HEAD';
  response.writeHead(status, {
    'Content-Type': contentType,
    'Content-Length': isHead ? 0 : bytes.length,
  });
  response.end(isHead ? undefined : bytes);
}

/** A plain answer on a connection that asked for an upgrade and does not get one. */
function writeRaw(socket: NodeDuplex, reply: Reply): void {
  const status = reply.kind === 'hijack' ? 500 : reply.status;
  const body =
    reply.kind === 'json'
      ? `${JSON.stringify(reply.body)}\n`
      : reply.kind === 'text'
        ? reply.body
        : '';
  socket.end(
    `HTTP/1.1 ${status} ${status < 400 ? 'OK' : 'Error'}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n${headerLines()}\r\n${body}`,
  );
}

function headerLines(): string {
  return Object.entries(commonHeaders())
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('');
}
