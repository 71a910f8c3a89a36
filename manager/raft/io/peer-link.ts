import { connect, type TLSSocket } from 'node:tls';
import { messageOf } from '../../../shared/errors.ts';
import type { RaftMember } from '../../../shared/gen/shoal/v1/peer.ts';
import type { Log } from '../../../shared/log.ts';
import type { IdentitySource } from '../../../shared/pki/identity.ts';
import { peerRefusal } from '../../../shared/pki/roles.ts';
import {
  encodeFrames,
  encodeHello,
  FRAME,
  type Frame,
  FrameReader,
  type Hello,
  joinFrames,
  LARGEST_HELLO_BYTES,
  parseAddress,
} from '../frames.ts';
import type { RaftId } from '../types.ts';

export const ALPN = 'shoal-raft';
/** The time a link may take from the first packet to the other side's welcome. */
const CONNECT_TIMEOUT_MS = 2_000;
const FIRST_RETRY_MS = 50;
const LAST_RETRY_MS = 1_000;
/** A power failure sends no FIN, and TCP alone would notice after minutes. */
const PONG_TIMEOUT_MS = 3_000;
/** What waits in a socket before more is dropped: Raft sends anew what matters. */
const MAX_QUEUED_BYTES = 16 << 20;
/** Kept while connecting, newest last: votes and heartbeats, not a backlog. */
const MAX_EARLY_FRAMES = 64;
const MAX_EARLY_BYTES = 1 << 20;

export type LinkPorts = Readonly<{
  self: RaftId;
  peer: RaftId;
  member: RaftMember;
  /** Where this node takes links; undefined while it does not know itself. */
  ownAddress: () => string | undefined;
  identity: IdentitySource;
  log: Log;
  unreachable: () => void;
  /** The other side says that this member was removed from the group. */
  removed: () => void;
}>;

/** The outgoing half of the conversation with one member: it connects, and connects anew, by itself. */
export class PeerLink {
  readonly #ports: LinkPorts;
  #socket: TLSSocket | undefined;
  #ready = false;
  #closed = false;
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #retryMs = FIRST_RETRY_MS;
  #retryTimer: NodeJS.Timeout | undefined;
  #pongAtMs = 0;
  #lastRefusal = '';

  constructor(ports: LinkPorts) {
    this.#ports = ports;
    this.#connect();
  }

  get member(): RaftMember {
    return this.#ports.member;
  }

