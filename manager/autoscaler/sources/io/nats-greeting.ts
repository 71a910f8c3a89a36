import { connect } from 'node:net';
import { ShoalError } from '../../../../shared/errors.ts';
import type { Address } from '../address.ts';

/** Servers of large clusters list them all. */
const MAX_GREETING_BYTES = 256 * 1024;

export type Greeting = Readonly<{ tlsRequired: boolean }>;

/**
 * What a server of NATS says to whoever connects: INFO and a document of JSON, in one line, before all else. Asked on a
 * connection of its own: the client (3.4.0) leaves the socket open for ever when a server accepts it and says nothing,
 * which would be one for each try, and has no words for a server that wants TLS. Rejects within `withinMs`.
 */
export function greetingOf(address: Address, withinMs: number): Promise<Greeting> {
  const { promise, resolve, reject } = Promise.withResolvers<Greeting>();
  const socket = connect(address.port, address.host);
  const timer = setTimeout(() => {
    socket.destroy(new ShoalError('deadline-exceeded', 'it does not say what it is'));
  }, withinMs);
  let text = '';
  socket.setEncoding('utf8');
  socket.on('data', (part: string) => {
    text += part;
    const end = text.indexOf('\r\n');
    if (end < 0 && text.length <= MAX_GREETING_BYTES) return;
    const greeting = end < 0 ? undefined : parseGreeting(text.slice(0, end));
    if (greeting === undefined) reject(noNats());
    else resolve(greeting);
    socket.destroy();
  });
  socket.once('error', reject);
  socket.once('close', () => {
    clearTimeout(timer);
    reject(noNats());
  });
  return promise;
}

function parseGreeting(line: string): Greeting | undefined {
  const [, json] = /^INFO\s+(\{.*\})\s*$/i.exec(line) ?? [];
  if (json === undefined) return undefined;
  try {
    const info: unknown = JSON.parse(json);
    const required = typeof info === 'object' && info !== null && 'tls_required' in info;
    return { tlsRequired: required && info.tls_required === true };
  } catch {
    return undefined;
  }
}

function noNats(): ShoalError {
  return new ShoalError('failed-precondition', 'this is no server of NATS');
}
