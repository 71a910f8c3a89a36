import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { messageOf, ShoalError } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/log.ts';
import type { IdentitySource, TlsIdentity } from '../../../shared/pki/identity.ts';
import { holderOf, peerRefusal } from '../../../shared/pki/roles.ts';
import { decodeMessage } from '../codec.ts';
import {
  decodeHello,
  encodeFrames,
  FRAME,
  type Frame,
  FrameReader,
  type Hello,
  LARGEST_FRAME_BYTES,
  type Refusal,
} from '../frames.ts';
import type { SnapshotSink, TransportEvents } from '../ports.ts';
import type { RaftId, SnapshotRequest } from '../types.ts';
import { ALPN } from './peer-link.ts';

/** For the handshake, and then for the hello: whoever holds a place and says nothing keeps members out. */
const HELLO_TIMEOUT_MS = 5_000;
/** The other side pings each second, and a snapshot's next chunk comes at once. */
const SILENCE_TIMEOUT_MS = 10_000;
const MAX_CONNECTIONS = 128;

export type ServerPorts = Readonly<{
  self: RaftId;
  identity: IdentitySource;
  log: Log;
  events: TransportEvents;
  /** Node id of a member as the directory has it; undefined when it is not known. */
  nodeIdOf: (id: string) => string | undefined;
  /** A manager of this cluster says where it takes links. */
  introduced: (id: RaftId, nodeId: string, address: string) => void;
}>;

/** Takes in the links that other members open. Only managers of this cluster get past the handshake. */
export class PeerServer {
  readonly #identity: IdentitySource;
  readonly #log: Log;
  readonly #server: Server;
  readonly #sockets = new Set<TLSSocket>();
  /** All that are open below TLS, those in the middle of their handshake too: the server's end waits for each. */
  readonly #connections = new Set<Socket>();
  #isClosing = false;
  #isOver: (socket: TLSSocket) => boolean = () => false;
  readonly #stopFollowing: () => void;
  #ports: ServerPorts | undefined;
  constructor(identity: IdentitySource, log: Log) {
    this.#identity = identity;
    this.#log = log;
    this.#server = createServer(
      {
        ...contextOf(identity.current()),
        requestCert: true,
        rejectUnauthorized: true,
        ALPNProtocols: [ALPN],
        handshakeTimeout: HELLO_TIMEOUT_MS,
      },
      (socket) => this.#accept(socket),
    );
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.on('connection', (connection: Socket) => {
      this.#connections.add(connection);
      connection.once('close', () => this.#connections.delete(connection));
    });
    this.#server.on('tlsClientError', (error, socket) => {
      log.debug('a TLS handshake failed', {
        peer: socket.remoteAddress,
        error: error.message,
      });
      socket.destroy(); // Node does not, after a handshake that takes too long
    });
    this.#stopFollowing = identity.onChange((next) =>
      this.#server.setSecureContext(contextOf(next)),
    );
  }

  /** Connections that come before this are closed: the other side tries again. */
  start(ports: ServerPorts): void {
    this.#ports = ports;
  }

  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', (error) => {
        const why = `cannot listen for managers on ${host}:${port}: ${messageOf(error)}`;
        reject(new ShoalError('failed-precondition', why, { cause: error }));
      });
      this.#server.listen({ host, port }, () => {
        const address = this.#server.address();
        resolve(typeof address === 'object' && address !== null ? address.port : port);
      });
    });
  }

  /** From now on, also those whose handshake is under way: it may have begun with what is over now. */
  refuseWhere(isOver: (socket: TLSSocket) => boolean): void {
    this.#isOver = isOver;
    for (const socket of this.#sockets) if (isOver(socket)) socket.destroy();
  }

  close(): Promise<void> {
    this.#stopFollowing();
    this.#isClosing = true;
    for (const socket of this.#sockets) socket.destroy();
    for (const connection of this.#connections) connection.destroy();
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
    });
  }

  #accept(socket: TLSSocket): void {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', (error) => {
      this.#log.debug('a link of another manager failed', { error: error.message });
    });
    socket.setNoDelay(true);
    const ports = this.#ports;
    if (ports === undefined || this.#isClosing || this.#isOver(socket)) socket.destroy();
    else new Incoming(socket, ports, this.#identity.current());
  }
}

/** One incoming link. */
class Incoming {
  readonly #socket: TLSSocket;
  readonly #ports: ServerPorts;
  readonly #identity: TlsIdentity;
  readonly #reader = new FrameReader();
  #hello: Hello | undefined;
  #snapshot: { message: SnapshotRequest; sink: SnapshotSink } | undefined;
  constructor(socket: TLSSocket, ports: ServerPorts, identity: TlsIdentity) {
    this.#socket = socket;
    this.#ports = ports;
    this.#identity = identity;
    socket.setTimeout(HELLO_TIMEOUT_MS, () => socket.destroy());
    socket.on('data', (chunk: Uint8Array) => this.#read(chunk));
    socket.on('close', () => this.#abort());
  }

  #read(chunk: Uint8Array): void {
    try {
      this.#reader.push(chunk, (frame) => {
        if (!this.#socket.destroyed) this.#take(frame);
      });
    } catch (error) {
      this.#ports.log.warn('a link of another manager is closed', { error: messageOf(error) });
      this.#socket.destroy();
    }
  }

