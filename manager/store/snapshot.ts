import { ShoalError } from '../../shared/errors.ts';
import type { StoreObject } from '../../shared/gen/shoal/v1/objects.ts';
import { StoreSnapshotChunk } from '../../shared/gen/shoal/v1/store.ts';
import { encodeWith } from './encode.ts';
import { TableSet } from './table-set.ts';
import { type AnyObject, TABLE_NAMES, toStoreObject } from './tables.ts';
import { shareWithService } from './transaction.ts';
import type { Change, TableName } from './types.ts';

/** Far below what a chunk may have: one is encoded in one go, in some 2 ms, and writes wait meanwhile. */
const CHUNK_TARGET_BYTES = 128 * 1024;

/**
 * The tables as they are at the call, in chunks; encoding happens while the caller takes them, and
 * commits in between are not seen, because objects never change and the lists are copied here.
 * Objects are sorted by table and id: replicas with equal state give equal bytes.
 */
export function snapshotChunks(tables: TableSet, index: number): Iterable<Uint8Array> {
  const copies = TABLE_NAMES.map((table) => ({ table, objects: tables.copy(table) }));
  return encodeChunks(copies, index);
}

type TableCopy = { table: TableName; objects: AnyObject[] };

function* encodeChunks(copies: readonly TableCopy[], index: number): Generator<Uint8Array> {
  const header = encodeWith(StoreSnapshotChunk, { index, objects: [] });
  let parts = [header];
  let size = header.length;
  for (const { table, objects } of copies) {
    // Messages laid end to end decode as one with all their objects: each is encoded only once.
    for (const part of encodeGroups(table, objects)) {
      if (size + part.length > CHUNK_TARGET_BYTES && parts.length > 1) {
        yield Buffer.concat(parts);
        parts = [header];
        size = header.length;
      }
      parts.push(part);
      size += part.length;
    }
  }
  // Always one chunk, so that the snapshot of an empty store is told from a lost one.
  yield Buffer.concat(parts);
}

/** Some at a time: to take each one out of the buffer by itself costs half as much as its encoding. */
function* encodeGroups(table: TableName, objects: readonly AnyObject[]): Generator<Uint8Array> {
  let group: StoreObject[] = [];
  for (const object of byId(objects)) {
    group.push(toStoreObject(table, object));
    if (group.length < GROUP_OBJECTS) continue;
    yield* encodeGroup(group);
    group = [];
  }
  if (group.length > 0) yield* encodeGroup(group);
}

/** A group of large ones would make a chunk that is too large: those go each by itself. */
function encodeGroup(group: readonly StoreObject[]): Uint8Array[] {
  const encode = (objects: StoreObject[]) => encodeWith(StoreSnapshotChunk, { index: 0, objects });
  const whole = encode([...group]);
  return whole.length <= CHUNK_TARGET_BYTES ? [whole] : group.map((object) => encode([object]));
}

const GROUP_OBJECTS = 16;

/** In the order of their ids, sorted in parts as they are taken: 24,000 in one go take 30 ms. */
function* byId(objects: readonly AnyObject[]): Generator<AnyObject> {
  const parts = new Map<number, AnyObject[]>();
  for (const object of objects) {
    const prefix = prefixOf(object.id);
    const part = parts.get(prefix);
    if (part === undefined) parts.set(prefix, [object]);
    else part.push(object);
  }
  for (const prefix of [...parts.keys()].sort((a, b) => a - b)) {
    yield* (parts.get(prefix) ?? []).sort((a, b) => (a.id < b.id ? -1 : 1));
  }
}

/** Two characters: ids are random, so that even 100,000 fall into parts of a few hundred. */
function prefixOf(id: string): number {
  const [first, second] = [id.charCodeAt(0), id.charCodeAt(1)];
  return (Number.isNaN(first) ? 0 : first) * 0x1_0000 + (Number.isNaN(second) ? 0 : second);
}

/**
 * Reads what `snapshotChunks` wrote. Objects that `before` holds in the same version are taken from
 * there: whoever follows the changes keeps those, and is told of none. `index` may be above the one
 * that the chunks name: entries that change members, or that a new leader begins with, are none of the
 * store's, and a snapshot may be taken right after one. Throws ShoalError `internal` when chunks do not
 * belong together.
 */
export function tablesFromChunks(
  index: number,
  chunks: readonly Uint8Array[],
  before: TableSet,
): TableSet {
  const tables = new TableSet();
  let writtenAt: number | undefined;
  for (const bytes of chunks) {
    const chunk = StoreSnapshotChunk.decode(bytes);
    writtenAt ??= chunk.index;
    if (chunk.index !== writtenAt || chunk.index > index) {
      throw new ShoalError(
        'internal',
        `Cannot restore the snapshot of index ${index}: a chunk of index ${chunk.index} is in it`,
      );
    }
    for (const { kind } of chunk.objects) {
      if (kind === undefined) {
        throw new ShoalError(
          'internal',
          'Cannot restore a snapshot with an unknown kind of object',
        );
      }
      const { $case: table, value } = kind;
      const known = before.get(table, value.id);
      if (known !== undefined && known.meta?.version === value.meta?.version) {
        tables.put(table, known);
        continue;
      }
      // Services come before tasks in TABLE_NAMES, so their specs are here to be shared.
      const object =
        table === 'task' ? shareWithService(value, tables.get('service', value.serviceId)) : value;
      tables.put(table, object);
    }
  }
  return tables;
}

/** What turns `from` into `to`: removes first, so that names are free before they are taken again. */
export function difference(from: TableSet, to: TableSet): Change[] {
  const removed: Change[] = [];
  const others: Change[] = [];
  for (const table of TABLE_NAMES) {
    for (const previous of from.all(table)) {
      if (to.get(table, previous.id) === undefined) {
        removed.push({ action: 'remove', table, object: previous, previous } as Change);
      }
    }
    for (const object of to.all(table)) {
      const previous = from.get(table, object.id);
      if (previous === object) continue;
      const action = previous === undefined ? 'create' : 'update';
      others.push({ action, table, object, previous } as Change);
    }
  }
  return [...removed, ...others];
}
