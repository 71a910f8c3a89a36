/**
 * Bytes of what Raft sends and stores: by hand and not by protobuf, as an append with its entries is
 * the one message that is encoded tens of thousands of times a second. Numbers are varints; an
 * entry's index is implied by its place. The first byte is the format's version.
 *
 * What is decoded points into the bytes given: hand in memory that is not reused, and that is not
 * much larger than the message (entries keep all of it alive).
 */
import { unreachable } from '../../shared/unreachable.ts';
import { readConfState, writeConfState } from './conf-codec.ts';
import { ENTRY_OVERHEAD_BYTES, entryBytes } from './log.ts';
import type {
  DropReason,
  Entry,
  EntryType,
  HardState,
  Message,
  MessageType,
  ProposeResult,
  SnapshotMeta,
} from './types.ts';
import {
  FORMAT_VERSION,
  openReader,
  pick,
  type Reader,
  readId,
  readOptionalId,
  Writer,
} from './wire.ts';

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
  'propose',
  'propose-reply',
];
const DROP_REASONS: readonly DropReason[] = [
  'not-leader',
  'transferring',
  'uncommitted-limit',
  'conf-change-pending',
  'not-committed-in-term',
  'in-joint',
  'learner-behind',
  'invalid-conf-change',
  'not-a-member',
];
const ENTRY_TYPES: readonly EntryType[] = ['normal', 'conf-change'];
/** Type, term and length of an empty entry. */
const LEAST_ENTRY_BYTES = 3;
const LARGEST_HEADER_BYTES = 128;

const typeNumbers = new Map(MESSAGE_TYPES.map((type, i) => [type, i]));

// --------------------------------------------------------------------------------------- messages

/** `room`: bytes that are left for the caller to fill in, before the message. */
export function encodeMessage(message: Message, room = 0): Uint8Array {
  let sizeHint = room;
  if (message.type === 'append') {
    sizeHint += LARGEST_HEADER_BYTES;
    for (const entry of message.entries) sizeHint += entryBytes(entry);
  } else if (message.type === 'propose') {
    sizeHint += LARGEST_HEADER_BYTES;
    for (const payload of message.data) sizeHint += payload.length + ENTRY_OVERHEAD_BYTES;
  }
  const writer = new Writer(sizeHint);
  writer.skip(room);
  writer.byte(FORMAT_VERSION);
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
    case 'propose':
      writer.varint(message.requestId);
      writer.varint(message.data.length);
      for (const payload of message.data) writer.blob(payload);
      break;
    case 'propose-reply':
      writer.varint(message.requestId);
      writeResult(writer, message.result);
      break;
    default:
      return unreachable(message);
  }
  return writer.finish();
}

/** Throws ShoalError `invalid-argument` for anything that `encodeMessage` does not write. */
export function decodeMessage(bytes: Uint8Array): Message {
  const reader = openReader(bytes);
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
    case 'propose': {
      const requestId = reader.varint();
      const data: Uint8Array[] = [];
      for (let left = reader.count(1); left > 0; left--) data.push(reader.blob());
      return { type, ...envelope, requestId, data };
    }
    case 'propose-reply': {
      const requestId = reader.varint();
      return { type, ...envelope, requestId, result: readResult(reader, envelope.term) };
    }
    default:
      return unreachable(type);
  }
}

function writeResult(writer: Writer, result: ProposeResult): void {
  writer.byte(result.kind === 'accepted' ? 1 : 0);
  if (result.kind === 'accepted') {
    writer.varint(result.first);
    writer.varint(result.last - result.first);
  } else writer.byte(DROP_REASONS.indexOf(result.reason));
}

function readResult(reader: Reader, term: number): ProposeResult {
  if (!reader.boolean()) return { kind: 'dropped', reason: pick(DROP_REASONS, reader.byte()) };
  const first = reader.varint();
  return { kind: 'accepted', term, first, last: first + reader.varint() };
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
  writer.byte(FORMAT_VERSION);
  writeEntry(writer, entry);
  return writer.finish();
}

export function decodeEntry(bytes: Uint8Array, index: number): Entry {
  const reader = openReader(bytes);
  const entry = readEntry(reader, index);
  reader.end();
  return entry;
}

export function encodeHardState(state: HardState): Uint8Array {
  const writer = new Writer();
  writer.byte(FORMAT_VERSION);
  writer.varint(state.term);
  writer.varint(state.commit);
  writer.ascii(state.vote ?? '');
  return writer.finish();
}

export function decodeHardState(bytes: Uint8Array): HardState {
  const reader = openReader(bytes);
  const term = reader.varint();
  const commit = reader.varint();
  const vote = readOptionalId(reader);
  reader.end();
  return { term, commit, vote };
}

export function encodeSnapshotMeta(meta: SnapshotMeta): Uint8Array {
  const writer = new Writer();
  writer.byte(FORMAT_VERSION);
  writeSnapshotMeta(writer, meta);
  return writer.finish();
}

export function decodeSnapshotMeta(bytes: Uint8Array): SnapshotMeta {
  const reader = openReader(bytes);
  const meta = readSnapshotMeta(reader);
  reader.end();
  return meta;
}

function writeSnapshotMeta(writer: Writer, meta: SnapshotMeta): void {
  writer.varint(meta.index);
  writer.varint(meta.term);
  writeConfState(writer, meta.confState);
}

function readSnapshotMeta(reader: Reader): SnapshotMeta {
  const index = reader.varint();
  const term = reader.varint();
  return { index, term, confState: readConfState(reader) };
}
