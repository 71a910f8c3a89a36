import {
  ListChunk,
  type ServiceStatusCount,
  type WatchChunk,
  type WatchEvent,
} from '../../shared/gen/shoal/v1/control.ts';
import { StoreObject } from '../../shared/gen/shoal/v1/objects.ts';

/** A whole list, its objects encoded already. `serviceStatus` is empty or as long as `entries`. */
export type EncodedList = Readonly<{
  /** See encoded-objects.ts. */
  entries: readonly Uint8Array[];
  serviceStatus: readonly ServiceStatusCount[];
  index: number;
}>;

/** Of one message: far below the transport's limit, and a client sees the first objects early. */
const CHUNK_BYTES = 512 * 1024;

/**
 * Cuts a list into messages, encoded; at least one comes, so that the index is told also of an empty
 * list. An object larger than a chunk has one of its own.
 */
export function* listChunks(list: EncodedList, maxBytes = CHUNK_BYTES): Generator<Buffer> {
  const { entries, serviceStatus, index } = list;
  let start = 0;
  for (const end of cuts(entries, ({ length }) => length, maxBytes)) {
    const beside = { objects: [], serviceStatus: serviceStatus.slice(start, end), index };
    yield Buffer.concat([...entries.slice(start, end), ListChunk.encode(beside).finish()]);
    start = end;
  }
}

/** Who resumes after the index of any of them gets all that is in the others, maybe twice, never not. */
export function* watchChunks(
  index: number,
  events: readonly WatchEvent[],
  atMs: number,
  maxBytes = CHUNK_BYTES,
): Generator<WatchChunk> {
  const size = ({ object, previous }: WatchEvent) =>
    (object ? sizeOf(object) : 0) + (previous ? sizeOf(previous) : 0);
  let start = 0;
  for (const end of cuts(events, size, maxBytes)) {
    const isLast = end === events.length;
    yield { index: isLast ? index : index - 1, atMs, events: events.slice(start, end) };
    start = end;
  }
}

/** Where chunks end; one end, maybe 0, for an empty list. */
function* cuts<T>(
  items: readonly T[],
  size: (item: T) => number,
  maxBytes: number,
): Generator<number> {
  let bytes = 0;
  for (const [i, item] of items.entries()) {
    const itemBytes = size(item);
    if (bytes > 0 && bytes + itemBytes > maxBytes) {
      yield i;
      bytes = 0;
    }
    bytes += itemBytes;
  }
  yield items.length;
}

/** Objects never change, so each is measured once however often it is listed. */
const sizes = new WeakMap<object, number>();

function sizeOf(object: StoreObject): number {
  const value = object.kind?.value;
  if (value === undefined) return 0;
  let size = sizes.get(value);
  if (size === undefined) {
    size = StoreObject.encode(object).finish().length;
    sizes.set(value, size);
  }
  return size;
}
