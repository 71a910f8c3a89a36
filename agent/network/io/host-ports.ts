import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import type { HeldPort, PortHolder } from '../ports.ts';

/** Holds ports by listening on them; what gets through in spite of the translation is turned away. */
export class SocketPortHolder implements PortHolder {
  async hold(protocol: string, port: number): Promise<HeldPort | undefined> {
    try {
      switch (protocol) {
        case 'tcp':
          return await holdTcp(port);
        case 'udp':
          return await holdUdp(port);
        default:
          // Sockets of other protocols cannot be opened from here; only the rule is made then.
          return { port, release: () => Promise.resolve() };
      }
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE')
        return undefined;
      throw error;
    }
  }
}

function holdTcp(port: number): Promise<HeldPort> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', reject);
    server.listen({ port, host: '0.0.0.0', exclusive: true }, () => {
      server.unref();
      const bound = server.address();
      resolve({
        port: typeof bound === 'object' && bound !== null ? bound.port : port,
        release: () => new Promise((done) => server.close(() => done())),
      });
    });
  });
}

function holdUdp(port: number): Promise<HeldPort> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    socket.once('error', reject);
    socket.bind({ port, address: '0.0.0.0', exclusive: true }, () => {
      socket.unref();
      resolve({
        port: socket.address().port,
        release: () => new Promise((done) => socket.close(() => done())),
      });
    });
  });
}
