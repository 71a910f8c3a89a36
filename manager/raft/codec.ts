/**
 * Bytes of what Raft sends and stores: by hand and not by protobuf, as an append with its entries is
 * the one message that is encoded tens of thousands of times a second. Numbers are varints; an
 * entry's index is implied by its place. The first byte is the format's version.
 *
 * What is decoded points into the bytes given: hand in memory that is not reused, and that is not
 * much larger than the message (entries keep all of it alive).
 */
import { isId } from '../../shared/ids.ts';
import { unreachable } from '../../shared/unreachable.ts';
import { EMPTY_CONF } from './conf-change.ts';
import { entryBytes } from './log.ts';
import type {
  ConfChange,
  ConfState,
  ConfTransition,
  Entry,
  EntryType,
  HardState,
  Message,
  MessageType,
  RaftId,
  SnapshotMeta,
} from './types.ts';
import { malformed, Reader, Writer } from './wire.ts';

const VERSION = 1;
/** Wire numbers are places in these lists: add at the end only. */
const MESSAGE_TYPES: readonly MessageType[] = [
  'pre-vote',
  'vote',
  'pre-vote-reply',
  'vote-reply',
  'append',
  'append-reply',
  'heartbeat',
  'heartbeat-reply',
  'snapshot',
  'timeout-now',
  'read-index',
  'read-index-reply',
];
const ENTRY_TYPES: readonly EntryType[] = ['normal', 'conf-change'];
const CHANGE_KINDS: readonly ConfChange['kind'][] = ['add-voter', 'add-learner', 'remove'];
const TRANSITION_KINDS: readonly ConfTransition['kind'][] = [
  ...CHANGE_KINDS,
  'enter-joint',
  'leave-joint',
];
/** Type, term and length of an empty entry. */
const LEAST_ENTRY_BYTES = 3;
/** The length byte of an id. */
const LEAST_ID_BYTES = 1;
/** Kind, and the lengths of id and context. */
const LEAST_CHANGE_BYTES = 3;
const LARGEST_HEADER_BYTES = 128;

const typeNumbers = new Map(MESSAGE_TYPES.map((type, i) => [type, i]));

function start(reader: Reader): Reader {
  const version = reader.byte();
  if (version !== VERSION) throw malformed(`format ${version}, this program knows ${VERSION}`);
  return reader;
}

function pick<T>(list: readonly T[], place: number): T {
  const found = list[place];
  if (found === undefined) throw malformed(`unknown kind ${place}`);
  return found;
}

function readId(reader: Reader): RaftId {
  const id = reader.ascii();
  if (!isId(id)) throw malformed('not a raft id');
  return id as RaftId;
}

// --------------------------------------------------------------------------------------- messages

export function encodeMessage(message: Message): Uint8Array {
  let sizeHint = 0;
  if (message.type === 'append') {
    sizeHint = LARGEST_HEADER_BYTES;
    for (const entry of message.entries) sizeHint += entryBytes(entry);
  }
  const writer = new Writer(sizeHint);
  writer.byte(VERSION);
  writer.byte(typeNumbers.get(message.type) ?? 0);
  writer.ascii(message.from);
  writer.ascii(message.to);
  writer.varint(message.term);
  switch (message.type) {
    case 'pre-vote':
    case 'vote':
      writer.varint(message.lastIndex);
      writer.varint(message.lastTerm);
      writer.byte(message.transfer ? 1 : 0);
      break;
    case 'pre-vote-reply':
    case 'vote-reply':
      writer.byte(message.granted ? 1 : 0);
      writer.varint(message.commit);
      writer.varint(message.commitTerm);
      break;
    case 'append':
      writer.varint(message.prevIndex);
      writer.varint(message.prevTerm);
      writer.varint(message.commit);
      writeEntries(writer, message.entries);
      break;
    case 'append-reply':
      writer.varint(message.index);
      writer.byte(message.rejected ? 1 : 0);
      writer.varint(message.hintIndex);
      writer.varint(message.hintTerm);
      break;
    case 'heartbeat':
      writer.varint(message.commit);
      writer.varint(message.readSeq);
      break;
    case 'heartbeat-reply':
      writer.varint(message.readSeq);
      break;
    case 'snapshot':
      writeSnapshotMeta(writer, message.snapshot);
      break;
    case 'timeout-now':
      break;
    case 'read-index':
      writer.varint(message.requestId);
      break;
    case 'read-index-reply':
      writer.varint(message.requestId);
      writer.varint(message.index);
      break;
    default:
      return unreachable(message);
  }
  return writer.finish();
}