  #take({ kind, payload }: Frame): void {
    const hello = this.#hello;
    if (hello === undefined) {
      this.#greet(kind, payload);
    } else if (this.#ports.events.wasRemoved(hello.from as RaftId)) {
      // Since its hello: nothing it says counts any more, and it pings each second.
      this.#answer(FRAME.removed);
      this.#socket.end();
    } else if (kind === FRAME.ping) {
      this.#answer(FRAME.pong);
    } else if (kind === FRAME.removed) {
      this.#ports.events.removed();
    } else if (kind === FRAME.message && hello.channel === 'messages') {
      const message = decodeMessage(payload);
      // The certificate vouches for the sender of the link, so for no other sender.
      if (message.from !== hello.from || message.to !== this.#ports.self) {
        throw new ShoalError('invalid-argument', 'a message of another member came by this link');
      }
      // A snapshot without its body would be believed and not be there.
      if (message.type === 'snapshot') throw unexpected(kind);
      this.#ports.events.message(message);
    } else if (hello.channel === 'snapshot') this.#takeSnapshot(kind, payload, hello);
    else throw unexpected(kind);
  }

  #greet(kind: number, payload: Uint8Array): void {
    if (kind !== FRAME.hello) throw unexpected(kind);
    const hello = decodeHello(payload);
    const refusal = this.#refusalOf(hello);
    if (refusal !== undefined) {
      this.#ports.log.warn('refused the link of a manager', { peer: hello.from, refusal });
      this.#answer(FRAME.refused, new TextEncoder().encode(refusal));
      this.#socket.end();
      return;
    }
    this.#hello = hello;
    this.#reader.allow(LARGEST_FRAME_BYTES);
    this.#socket.setTimeout(SILENCE_TIMEOUT_MS);
    this.#answer(FRAME.welcome);
    const nodeId = holderOf(this.#socket.getPeerCertificate().subject)?.nodeId;
    if (nodeId === undefined || hello.address === undefined) return;
    this.#ports.introduced(hello.from as RaftId, nodeId, hello.address);
  }

  #refusalOf(hello: Hello): Refusal | undefined {
    const { subject } = this.#socket.getPeerCertificate();
    const { clusterId } = this.#identity.holder;
    if (peerRefusal(subject, 'manager', clusterId) !== undefined) return 'wrong-node';
    if (hello.clusterId !== clusterId) return 'wrong-cluster';
    if (hello.to !== this.#ports.self) return 'wrong-member';
    const known = this.#ports.nodeIdOf(hello.from);
    if (known !== undefined && known !== '' && known !== holderOf(subject)?.nodeId) {
      return 'wrong-node';
    }
    return this.#ports.events.wasRemoved(hello.from as RaftId) ? 'removed' : undefined;
  }

  #takeSnapshot(kind: number, payload: Uint8Array, hello: Hello): void {
    switch (kind) {
      case FRAME.snapshotBegin: {
        const message = decodeMessage(payload);
        if (message.type !== 'snapshot' || message.from !== hello.from) throw unexpected(kind);
        this.#abort();
        this.#snapshot = { message, sink: this.#ports.events.receiveSnapshot(message) };
        break;
      }
      case FRAME.snapshotChunk:
        this.#snapshot?.sink.write(payload);
        break;
      case FRAME.snapshotEnd:
        void this.#finishSnapshot();
        break;
      default:
        throw unexpected(kind);
    }
  }

  async #finishSnapshot(): Promise<void> {
    const snapshot = this.#snapshot;
    this.#snapshot = undefined;
    if (snapshot === undefined) return;
    try {
      await snapshot.sink.commit();
      this.#ports.events.message(snapshot.message);
      this.#answer(FRAME.snapshotDone);
    } catch (error) {
      snapshot.sink.abort();
      this.#ports.log.error('a snapshot could not be kept', { error: messageOf(error) });
      this.#socket.destroy();
    }
  }

  #abort(): void {
    this.#snapshot?.sink.abort();
    this.#snapshot = undefined;
  }

  #answer(kind: number, payload: Uint8Array = NO_BYTES): void {
    if (!this.#socket.destroyed) this.#socket.write(encodeFrames([{ kind, payload }]));
  }
}

const NO_BYTES = new Uint8Array(0);

function unexpected(kind: number): ShoalError {
  return new ShoalError('invalid-argument', `a frame of kind ${kind} was not expected`);
}

function contextOf(identity: TlsIdentity) {
  return {
    ca: identity.rootsPem,
    cert: identity.certificatePem,
    key: identity.keyPem,
    minVersion: 'TLSv1.3' as const,
  };
}