  /** One whole frame. It leaves at the next flush. */
  send(frame: Uint8Array): void {
    if (this.#closed || (this.#socket === undefined && !this.#ready)) {
      this.#drop();
      return;
    }
    const waiting = (this.#socket?.writableLength ?? 0) + this.#queuedBytes;
    if (this.#ready && waiting > MAX_QUEUED_BYTES) {
      this.#drop();
      return;
    }
    this.#queue.push(frame);
    this.#queuedBytes += frame.length;
    if (this.#ready) return;
    while (this.#queue.length > MAX_EARLY_FRAMES || this.#queuedBytes > MAX_EARLY_BYTES) {
      this.#queuedBytes -= this.#queue.shift()?.length ?? 0;
      this.#drop();
    }
  }

  flush(): void {
    if (!this.#ready || this.#queue.length === 0) return;
    this.#socket?.write(joinFrames(this.#queue));
    this.#queue = [];
    this.#queuedBytes = 0;
  }

  /** Once a second. */
  tick(): void {
    if (!this.#ready) return;
    if (performance.now() - this.#pongAtMs > PONG_TIMEOUT_MS) {
      this.#ports.log.warn('a manager does not answer: connecting anew', {
        peer: this.#ports.peer,
      });
      this.#socket?.destroy();
      return;
    }
    this.send(PING);
    this.flush();
  }

  /** The present connection, if it is so, or one whose handshake is under way; another one is made. */
  endWhere(isOver: (socket: TLSSocket) => boolean): void {
    const socket = this.#socket;
    if (socket !== undefined && (!this.#ready || isOver(socket))) socket.destroy();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#retryTimer);
    this.#socket?.destroy();
  }

  #connect(): void {
    const { self, peer, member } = this.#ports;
    const address = this.#ports.ownAddress();
    const hello: Hello = {
      version: 1,
      clusterId: '',
      from: self,
      to: peer,
      channel: 'messages',
      ...(address === undefined ? {} : { address }),
    };
    let socket: Connection;
    try {
      socket = connectTo(this.#ports, hello);
    } catch (error) {
      // An address or a certificate that makes no sense concerns this one link and not the node.
      this.#refused(error);
      this.#lost();
      return;
    }
    this.#socket = socket.socket;
    socket.welcomed.then(
      () => {
        this.#ready = true;
        this.#retryMs = FIRST_RETRY_MS;
        this.#lastRefusal = '';
        this.#pongAtMs = performance.now();
        this.#ports.log.debug('connected to a manager', { peer, address: member.raftAddress });
        this.flush();
      },
      (error: unknown) => this.#refused(error),
    );
    socket.onFrame = ({ kind }) => {
      if (kind === FRAME.pong) this.#pongAtMs = performance.now();
      else if (kind === FRAME.removed) this.#ports.removed();
    };
    socket.socket.on('close', () => this.#lost());
  }

  /** Said once for each new reason: a member that is down is tried every second. */
  #refused(error: unknown): void {
    if (error instanceof RefusedError && error.refusal === 'removed') this.#ports.removed();
    const why = messageOf(error);
    if (this.#closed || why === this.#lastRefusal) return;
    this.#lastRefusal = why;
    const { peer, member, log } = this.#ports;
    log.warn('cannot reach a manager', { peer, address: member.raftAddress, error: why });
  }

  #lost(): void {
    this.#socket = undefined;
    this.#ready = false;
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#drop();
    if (this.#closed) return;
    // Some chance in it, so that members which lost each other do not knock in step.
    const delayMs = this.#retryMs * (0.5 + Math.random() / 2);
    this.#retryMs = Math.min(LAST_RETRY_MS, this.#retryMs * 2);
    this.#retryTimer = setTimeout(() => this.#connect(), delayMs);
  }

  #drop(): void {
    if (!this.#closed) this.#ports.unreachable();
  }
}

const PING = encodeFrames([{ kind: FRAME.ping, payload: new Uint8Array(0) }]);

class RefusedError extends Error {
  readonly refusal: string;
  constructor(refusal: string) {
    super(`the other manager refused the link: ${refusal}`);
    this.refusal = refusal;
  }
}

export type Connection = {
  readonly socket: TLSSocket;
  /** Rejects with RefusedError, or with what went wrong below. */
  readonly welcomed: Promise<void>;
  /** Frames after the welcome. */
  onFrame: (frame: Frame) => void;
};

/** Connects, checks who answers, says hello. The cluster id of the hello is filled in. */
export function connectTo(ports: Pick<LinkPorts, 'identity' | 'member'>, hello: Hello): Connection {
  const identity = ports.identity.current();
  const { clusterId } = identity.holder;
  const { host, port } = parseAddress(ports.member.raftAddress);
  const socket = connect({
    host,
    port,
    ca: identity.rootsPem,
    cert: identity.certificatePem,
    key: identity.keyPem,
    minVersion: 'TLSv1.3',
    ALPNProtocols: [ALPN],
    servername: 'swarm-manager',
    checkServerIdentity: (_name, { subject }) => {
      const why = peerRefusal(subject, 'manager', clusterId) ?? otherNode(subject.CN, ports.member);
      return why === undefined ? undefined : new Error(why);
    },
  });
  socket.setNoDelay(true);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  promise.catch(() => undefined);
  const connection: Connection = { socket, welcomed: promise, onFrame: () => undefined };
  const reader = new FrameReader(LARGEST_HELLO_BYTES);
  let welcomed = false;
  const timer = setTimeout(
    () => socket.destroy(new Error('no connection in time')),
    CONNECT_TIMEOUT_MS,
  );
  socket.on('secureConnect', () => {
    socket.write(
      encodeFrames([{ kind: FRAME.hello, payload: encodeHello({ ...hello, clusterId }) }]),
    );
  });
  socket.on('data', (chunk: Uint8Array) => {
    try {
      reader.push(chunk, (frame) => {
        if (welcomed) connection.onFrame(frame);
        else if (frame.kind === FRAME.welcome) {
          welcomed = true;
          clearTimeout(timer);
          resolve();
        } else if (frame.kind === FRAME.refused) {
          reject(new RefusedError(new TextDecoder().decode(frame.payload)));
          socket.destroy();
        }
      });
    } catch (error) {
      socket.destroy(error instanceof Error ? error : undefined);
    }
  });
  socket.on('error', (error) => reject(error));
  socket.on('close', () => {
    clearTimeout(timer);
    reject(new Error('the connection was closed'));
  });
  return connection;
}

function otherNode(commonName: string | string[] | undefined, member: RaftMember) {
  // A member that is known by its address only (while joining) has no node id yet.
  if (member.nodeId === '' || commonName === member.nodeId) return undefined;
  return `node ${String(commonName)} answers at the address of ${member.nodeId}`;
}
