import type { Agent, IncomingMessage } from 'node:http';
import { ShoalError } from '../../../../shared/errors.ts';
import type {
  HttpMetric,
  PrometheusMetric,
  SourceAuth,
} from '../../../../shared/gen/shoal/v1/autoscale.ts';
import { addressOf, type Dial, parseHttpUrl } from '../address.ts';
import type { Connection, Connections } from '../connections.ts';
import type { Credentials } from '../credentials.ts';
import type { Source } from '../follower.ts';
import { numberAt, parseJsonPath } from '../json-path.ts';
import { READ_WITHIN_MS } from '../pace.ts';
import { queryPath, valueOfAnswer } from '../prometheus.ts';
import { type Access, fingerprint, sourceError } from './access.ts';
import { tlsOptions } from './tls.ts';

/** A page with one number in it is small; one without end must not fill the leader's memory. */
const MAX_ANSWER_BYTES = 1024 * 1024;
/** Sockets of one server. */
const MAX_SOCKETS = 4;

/** The source of a number in a page of JSON. */
export function httpSource(
  { url, path, auth }: HttpMetric,
  access: Access,
  connections: Connections<HttpConnection>,
): Source {
  return jsonSource(url, auth, access, connections, (parsed) => {
    const steps = parseJsonPath(path);
    return {
      target: `${parsed.pathname}${parsed.search}`,
      okStatus: [200],
      toValue: (document) => numberAt(document, steps),
    };
  });
}

/** The source of a query's value. */
export function prometheusSource(
  { url, query, auth }: PrometheusMetric,
  access: Access,
  connections: Connections<HttpConnection>,
): Source {
  return jsonSource(url, auth, access, connections, ({ pathname }) => ({
    target: queryPath(pathname, query, READ_WITHIN_MS),
    // What is wrong with a query is told in JSON too, with these.
    okStatus: [200, 400, 422, 503],
    toValue: valueOfAnswer,
  }));
}

type Question = Readonly<{
  /** Path and query of the request. */
  target: string;
  /** With these the answer is what `toValue` understands. */
  okStatus: readonly number[];
  toValue: (document: unknown) => number;
}>;

function jsonSource(
  url: string,
  auth: SourceAuth | undefined,
  access: Access,
  connections: Connections<HttpConnection>,
  questionOf: (url: URL) => Question,
): Source {
  const lease = connections.lease();
  return {
    kind: 'gauge',
    where: URL.canParse(url) ? new URL(url).host : 'http',
    close: () => lease.close(),
    async read(signal) {
      const parsed = parseHttpUrl(url);
      const { target, okStatus, toValue } = questionOf(parsed);
      const address = addressOf(parsed);
      let credentials: Credentials | undefined;
      try {
        const known = access.credentials(auth);
        credentials = known;
        const dial = await access.dial(address);
        const isTls = parsed.protocol === 'https:';
        const id = fingerprint(isTls, ...Object.values(dial), ...Object.values(known));
        const connection = await lease.use(id, () => openHttp(isTls, dial, known));
        const { status, body } = await connection.get(parsed.host, target, signal);
        if (!okStatus.includes(status)) throw refused(statusText(status));
        return toValue(parseJson(body, status));
      } catch (error) {
        throw sourceError(error, address, credentials, access.hintFor(address));
      }
    },
  };
}

/** Of node:http or node:https. */
type Request = typeof import('node:http').request;

/** Opens no socket yet: what it loads is 2 MB, so it is loaded at first use. */
async function openHttp(
  isTls: boolean,
  dial: Dial,
  credentials: Credentials,
): Promise<HttpConnection> {
  const keep = { keepAlive: true, maxSockets: MAX_SOCKETS, maxFreeSockets: 1 };
  if (!isTls) {
    const { Agent, request } = await import('node:http');
    return new HttpConnection(request, new Agent(keep), dial, credentials);
  }
  const { Agent, request } = await import('node:https');
  const agent = new Agent({ ...keep, ...tlsOptions(dial.serverName, credentials) });
  return new HttpConnection(request, agent, dial, credentials);
}

type Answer = Readonly<{ status: number; body: Buffer }>;

/** Sockets of one server, kept open between readings. */
export class HttpConnection implements Connection {
  readonly #request: Request;
  readonly #agent: Agent;
  readonly #dial: Dial;
  readonly #authorization: string | undefined;
  #closed = false;

  constructor(request: Request, agent: Agent, dial: Dial, credentials: Credentials) {
    this.#request = request;
    this.#agent = agent;
    this.#dial = dial;
    this.#authorization = authorizationOf(credentials);
  }

  get closed(): boolean {
    return this.#closed;
  }

  close(): void {
    this.#closed = true;
    this.#agent.destroy();
  }

  /** `host`: what the server is called in the request, whatever address was dialled. Redirects are not followed. */
  async get(host: string, target: string, signal: AbortSignal): Promise<Answer> {
    try {
      return await this.#get(host, target, signal);
    } catch (error) {
      // The server closed a kept socket just when it was used again: says nothing about the server.
      if (!(error instanceof ReusedSocketError) || signal.aborted) throw error;
      return await this.#get(host, target, signal);
    }
  }

  #get(host: string, target: string, signal: AbortSignal): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const asked = this.#request({
      agent: this.#agent,
      host: this.#dial.host,
      port: this.#dial.port,
      path: target,
      signal,
      headers: {
        host,
        accept: 'application/json',
        'user-agent': 'shoal-autoscaler',
        ...(this.#authorization === undefined ? {} : { authorization: this.#authorization }),
      },
    });
    asked.once('error', (error: NodeJS.ErrnoException) => {
      reject(asked.reusedSocket && error.code === 'ECONNRESET' ? new ReusedSocketError() : error);
    });
    asked.once('response', (answer) => {
      readBody(answer).then((body) => resolve({ status: answer.statusCode ?? 0, body }), reject);
    });
    asked.end();
    return promise;
  }
}

class ReusedSocketError extends Error {
  override readonly message = 'the connection was reset';
}

async function readBody(answer: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of answer) {
    const chunk: Buffer = part;
    bytes += chunk.length;
    // Leaving the loop destroys the socket.
    if (bytes > MAX_ANSWER_BYTES) throw refused('its answer is larger than 1 MiB');
    parts.push(chunk);
  }
  return Buffer.concat(parts);
}

function statusText(status: number): string {
  const said = `it answers with status ${status}`;
  if (status === 401 || status === 403) return `${said}: name a secret with its credentials`;
  if (status >= 300 && status < 400)
    return `${said}: give the URL that it points to, none is followed`;
  return said;
}

function parseJson(body: Buffer, status: number): unknown {
  try {
    return JSON.parse(body.toString());
  } catch {
    const more = status === 200 ? '' : ` (status ${status})`;
    throw refused(`its answer is no JSON${more}`);
  }
}

function authorizationOf({ username, password, token }: Credentials): string | undefined {
  if (token !== '') return `Bearer ${token}`;
  if (username === '' && password === '') return undefined;
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

function refused(message: string): ShoalError {
  return new ShoalError('failed-precondition', message);
}
