/** Changes of members and configurations as bytes; conventions as in codec.ts. */
import { EMPTY_CONF } from './conf-change.ts';
import type { ConfChange, ConfState, ConfTransition, RaftId } from './types.ts';
import { FORMAT_VERSION, openReader, pick, type Reader, readId, Writer } from './wire.ts';

/** Numbers are places in these lists: add at the end only. */
const CHANGE_KINDS: readonly ConfChange['kind'][] = ['add-voter', 'add-learner', 'remove'];
const TRANSITION_KINDS: readonly ConfTransition['kind'][] = [
  ...CHANGE_KINDS,
  'enter-joint',
  'leave-joint',
];
/** The length byte of an id. */
const LEAST_ID_BYTES = 1;
/** Kind, and the lengths of id and context. */
const LEAST_CHANGE_BYTES = 3;

/** The data of a `conf-change` entry. */
export function encodeConfChange(change: ConfTransition): Uint8Array {
  const writer = new Writer();
  writer.byte(FORMAT_VERSION);
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
  const reader = openReader(bytes);
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

/** Only a joint configuration has the last two lists. */
export function writeConfState(writer: Writer, conf: ConfState): void {
  writeIds(writer, conf.voters);
  writeIds(writer, conf.learners);
  writeIds(writer, conf.votersOutgoing);
  if (conf.votersOutgoing.length === 0) return;
  writeIds(writer, conf.learnersNext);
  writer.byte(conf.autoLeave ? 1 : 0);
}

export function readConfState(reader: Reader): ConfState {
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
