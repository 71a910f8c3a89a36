import type { AddressInfo } from 'node:net';
import { connect, createServer, type PeerCertificate, type TLSSocket } from 'node:tls';
import { messageOf, ShoalError } from '../../errors.ts';
import type { Log } from '../../log.ts';
import type { IdentitySource } from '../../pki/identity.ts';
import { holderOf, peerRefusal } from '../../pki/roles.ts';
import type { Caller } from '../caller.ts';
import { contextOptions } from './credentials.ts';
import { LinkClient } from './link-client.ts';

/** What a client that wants a link says in the TLS handshake, where gRPC says h2. */
const LINK_PROTOCOL = 'shoal-calls';
const GRPC_PROTOCOL = 'h2';
/** A host that is off answers nothing; one that hangs must not hold up a call until its deadline. */
const CONNECT_WITHIN_MS = 3_000;
/** On a machine with a backlog of them a handshake takes some hundred milliseconds. */
const HANDSHAKE_WITHIN_MS = 10_000;

export type ClusterListener = Readonly<{ port: number; close: () => void }>;

/**
 * Mutual TLS 1.3 on one address for gRPC and for links. A client certificate is asked for and not
 * required, because a node that joins has none. A renewed certificate counts for new connections.
 */
export async function listenForCluster(
  options: Readonly<{
    host: string;
    port: number;
    identity: IdentitySource;
    log: Log;
    grpc: (socket: TLSSocket) => void;
    link: (socket: TLSSocket) => void;
  }>,
): Promise<ClusterListener> {
  const { host, port, identity, log } = options;
  const server = createServer(
    {
      ...contextOptions(identity.current()),
      requestCert: true,
      rejectUnauthorized: false,
      ALPNProtocols: [LINK_PROTOCOL, GRPC_PROTOCOL],
      handshakeTimeout: HANDSHAKE_WITHIN_MS,
    },
    (socket) => {
      socket.setNoDelay(true);
      if (socket.alpnProtocol === LINK_PROTOCOL) options.link(socket);
      else options.grpc(socket);
    },
  );
  server.on('tlsClientError', (error, socket) => {
    log.debug('a TLS handshake failed', { error: error.message });
    socket.destroy(); // Node does not, after one that takes too long: each would hold a file for ever
  });
  const stop = identity.onChange((next) => server.setSecureContext(contextOptions(next)));
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      stop();
      const why = `cannot listen on ${host}:${port}: ${messageOf(cause)}`;
      reject(new ShoalError('failed-precondition', why, { cause }));
    });
    server.listen({ host, port }, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () => {
      stop();
      server.close();
    },
  };
}

/** A link to another manager, whoever has a manager's certificate of the same cluster at `address`. */
export function clusterLink(address: string, identity: IdentitySource): LinkClient {
  return new LinkClient(() => {
    const { host, port } = parseTarget(address);
    const own = identity.current();
    const socket = connect({
      ...contextOptions(own),
      host,
      port,
      ALPNProtocols: [LINK_PROTOCOL],
      servername: 'swarm-manager', // an address would not be allowed
      checkServerIdentity: (_name, { subject }) => {
        const why = peerRefusal(subject, 'manager', own.holder.clusterId);
        return why === undefined ? undefined : new Error(why);
      },
    });
    socket.setNoDelay(true);
    const timer = setTimeout(
      () => socket.destroy(new Error(`no connection to ${address} within ${CONNECT_WITHIN_MS} ms`)),
      CONNECT_WITHIN_MS,
    );
    const done = () => clearTimeout(timer);
    socket.once('secureConnect', done);
    socket.once('close', done);
    return socket;
  });
}

/** `host:port`, `[v6]:port`. */
export function parseTarget(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(':');
  const port = Number(address.slice(colon + 1));
  const host = address.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
  if (colon < 1 || !Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new ShoalError('invalid-argument', `"${address}" is not host:port`);
  }
  return { host, port };
}

/** Who a certificate, whose chain TLS has verified, speaks for; undefined: for nobody, or no more. */
export function callerOf(certificate: PeerCertificate | undefined): Caller | undefined {
  if (certificate === undefined) return undefined;
  // Checked at the handshake too, but connections live longer than that.
  if (Date.parse(certificate.valid_to) < Date.now()) return undefined;
  const holder = holderOf(certificate.subject);
  return holder === undefined ? undefined : { ...holder, local: false };
}
