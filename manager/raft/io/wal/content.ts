import type { Entry, EntryType, HardState, RaftId } from '../../types.ts';
import { malformed, Reader, Writer } from '../../wire.ts';

/** What the log says of a place in it, or of a snapshot. */
export type Place = Readonly<{ index: number; term: number }>;

/** The content of a record of type `batch`: one append, all or nothing. */
export type Batch = Readonly<{
  hardState: HardState | undefined;
  /** A snapshot takes the place of the whole log before it. */
  install: Place | undefined;
  /** A snapshot of this node's own state is the one to start from. */
  adopt: Place | undefined;
  /** Entries up to there are not needed any more. */
  compact: Place | undefined;
  /** Take the place of all from the first one's index on. */
  entries: readonly Entry[];
}>;

/** The content of a record of type `state`. */
export type StateRecord = Readonly<{
  hardState: HardState;
  compacted: Place;
  snapshot: Place | undefined;
  last: Place;
}>;

const FORMAT = 1;
const ENTRY_NUMBERS: Readonly<Record<EntryType, number>> = { normal: 0, 'conf-change': 1 };
const ENTRY_TYPES = new Map(
  Object.entries(ENTRY_NUMBERS).map(([type, number]) => [number, type as EntryType]),
);
/** Type, term and length of an empty entry. */
const LEAST_ENTRY_BYTES = 3;
/** Of one entry, and of all that is not entries. */
const LARGEST_ENTRY_HEAD_BYTES = 20;
const LARGEST_REST_BYTES = 160;

/** Batches up to this are laid out in memory that is kept, as each is sealed and written at once. */
const KEPT_BYTES = 256 << 10;
const kept = new Uint8Array(KEPT_BYTES);

/** To be used before the next one is encoded. */
export function encodeBatch(batch: Batch): Uint8Array {
  let size = LARGEST_REST_BYTES;
  for (const { data } of batch.entries) size += data.length + LARGEST_ENTRY_HEAD_BYTES;
  const writer = new Writer(size, kept);
  writer.byte(FORMAT);
  writeOptional(writer, batch.hardState, writeHardState);
  writeOptional(writer, batch.install, writePlace);
  writeOptional(writer, batch.adopt, writePlace);
  writeOptional(writer, batch.compact, writePlace);
  writer.varint(batch.entries.length);
  for (const { type, term, data } of batch.entries) {
    writer.byte(ENTRY_NUMBERS[type]);
    writer.varint(term);
    writer.blob(data);
  }
  return writer.finish();
}

/** Throws `invalid-argument`. Entries point into `bytes`. */
export function decodeBatch(bytes: Uint8Array, firstIndex: number): Batch {
  const reader = start(bytes);
  const hardState = readOptional(reader, readHardState);
  const install = readOptional(reader, readPlace);
  const adopt = readOptional(reader, readPlace);
  const compact = readOptional(reader, readPlace);
  const count = reader.count(LEAST_ENTRY_BYTES);
  const entries: Entry[] = [];
  for (let i = 0; i < count; i++) {
    const type = ENTRY_TYPES.get(reader.byte());
    if (type === undefined) throw malformed('an entry of unknown type');
    const term = reader.varint();
    entries.push({ term, index: firstIndex + i, type, data: reader.blob() });
  }
  reader.end();
  return { hardState, install, adopt, compact, entries };
}

export function encodeState(state: StateRecord): Uint8Array {
  const writer = new Writer();
  writer.byte(FORMAT);
  writeHardState(writer, state.hardState);
  writePlace(writer, state.compacted);
  writeOptional(writer, state.snapshot, writePlace);
  writePlace(writer, state.last);
  return writer.finish();
}

export function decodeState(bytes: Uint8Array): StateRecord {
  const reader = start(bytes);
  const hardState = readHardState(reader);
  const compacted = readPlace(reader);
  const snapshot = readOptional(reader, readPlace);
  const last = readPlace(reader);
  reader.end();
  return { hardState, compacted, snapshot, last };
}

function start(bytes: Uint8Array): Reader {
  const reader = new Reader(bytes);
  const format = reader.byte();
  if (format !== FORMAT) throw malformed(`format ${format}, this program knows ${FORMAT}`);
  return reader;
}

function writeOptional<T>(
  writer: Writer,
  value: T | undefined,
  write: (writer: Writer, value: T) => void,
): void {
  writer.byte(value === undefined ? 0 : 1);
  if (value !== undefined) write(writer, value);
}

function readOptional<T>(reader: Reader, read: (reader: Reader) => T): T | undefined {
  return reader.boolean() ? read(reader) : undefined;
}

function writePlace(writer: Writer, { index, term }: Place): void {
  writer.varint(index);
  writer.varint(term);
}

function readPlace(reader: Reader): Place {
  return { index: reader.varint(), term: reader.varint() };
}

function writeHardState(writer: Writer, { term, commit, vote }: HardState): void {
  writer.varint(term);
  writer.varint(commit);
  writer.ascii(vote ?? '');
}

function readHardState(reader: Reader): HardState {
  const term = reader.varint();
  const commit = reader.varint();
  const vote = reader.ascii();
  return { term, commit, vote: vote === '' ? undefined : (vote as RaftId) };
}