/** Throws ShoalError `invalid-argument` for anything that `encodeMessage` does not write. */
export function decodeMessage(bytes: Uint8Array): Message {
  const reader = start(new Reader(bytes));
  const type = pick(MESSAGE_TYPES, reader.byte());
  const envelope = { from: readId(reader), to: readId(reader), term: reader.varint() };
  const message = readBody(reader, type, envelope);
  reader.end();
  return message;
}

function readBody(
  reader: Reader,
  type: MessageType,
  envelope: Pick<Message, 'from' | 'to' | 'term'>,
): Message {
  switch (type) {
    case 'pre-vote':
    case 'vote': {
      const lastIndex = reader.varint();
      const lastTerm = reader.varint();
      return { type, ...envelope, lastIndex, lastTerm, transfer: reader.boolean() };
    }
    case 'pre-vote-reply':
    case 'vote-reply': {
      const granted = reader.boolean();
      const commit = reader.varint();
      return { type, ...envelope, granted, commit, commitTerm: reader.varint() };
    }
    case 'append': {
      const prevIndex = reader.varint();
      const prevTerm = reader.varint();
      const commit = reader.varint();
      const entries = readEntries(reader, prevIndex + 1);
      return { type, ...envelope, prevIndex, prevTerm, commit, entries };
    }
    case 'append-reply': {
      const index = reader.varint();
      const rejected = reader.boolean();
      const hintIndex = reader.varint();
      return { type, ...envelope, index, rejected, hintIndex, hintTerm: reader.varint() };
    }
    case 'heartbeat': {
      const commit = reader.varint();
      return { type, ...envelope, commit, readSeq: reader.varint() };
    }
    case 'heartbeat-reply':
      return { type, ...envelope, readSeq: reader.varint() };
    case 'snapshot':
      return { type, ...envelope, snapshot: readSnapshotMeta(reader) };
    case 'timeout-now':
      return { type, ...envelope };
    case 'read-index':
      return { type, ...envelope, requestId: reader.varint() };
    case 'read-index-reply': {
      const requestId = reader.varint();
      return { type, ...envelope, requestId, index: reader.varint() };
    }
    default:
      return unreachable(type);
  }
}

function writeEntries(writer: Writer, entries: readonly Entry[]): void {
  writer.varint(entries.length);
  for (const entry of entries) writeEntry(writer, entry);
}

function readEntries(reader: Reader, firstIndex: number): Entry[] {
  const count = reader.count(LEAST_ENTRY_BYTES);
  const entries: Entry[] = [];
  for (let i = 0; i < count; i++) entries.push(readEntry(reader, firstIndex + i));
  return entries;
}

function writeEntry(writer: Writer, entry: Entry): void {
  writer.byte(entry.type === 'normal' ? 0 : ENTRY_TYPES.indexOf(entry.type));
  writer.varint(entry.term);
  writer.blob(entry.data);
}

function readEntry(reader: Reader, index: number): Entry {
  const type = pick(ENTRY_TYPES, reader.byte());
  const term = reader.varint();
  return { term, index, type, data: reader.blob() };
}

// ----------------------------------------------------------------------------------- stored values

/** One entry as a record of a log on disk; its index is the record's key. */
export function encodeEntry(entry: Entry): Uint8Array {
  const writer = new Writer(entryBytes(entry));
  writer.byte(VERSION);
  writeEntry(writer, entry);
  return writer.finish();
}

export function decodeEntry(bytes: Uint8Array, index: number): Entry {
  const reader = start(new Reader(bytes));
  const entry = readEntry(reader, index);
  reader.end();
  return entry;
}

