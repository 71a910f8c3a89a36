import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/** Below what Linux gives out by itself (net.ipv4.ip_local_port_range begins at 32768). */
const [FROM, TO] = [10_000, 32_000];
let next = randomInt(FROM, TO);

/**
 * A TCP port of 127.0.0.1 that is free, for what must know its port before it listens, or listens on it again. One of
 * those that Linux gives out could be given to somebody else in between: to the next that asks for any, or to a client.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = next;
    next = next + 1 < TO ? next + 1 : FROM;
    if (await isFree(port)) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const server = createServer();
  server.once('error', () => resolve(false));
  server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  return promise;
}
