// Raw HTTP on an Engine socket, for what a polite client would never send.

import { type IncomingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';

export type HttpAnswer = Readonly<{ status: number; headers: IncomingHttpHeaders; body: string }>;

export type HttpOptions = Readonly<{
  body?: string | Uint8Array;
  headers?: Readonly<Record<string, string>>;
  /** Called when the answer has begun. */
  onHead?: () => void;
  /** Ends the request when it holds; what came until then is the answer. */
  until?: (body: string) => boolean;
}>;

export function http(
  socketPath: string,
  method: string,
  path: string,
  options: HttpOptions = {},
): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const sent = request(
      { socketPath, method, path, headers: { Host: 'docker', ...options.headers } },
      (response) => {
        const chunks: Buffer[] = [];
        const finish = () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(chunks).toString('utf8'),
          });
        options.onHead?.();
        const check = () => {
          if (!options.until?.(Buffer.concat(chunks).toString('utf8'))) return;
          finish();
          sent.destroy();
        };
        response.on('data', (chunk: Buffer) => {
          chunks.push(chunk);
          check();
        });
        response.on('end', finish);
        response.on('error', finish);
        check();
      },
    );
    sent.on('error', reject);
    sent.end(options.body);
  });
}

export function httpJson(
  socketPath: string,
  method: string,
  path: string,
  body?: unknown,
): Promise<HttpAnswer & { json: unknown }> {
  const options =
    body === undefined
      ? {}
      : { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } };
  return http(socketPath, method, path, options).then((answer) => ({
    ...answer,
    json: answer.body === '' ? undefined : JSON.parse(answer.body),
  }));
}

/** Writes bytes, closes this half when told to, and gives all that comes back until the other side closes. */
export function rawExchange(
  socketPath: string,
  text: string,
  options: { afterAnswer?: string; endAfter?: boolean } = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path: socketPath, allowHalfOpen: true });
    const chunks: Buffer[] = [];
    let isAnswered = false;
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      if (isAnswered) return;
      isAnswered = true;
      if (options.afterAnswer !== undefined) socket.write(options.afterAnswer);
      if (options.endAfter) socket.end();
    });
    socket.on('end', () => {
      socket.end();
      resolve(Buffer.concat(chunks).toString('latin1'));
    });
    socket.on('error', reject);
    socket.write(text);
  });
}
