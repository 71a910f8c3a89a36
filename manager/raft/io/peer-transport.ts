import { once } from 'node:events';
import type { TLSSocket } from 'node:tls';
import { messageOf } from '../../../shared/errors.ts';
import type { RaftMember } from '../../../shared/gen/shoal/v1/peer.ts';
import type { Log } from '../../../shared/log.ts';
import type { IdentitySource } from '../../../shared/pki/identity.ts';
import { DroppedRoots } from '../../../shared/rpc/io/dropped-roots.ts';
import { encodeMessage } from '../codec.ts';
import type { SnapshotBody } from '../durable-log.ts';
import { encodeFrames, encodeMessageFrame, FRAME, type Frame, parseAddress } from '../frames.ts';
import type { PeerTransport, TransportEvents } from '../ports.ts';
import type { Message, RaftId, SnapshotRequest } from '../types.ts';
import { connectTo, PeerLink } from './peer-link.ts';
import { PeerServer } from './peer-server.ts';

const PING_MS = 1_000;
/** A removed member keeps its link so long: to be told, and to get what was under way. */
const PARTING_MS = 5_000;
/** For one chunk to be taken, and for the other side to have synced the whole. */
const SNAPSHOT_PATIENCE_MS = 30_000;

export type PeerTransportOptions = Readonly<{
  /** host:port to listen on; port 0 takes a free one. */
  listen: string;
  /** host:port where others reach this member now; undefined: where its group has it. */
  advertise?: string | undefined;
  identity: IdentitySource;
  log: Log;
}>;

/** As many managers as a cluster sensibly has; each costs a link. */
const MAX_INTRODUCED = 16;

/**
 * Links to the other members: mutual TLS 1.3, each side opens its own for messages, and one more for
 * each snapshot, so that no heartbeat waits behind one. A new certificate counts for new connections; a root that is
 * dropped ends those of its certificates: a member that is heard but cannot answer would believe it has a leader.
 */
export class TlsPeerTransport implements PeerTransport {
  readonly #options: PeerTransportOptions;
  readonly #server: PeerServer;
  readonly #droppedRoots: DroppedRoots;
  readonly #links = new Map<RaftId, PeerLink>();
  readonly #partings = new Map<RaftId, NodeJS.Timeout>();
  readonly #dirty = new Set<PeerLink>();
  readonly #stop = new AbortController();
  readonly #sending = new Set<Promise<void>>();
  #peers: ReadonlyMap<RaftId, RaftMember> = new Map();
  /**
   * Managers that called and are not known yet: one of them may lead, having joined while this node
   * was away, and without an answer it could never bring this node up to date. Oldest first.
   */
  readonly #introduced = new Map<RaftId, RaftMember>();
  /**
   * Members that say they are elsewhere than the group has them. The group learns it by an entry, for which it may need
   * just this member.
   */
  readonly #moved = new Map<RaftId, string>();
  #self: RaftId | undefined;
  #events: TransportEvents | undefined;
  #ping: NodeJS.Timeout | undefined;

  constructor(options: PeerTransportOptions) {
    this.#options = options;
    this.#server = new PeerServer(options.identity, options.log);
    this.#droppedRoots = new DroppedRoots(options.identity, () => this.#partFromDropped());
  }

