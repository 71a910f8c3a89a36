import type { RaftMember } from '../../shared/gen/shoal/v1/peer.ts';
import { changesOf, EMPTY_CONF, isMember, members } from './conf-change.ts';
import { decodeConfChange } from './conf-codec.ts';
import { type ConfState, type Entry, parseRaftId, type RaftId } from './types.ts';
import { Reader, Writer } from './wire.ts';

const FORMAT = 1;
/** Ids of removed members are kept so that a member that was away can be told; the oldest go first. */
const REMOVED_KEPT = 256;

/** What every snapshot carries before the state machine's chunks: who and where the members are. */
export type Directory = Readonly<{
  members: readonly RaftMember[];
  removed: readonly RaftId[];
}>;

/**
 * Addresses of the members, which Raft itself does not know: they travel in the context of changes of
 * members and in snapshots. Kept for each change since the last snapshot, because a snapshot wants
 * the members as of its index, and that is decided by the state machine, which runs behind.
 */
export class MemberBook {
  #members = new Map<RaftId, RaftMember>();
  #removed: RaftId[] = [];
  /** Oldest first; the first is as of the last snapshot or restart. */
  #history: { index: number; confState: ConfState; directory: Directory }[] = [];

  /** Starts over from a snapshot, or from what was noted at the start (`index` 0). */
  reset(index: number, confState: ConfState, directory: Directory): void {
    this.#members = new Map(directory.members.map((member) => [idOf(member), member]));
    this.#removed = [...directory.removed];
    this.#history = [{ index, confState, directory: this.directory() }];
  }

  /**
   * A change of members took effect, `confState` is what came of it. Returns those it removed: with a
   * joint configuration they go when it is left.
   */
  apply(entry: Entry, confState: ConfState): readonly RaftId[] {
    const gone: RaftId[] = [];
    for (const { kind, id, context } of changesOf(decodeConfChange(entry.data))) {
      if (kind === 'remove') {
        if (!isMember(confState, id)) gone.push(id);
        continue;
      }
      const member = isMember(confState, id) ? decodeMember(context) : undefined;
      if (member !== undefined) this.#members.set(id, member);
    }
    const before = this.#history.at(-1)?.confState ?? EMPTY_CONF;
    for (const id of before.votersOutgoing) if (!isMember(confState, id)) gone.push(id);
    for (const id of gone) {
      this.#members.delete(id);
      if (!this.#removed.includes(id)) this.#removed = [...this.#removed, id].slice(-REMOVED_KEPT);
    }
    this.#history.push({ index: entry.index, confState, directory: this.directory() });
    return gone;
  }

  /** Members and their addresses as of `index`; forgets what was before. */
  asOf(index: number): Readonly<{ confState: ConfState; directory: Directory }> {
    let at = 0;
    while ((this.#history[at + 1]?.index ?? Number.POSITIVE_INFINITY) <= index) at++;
    this.#history.splice(0, at);
    const first = this.#history[0];
    return {
      confState: first?.confState ?? EMPTY_CONF,
      directory: first?.directory ?? this.directory(),
    };
  }

  get(id: RaftId): RaftMember | undefined {
    return this.#members.get(id);
  }

  wasRemoved(id: RaftId): boolean {
    return this.#removed.includes(id);
  }

  directory(): Directory {
    return { members: [...this.#members.values()], removed: this.#removed };
  }

  /** Those of the configuration; one whose address is not known is given with empty fields. */
  of(confState: ConfState): RaftMember[] {
    return members(confState).map((id) => this.#members.get(id) ?? unknownMember(id));
  }
}

/**
 * Whom to expect connections from and where to: the members, and those that entries not applied yet
 * are about to add. Knowing too many does no harm, as only the configuration counts votes.
 */
export function reachable(book: MemberBook, tail: Iterable<Entry>): Map<RaftId, RaftMember> {
  const all = new Map(book.directory().members.map((member) => [idOf(member), member]));
  for (const entry of tail) {
    if (entry.type !== 'conf-change') continue;
    for (const { kind, id, context } of changesOf(decodeConfChange(entry.data))) {
      const member = kind === 'remove' ? undefined : decodeMember(context);
      if (member !== undefined) all.set(id, member);
    }
  }
  return all;
}

export function idOf(member: RaftMember): RaftId {
  return parseRaftId(member.raftId);
}

function unknownMember(id: RaftId): RaftMember {
  return { raftId: id, nodeId: '', address: '', raftAddress: '' };
}

// ---------------------------------------------------------------------------------------- codec

/** Not protobuf: its generated file for this message loads the whole of gRPC into the worker. */
export function encodeMember(member: RaftMember): Uint8Array {
  const writer = new Writer();
  writer.byte(FORMAT);
  writeMember(writer, member);
  return writer.finish();
}

/** Undefined for an empty context. */
export function decodeMember(bytes: Uint8Array): RaftMember | undefined {
  if (bytes.length === 0) return undefined;
  const reader = new Reader(bytes);
  reader.byte();
  const member = readMember(reader);
  reader.end();
  return member;
}

export function encodeDirectory(directory: Directory): Uint8Array {
  const writer = new Writer();
  writer.byte(FORMAT);
  writer.varint(directory.members.length);
  for (const member of directory.members) writeMember(writer, member);
  writer.varint(directory.removed.length);
  for (const id of directory.removed) writer.ascii(id);
  return writer.finish();
}

export function decodeDirectory(bytes: Uint8Array): Directory {
  const reader = new Reader(bytes);
  reader.byte();
  const list = Array.from({ length: reader.count(4) }, () => readMember(reader));
  const removed = Array.from({ length: reader.count(1) }, () => parseRaftId(reader.ascii()));
  reader.end();
  return { members: list, removed };
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

function writeMember(writer: Writer, member: RaftMember): void {
  for (const text of [member.raftId, member.nodeId, member.address, member.raftAddress]) {
    writer.blob(encoder.encode(text));
  }
}

function readMember(reader: Reader): RaftMember {
  const text = () => decoder.decode(reader.blob());
  return { raftId: text(), nodeId: text(), address: text(), raftAddress: text() };
}
