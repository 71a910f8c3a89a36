import {
  type ErrorCode,
  isShoalError,
  messageOf,
  NotLeaderError,
  ShoalError,
} from '../../shared/errors.ts';
import type { RaftMember } from '../../shared/gen/shoal/v1/peer.ts';
import type { CompactionPolicy } from './compaction.ts';
import type { RaftId, Role } from './types.ts';

/**
 * What the thread with the state machine (the client) and the one with consensus (the node) say to
 * each other. Each side collects what one turn of its event loop brings and posts it as one batch;
 * batches arrive in order. Values are plain so that they can be cloned, and bytes are in memory of
 * their own so that it can be handed over.
 */
export type ToNode =
  /** Proposals `firstId`, `firstId + 1`, ..., their data laid end to end in `bytes`. */
  | Readonly<{ kind: 'propose'; firstId: number; lengths: readonly number[]; bytes: Uint8Array }>
  | Readonly<{ kind: 'read'; context: number }>
  | Readonly<{ kind: 'applied'; index: number }>
  | Readonly<{ kind: 'add-member'; id: number; member: RaftMember }>
  | Readonly<{ kind: 'remove-member'; id: number; raftId: string }>
  | Readonly<{ kind: 'transfer'; id: number; to: string | undefined }>
  /** The answer to `take-snapshot`: state as of `index`, then chunks, then the end. */
  | Readonly<{ kind: 'snapshot-begin'; index: number }>
  | Readonly<{ kind: 'snapshot-chunk'; chunk: Uint8Array }>
  | Readonly<{ kind: 'snapshot-end'; ok: boolean }>
  | Readonly<{ kind: 'compaction'; policy: CompactionPolicy }>
  /** What opens the log from now on; undefined: a key beside it. */
  | Readonly<{ kind: 'set-kek'; kek: Uint8Array | undefined }>
  | Readonly<{ kind: 'close' }>;

export type PlainError = Readonly<{
  /** `not-leader` becomes NotLeaderError with `leader`, a node id. */
  code: ErrorCode | 'not-leader';
  message: string;
  leader: string | undefined;
}>;

export function toPlain(error: unknown): PlainError {
  return {
    code: isShoalError(error) ? error.code : 'internal',
    message: messageOf(error),
    leader: undefined,
  };
}

export function fromPlain({ code, message, leader }: PlainError): ShoalError {
  return code === 'not-leader' ? new NotLeaderError(leader) : new ShoalError(code, message);
}

export type FromNode =
  | Readonly<{ kind: 'started'; raftId: string }>
  /** The state machine starts over from these chunks; what was handed out before is void. */
  | Readonly<{ kind: 'restore'; index: number; chunks: readonly Uint8Array[] }>
  /** Committed entries from index `first` on; a length of 0 is nothing to apply. */
  | Readonly<{
      kind: 'entries';
      first: number;
      lengths: readonly number[];
      bytes: Uint8Array;
      /** Proposals of this node among them: id, index, id, index, ... */
      done: readonly number[];
    }>
  /** Proposals `firstId` up to `firstId + count - 1`, or an order, ended without an entry. */
  | Readonly<{ kind: 'failed'; firstId: number; count: number; error: PlainError }>
  /** A change of members or a transfer is done. */
  | Readonly<{ kind: 'done'; id: number }>
  | Readonly<{ kind: 'read-ready'; context: number; index: number }>
  | Readonly<{ kind: 'read-dropped'; context: number }>
  | Readonly<{ kind: 'status'; status: NodeStatus }>
  | Readonly<{ kind: 'take-snapshot' }>
  | Readonly<{ kind: 'closed' }>
  /** The node cannot go on: the program must end. */
  | Readonly<{ kind: 'fatal'; error: PlainError }>;

type NodeMember = Readonly<{
  member: RaftMember;
  learner: boolean;
  active: boolean;
  matchIndex: number;
}>;

export type NodeStatus = Readonly<{
  raftId: RaftId;
  role: Role;
  term: number;
  leader: RaftId | undefined;
  /** On the leader: the first entry of its term; it leads for the client once that is applied. */
  leaderFromIndex: number | undefined;
  commitIndex: number;
  /** Since the leader was heard last; 0 on the leader. Undefined: never. */
  leaderSilentMs: number | undefined;
  members: readonly NodeMember[];
  removed: boolean;
  /** Its disk is full: it takes no part, so that it knows of no leader. */
  withoutRoom?: true;
}>;

/** One way of the link between the two; the other way is a callback. */
export interface Link<Out> {
  post(batch: readonly Out[]): void;
}

/** Lays parts end to end, in memory of their own. */
export function pack(parts: readonly Uint8Array[]): { lengths: number[]; bytes: Uint8Array } {
  const lengths = parts.map((part) => part.length);
  const bytes = new Uint8Array(lengths.reduce((sum, length) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return { lengths, bytes };
}

export function unpack(lengths: readonly number[], bytes: Uint8Array): Uint8Array[] {
  let at = 0;
  return lengths.map((length) => {
    at += length;
    return bytes.subarray(at - length, at);
  });
}

/** Smaller ones are copied: handing one over costs 6 µs more than copying 400 bytes, as much as 16 KiB. */
const HAND_OVER_BYTES = 16 << 10;

/** The buffers of a batch that are handed over instead of copied. */
export function buffersOf(batch: readonly (ToNode | FromNode)[]): ArrayBuffer[] {
  const buffers: ArrayBuffer[] = [];
  const add = (bytes: Uint8Array) => {
    const { buffer } = bytes;
    if (buffer instanceof ArrayBuffer && buffer.byteLength >= HAND_OVER_BYTES) buffers.push(buffer);
  };
  for (const message of batch) {
    if (message.kind === 'propose' || message.kind === 'entries') add(message.bytes);
    else if (message.kind === 'snapshot-chunk') add(message.chunk);
    else if (message.kind === 'restore') message.chunks.forEach(add);
  }
  return buffers;
}
