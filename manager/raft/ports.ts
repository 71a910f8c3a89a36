import { ShoalError } from '../../shared/errors.ts';
import type { RaftMember } from '../../shared/gen/shoal/v1/peer.ts';
import type { DurableLog, SnapshotBody } from './durable-log.ts';
import type { Message, RaftId, SnapshotMeta, SnapshotRequest } from './types.ts';

/** Thrown by `append` before anything was written: the same batch may be tried again later. */
export class DiskFullError extends ShoalError {
  constructor(path: string, options?: ErrorOptions) {
    super('resource-exhausted', `there is no room left on the disk of ${path}`, options);
  }
}

/** A snapshot being written. Nothing is visible under its name before a commit is done. */
export interface SnapshotSink {
  /** Throws when the disk fails (DiskFullError: is full): the sink is then of no use any more, `abort` it. */
  write(chunk: Uint8Array): void;
  /** On disk when it resolves. Waits for the disk outside of this thread. */
  commit(): Promise<void>;
  /** Removes what was written. After a commit it does nothing. */
  abort(): void;
}

export interface NoteReader {
  note(key: string): Uint8Array | undefined;
}

/** What the node needs of its disk beyond the log: snapshots as streams, and small notes. */
export interface NodeStorage extends DurableLog, NoteReader {
  beginSnapshot(meta: SnapshotMeta): SnapshotSink;
  /** A committed snapshot of this node's own state becomes the one to start from. */
  adoptSnapshot(meta: SnapshotMeta): void;
  /** Undefined when it is not kept any more. Chunks come as they were written. */
  openSnapshot(name: Pick<SnapshotMeta, 'index' | 'term'>): SnapshotBody | undefined;
  /** Durable when it returns. */
  putNote(key: string, value: Uint8Array): void;
  /** Called each tick: does what can wait. True as `setKek`, which waits for room on a full disk. */
  idle(): boolean;
  /**
   * From now on `kek` opens what is kept; undefined: a key that lies beside it. True when what was kept
   * so far could have been opened without: it goes with the next snapshot that replaces all of it. The key
   * before opens it as well until the same `kek` is set again.
   */
  setKek(kek: Uint8Array | undefined): boolean;
  /** Entries cannot be kept now, or soon, for want of room on the disk. */
  readonly full: boolean;
}

/** Links to the other members. Messages may be lost; what arrives is whole and comes in order. */
export interface PeerTransport {
  start(self: RaftId, events: TransportEvents): void;
  /** Never blocks: a message that cannot go now is dropped, and `unreachable` says so. */
  send(message: Message): void;
  /** Beside the messages, at its own pace; `snapshotSent` tells how it ended. */
  sendSnapshot(message: SnapshotRequest, body: SnapshotBody): void;
  /** What was given to `send` since the last call leaves now. */
  flush(): void;
  /** Everyone to have a link to, this node left out or not. Links to others end a little later. */
  setPeers(peers: ReadonlyMap<RaftId, RaftMember>): void;
  /** Tells a removed member so, if it can be reached. */
  tellRemoved(id: RaftId): void;
  close(): Promise<void>;
}

export interface TransportEvents {
  message(message: Message): void;
  unreachable(id: RaftId): void;
  snapshotSent(to: RaftId, ok: boolean): void;
  /** A body begins to arrive. When it is whole and committed the transport hands on the message. */
  receiveSnapshot(message: SnapshotRequest): SnapshotSink;
  /** Another member says that this one was removed. */
  removed(): void;
  wasRemoved(id: RaftId): boolean;
}
