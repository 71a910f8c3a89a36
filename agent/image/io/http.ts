import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { Agent, request as tlsRequest } from 'node:https';
import { messageOf, ShoalError } from '../../../shared/errors.ts';

// An import of node:http reads all its names, and so loads the whole of fetch and WebSocket: 1 MiB.
const { request: plainRequest } = process.getBuiltinModule('node:http');

export type HttpResponse = Readonly<{
  status: number;
  headers: IncomingHttpHeaders;
  body: IncomingMessage;
  url: string;
}>;
export type HttpRequest = Readonly<{
  method?: 'GET' | 'HEAD' | 'POST';
  headers?: Readonly<Record<string, string>>;
  body?: string;
  /** Certificates are not checked. */
  insecure?: boolean;
  signal: AbortSignal;
}>;

const CONNECT_TIMEOUT_MS = 10_000;
/** Silence in the middle of an answer; a stalled download is then resumed elsewhere. */
const IDLE_TIMEOUT_MS = 30_000;
const MAX_REDIRECTS = 5;

/**
 * One request; redirects are followed, without credentials when they lead to another host (blobs usually lie
 * with an object store, which refuses the registry's). Throws `unavailable` when nobody answers.
 */
export async function fetchHttp(url: string, options: HttpRequest): Promise<HttpResponse> {
  let target = new URL(url);
  let headers = { ...options.headers };
  for (let turn = 0; turn <= MAX_REDIRECTS; turn += 1) {
    const response = await once(target, { ...options, headers });
    const { location } = response.headers;
    if (![301, 302, 303, 307, 308].includes(response.status) || location === undefined) {
      return response;
    }
    response.body.resume();
    const next = new URL(location, target);
    if (next.host !== target.host || next.protocol !== target.protocol) {
      const { authorization: _, ...rest } = headers;
      headers = rest;
    }
    target = next;
  }
  throw new ShoalError('unavailable', `Get "${url}": stopped after ${MAX_REDIRECTS} redirects`);
}

/** Reads a body whole. Throws `invalid-argument` when it is larger than `maxBytes`. */
export async function readBody(response: HttpResponse, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response.body as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > maxBytes) {
      response.body.destroy();
      throw new ShoalError('invalid-argument', `${response.url}: more than ${maxBytes} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function once(url: URL, options: HttpRequest): Promise<HttpResponse> {
  const { method = 'GET', headers = {}, body, insecure = false, signal } = options;
  return new Promise((resolve, reject) => {
    const send = url.protocol === 'https:' ? tlsRequest : plainRequest;
    const request = send(
      url,
      {
        method,
        headers: { 'user-agent': 'shoal', ...headers },
        signal,
        ...(url.protocol === 'https:' && insecure ? { agent: insecureAgent } : {}),
      },
      (response) => {
        clearTimeout(connecting);
        // The response's own error is raised where its body is read.
        request.setTimeout(IDLE_TIMEOUT_MS, () =>
          response.destroy(unreachable(method, url, 'no data for 30 seconds')),
        );
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: response,
          url: url.toString(),
        });
      },
    );
    const connecting = setTimeout(
      () => request.destroy(new Error('i/o timeout')),
      CONNECT_TIMEOUT_MS,
    );
    request.on('error', (error) => {
      clearTimeout(connecting);
      reject(signal.aborted ? signal.reason : unreachable(method, url, messageOf(error), error));
    });
    request.end(body);
  });
}

const insecureAgent = new Agent({ keepAlive: true, rejectUnauthorized: false });

function unreachable(method: string, url: URL, why: string, cause?: unknown): ShoalError {
  const verb = method.charAt(0) + method.slice(1).toLowerCase();
  return new ShoalError('unavailable', `${verb} "${url.origin}${url.pathname}": ${why}`, { cause });
}
