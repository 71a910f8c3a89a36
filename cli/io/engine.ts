import { type IncomingMessage, request } from 'node:http';
import { Readable } from 'node:stream';

const API = '/v1.44';

/** An answer that is not a success: the daemon's message. */
export class EngineError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** A client of the Engine API on a unix socket or (plain, on this machine) TCP. */
export class Engine {
  readonly #target: { socketPath: string } | { host: string; port: number };

  readonly #staleReads: boolean;

  /**
   * `unix:///path` or `tcp://host:port`; throws for other forms. `staleReads`: what `get` asks of the cluster
   * may be answered by this host's manager alone, without a leader.
   */
  constructor(url: string, staleReads = false) {
    this.#staleReads = staleReads;
    const socket = /^unix:\/\/(\/.*)$/.exec(url)?.[1];
    const tcp = /^tcp:\/\/([^:/]+):(\d+)$/.exec(url);
    if (socket !== undefined) this.#target = { socketPath: socket };
    else if (tcp?.[1] !== undefined) this.#target = { host: tcp[1], port: Number(tcp[2]) };
    else
      throw new Error(
        `cannot use "${url}" as the daemon's address: give unix:///path or tcp://host:port`,
      );
  }

  async get<T>(path: string, filters?: Readonly<Record<string, readonly string[]>>): Promise<T> {
    const query = [
      ...(filters === undefined ? [] : [`filters=${encodeURIComponent(JSON.stringify(filters))}`]),
      ...(this.#staleReads ? ['stale=1'] : []),
    ].join('&');
    const mark = query === '' ? '' : path.includes('?') ? '&' : '?';
    return (await this.#json('GET', `${path}${mark}${query}`)) as T;
  }

  async post<T>(path: string, body?: unknown): Promise<T> {
    return (await this.#json('POST', path, body)) as T;
  }

  async remove(path: string): Promise<void> {
    await this.#json('DELETE', path);
  }

  /** Sends a tar; gives what the daemon says line by line. */
  async upload(path: string, body: Readable): Promise<string> {
    const response = await this.#send('POST', path, { 'content-type': 'application/x-tar' }, body);
    return readAll(response);
  }

  /** Sends bytes as they come; gives the answer's text. */
  async send(path: string, body: AsyncIterable<Uint8Array>, contentType: string): Promise<string> {
    const headers = { 'content-type': contentType };
    return readAll(await this.#send('POST', path, headers, Readable.from(body)));
  }

  /** The answer's bytes as they come. */
  stream(path: string): Promise<IncomingMessage> {
    return this.#send('GET', path, {});
  }

  async #json(method: string, path: string, body?: unknown): Promise<unknown> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const headers =
      text === undefined
        ? {}
        : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(text)) };
    const answer = await readAll(await this.#send(method, path, headers, text));
    return answer === '' ? undefined : JSON.parse(answer);
  }

  async #send(
    method: string,
    path: string,
    headers: Readonly<Record<string, string>>,
    body?: string | Readable,
  ): Promise<IncomingMessage> {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const sent = request(
        { ...this.#target, method, path: `${API}${path}`, headers: { ...headers } },
        resolve,
      );
      sent.on('error', (error: NodeJS.ErrnoException) =>
        reject(
          error.code === 'ENOENT' || error.code === 'ECONNREFUSED'
            ? new Error(
                `no daemon answers at ${JSON.stringify(this.#target)}: is shoald running? Name another one by --host or DOCKER_HOST`,
              )
            : error,
        ),
      );
      if (body === undefined || typeof body === 'string') sent.end(body);
      else {
        body.on('error', (error) => sent.destroy(error));
        body.pipe(sent);
      }
    });
    if ((response.statusCode ?? 500) < 400) return response;
    throw new EngineError(response.statusCode ?? 500, messageIn(await readAll(response)));
  }
}

async function readAll(response: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part as Buffer);
  return Buffer.concat(parts).toString().trim();
}

function messageIn(text: string): string {
  try {
    const { message } = JSON.parse(text) as { message?: string };
    return message ?? text;
  } catch {
    // Not JSON: then the text itself is the message.
    return text;
  }
}