  /** Returns the port. Throws ShoalError `failed-precondition` when the address is taken. */
  listen(): Promise<number> {
    const { host, port } = parseAddress(this.#options.listen);
    return this.#server.listen(host, port);
  }

  start(self: RaftId, events: TransportEvents): void {
    this.#self = self;
    this.#events = events;
    const { identity, log } = this.#options;
    this.#server.start({
      self,
      identity,
      log,
      events,
      nodeIdOf: (id) => this.#peers.get(id as RaftId)?.nodeId,
      introduced: (id, nodeId, address) => this.#introduce(id, nodeId, address),
    });
    this.#ping = setInterval(() => {
      for (const link of this.#links.values()) link.tick();
    }, PING_MS);
    this.#connectAll();
  }

  send(message: Message): void {
    const link = this.#links.get(message.to);
    if (link === undefined) {
      this.#later(() => this.#events?.unreachable(message.to));
      return;
    }
    link.send(encodeMessageFrame(message));
    this.#dirty.add(link);
  }

  flush(): void {
    for (const link of this.#dirty) link.flush();
    this.#dirty.clear();
  }

  sendSnapshot(message: SnapshotRequest, body: SnapshotBody): void {
    const { log } = this.#options;
    const index = message.snapshot.index;
    const sending = this.#stream(message, body).then(
      () => {
        log.info('sent a snapshot', { to: message.to, index });
        this.#events?.snapshotSent(message.to, true);
      },
      (error: unknown) => {
        log.warn('could not send a snapshot', { to: message.to, index, error: messageOf(error) });
        this.#events?.snapshotSent(message.to, false);
      },
    );
    this.#sending.add(sending);
    void sending.finally(() => this.#sending.delete(sending));
  }

  setPeers(peers: ReadonlyMap<RaftId, RaftMember>): void {
    this.#peers = peers;
    for (const id of peers.keys()) this.#introduced.delete(id);
    for (const [id, address] of this.#moved) {
      const member = peers.get(id);
      if (member === undefined || member.raftAddress === address) this.#moved.delete(id);
    }
    this.#connectAll();
  }

  #introduce(raftId: RaftId, nodeId: string, raftAddress: string): void {
    const member = this.#peers.get(raftId);
    if (member !== undefined) {
      if (member.raftAddress === raftAddress) this.#moved.delete(raftId);
      else if (member.nodeId === nodeId) this.#moved.set(raftId, raftAddress);
      this.#connectAll();
      return;
    }
    this.#introduced.delete(raftId);
    this.#introduced.set(raftId, { raftId, nodeId, address: '', raftAddress });
    for (const oldest of this.#introduced.keys()) {
      if (this.#introduced.size <= MAX_INTRODUCED) break;
      this.#introduced.delete(oldest);
    }
    this.#connectAll();
  }

  tellRemoved(id: RaftId): void {
    const link = this.#links.get(id);
    link?.send(encodeFrames([{ kind: FRAME.removed, payload: new Uint8Array(0) }]));
    link?.flush();
  }

  async close(): Promise<void> {
    clearInterval(this.#ping);
    this.#droppedRoots.close();
    this.#stop.abort(new Error('this manager is stopping'));
    for (const timer of this.#partings.values()) clearTimeout(timer);
    for (const link of this.#links.values()) link.close();
    this.#links.clear();
    await this.#server.close();
    await Promise.all(this.#sending);
  }

  #partFromDropped(): void {
    const isDropped = (socket: TLSSocket) => this.#droppedRoots.issued(socket.getPeerCertificate());
    this.#server.refuseWhere(isDropped);
    for (const link of this.#links.values()) link.endWhere(isDropped);
  }

  #connectAll(): void {
    if (this.#events === undefined || this.#stop.signal.aborted) return;
    for (const [id, known] of [...this.#introduced, ...this.#peers]) {
      const member = this.#whereItIs(id, known);
      if (id === this.#self || member.raftAddress === '') continue;
      clearTimeout(this.#partings.get(id));
      this.#partings.delete(id);
      const link = this.#links.get(id);
      if (link !== undefined && link.member.raftAddress === member.raftAddress) continue;
      link?.close();
      this.#links.set(id, this.#open(id, member));
    }
    for (const [id, link] of this.#links) {
      if (this.#peers.has(id) || this.#introduced.has(id) || this.#partings.has(id)) continue;
      const part = () => {
        this.#partings.delete(id);
        this.#links.delete(id);
        link.close();
      };
      this.#partings.set(id, setTimeout(part, PARTING_MS));
    }
  }

  #open(peer: RaftId, member: RaftMember): PeerLink {
    const { identity, log } = this.#options;
    return new PeerLink({
      self: this.#ownId(),
      peer,
      member,
      ownAddress: () => this.#options.advertise ?? this.#peers.get(this.#ownId())?.raftAddress,
      identity,
      log,
      // Later: the core must not be called from within its own output.
      unreachable: () => this.#later(() => this.#events?.unreachable(peer)),
      removed: () => this.#later(() => this.#events?.removed()),
    });
  }

  async #stream(message: SnapshotRequest, body: SnapshotBody): Promise<void> {
    const known = this.#peers.get(message.to);
    if (known === undefined) throw new Error('its address is not known');
    const member = this.#whereItIs(message.to, known);
    const { identity } = this.#options;
    const connection = connectTo(
      { identity, member },
      { version: 1, clusterId: '', from: this.#ownId(), to: message.to, channel: 'snapshot' },
    );
    const { socket } = connection;
    const stop = () => socket.destroy(new Error('this manager is stopping'));
    this.#stop.signal.addEventListener('abort', stop, { once: true });
    if (this.#stop.signal.aborted) stop();
    const done = Promise.withResolvers<void>();
    done.promise.catch(() => undefined);
    connection.onFrame = ({ kind }) => {
      if (kind === FRAME.snapshotDone) done.resolve();
    };
    socket.on('close', () => done.reject(new Error('the connection was lost')));
    socket.setTimeout(SNAPSHOT_PATIENCE_MS, () => socket.destroy(new Error('it takes too long')));
    try {
      await connection.welcomed;
      const put = async (frame: Frame) => {
        if (socket.write(encodeFrames([frame]))) return;
        await once(socket, 'drain', { signal: AbortSignal.any([this.#stop.signal, closing]) });
      };
      const closing = closeSignal(socket);
      await put({ kind: FRAME.snapshotBegin, payload: encodeMessage(message) });
      for (const chunk of body) await put({ kind: FRAME.snapshotChunk, payload: chunk });
      await put({ kind: FRAME.snapshotEnd, payload: new Uint8Array(0) });
      await done.promise;
    } finally {
      this.#stop.signal.removeEventListener('abort', stop);
      socket.destroy();
    }
  }

  #whereItIs(id: RaftId, member: RaftMember): RaftMember {
    const raftAddress = this.#moved.get(id);
    return raftAddress === undefined ? member : { ...member, raftAddress };
  }

  #ownId(): RaftId {
    if (this.#self === undefined) throw new Error('the transport has not been started');
    return this.#self;
  }

  #later(fn: () => void): void {
    setImmediate(() => {
      if (!this.#stop.signal.aborted) fn();
    });
  }
}

/** Aborts when the socket closes, so that nobody waits for it to drain. */
function closeSignal(socket: NodeJS.EventEmitter): AbortSignal {
  const controller = new AbortController();
  socket.once('close', () => controller.abort(new Error('the connection was lost')));
  return controller.signal;
}