export function encodeHardState(state: HardState): Uint8Array {
  const writer = new Writer();
  writer.byte(VERSION);
  writer.varint(state.term);
  writer.varint(state.commit);
  writer.ascii(state.vote ?? '');
  return writer.finish();
}

export function decodeHardState(bytes: Uint8Array): HardState {
  const reader = start(new Reader(bytes));
  const term = reader.varint();
  const commit = reader.varint();
  const vote = reader.ascii();
  if (vote !== '' && !isId(vote)) throw malformed('not a raft id');
  reader.end();
  return { term, commit, vote: vote === '' ? undefined : (vote as RaftId) };
}

export function encodeSnapshotMeta(meta: SnapshotMeta): Uint8Array {
  const writer = new Writer();
  writer.byte(VERSION);
  writeSnapshotMeta(writer, meta);
  return writer.finish();
}

export function decodeSnapshotMeta(bytes: Uint8Array): SnapshotMeta {
  const reader = start(new Reader(bytes));
  const meta = readSnapshotMeta(reader);
  reader.end();
  return meta;
}

/** The data of a `conf-change` entry. */
export function encodeConfChange(change: ConfTransition): Uint8Array {
  const writer = new Writer();
  writer.byte(VERSION);
  writer.byte(TRANSITION_KINDS.indexOf(change.kind));
  switch (change.kind) {
    case 'enter-joint':
      writer.byte(change.autoLeave ? 1 : 0);
      writer.varint(change.changes.length);
      for (const each of change.changes) {
        writer.byte(CHANGE_KINDS.indexOf(each.kind));
        writeChange(writer, each);
      }
      break;
    case 'leave-joint':
      break;
    default:
      writeChange(writer, change);
  }
  return writer.finish();
}

export function decodeConfChange(bytes: Uint8Array): ConfTransition {
  const reader = start(new Reader(bytes));
  const change = readTransition(reader);
  reader.end();
  return change;
}

function readTransition(reader: Reader): ConfTransition {
  const kind = pick(TRANSITION_KINDS, reader.byte());
  switch (kind) {
    case 'enter-joint': {
      const autoLeave = reader.boolean();
      const count = reader.count(LEAST_CHANGE_BYTES);
      const changes: ConfChange[] = [];
      for (let i = 0; i < count; i++) {
        changes.push(readChange(reader, pick(CHANGE_KINDS, reader.byte())));
      }
      return { kind, changes, autoLeave };
    }
    case 'leave-joint':
      return { kind };
    default:
      return readChange(reader, kind);
  }
}

function writeChange(writer: Writer, { id, context }: ConfChange): void {
  writer.ascii(id);
  writer.blob(context);
}

function readChange(reader: Reader, kind: ConfChange['kind']): ConfChange {
  const id = readId(reader);
  return { kind, id, context: reader.blob() };
}

function writeSnapshotMeta(writer: Writer, meta: SnapshotMeta): void {
  writer.varint(meta.index);
  writer.varint(meta.term);
  const { voters, learners, votersOutgoing, learnersNext, autoLeave } = meta.confState;
  writeIds(writer, voters);
  writeIds(writer, learners);
  writeIds(writer, votersOutgoing);
  // Only a joint configuration has the rest.
  if (votersOutgoing.length === 0) return;
  writeIds(writer, learnersNext);
  writer.byte(autoLeave ? 1 : 0);
}

function readSnapshotMeta(reader: Reader): SnapshotMeta {
  const index = reader.varint();
  const term = reader.varint();
  return { index, term, confState: readConfState(reader) };
}

function readConfState(reader: Reader): ConfState {
  const voters = readIds(reader);
  const learners = readIds(reader);
  const votersOutgoing = readIds(reader);
  if (votersOutgoing.length === 0) return { ...EMPTY_CONF, voters, learners };
  const learnersNext = readIds(reader);
  return { voters, learners, votersOutgoing, learnersNext, autoLeave: reader.boolean() };
}

function writeIds(writer: Writer, ids: readonly RaftId[]): void {
  writer.varint(ids.length);
  for (const id of ids) writer.ascii(id);
}

function readIds(reader: Reader): RaftId[] {
  return Array.from({ length: reader.count(LEAST_ID_BYTES) }, () => readId(reader));
}
