import { ShoalError } from '../../shared/errors.ts';
import { ListChunk, type ServiceStatusCount } from '../../shared/gen/shoal/v1/control.ts';

/** A chunk of a list whose objects are not decoded: most of them were seen before. */
export type OpenedChunk = Readonly<{
  /** Encoded `StoreObject`s; views into the chunk. */
  entries: readonly Buffer[];
  serviceStatus: readonly ServiceStatusCount[];
  index: number;
}>;

/** Tags of the wire format: field number, and 2 for bytes of a length, 0 for a number. */
const OBJECTS = (1 << 3) | 2;
const ID = (1 << 3) | 2;
const META = (2 << 3) | 2;
const VERSION = 1 << 3;

/** Throws ShoalError `internal` for bytes that are no ListChunk as managers write them. */
export function openChunk(bytes: Buffer): OpenedChunk {
  const entries: Buffer[] = [];
  const at = new Cursor(bytes);
  while (at.peek() === OBJECTS) {
    at.skip(1);
    entries.push(at.take(at.number()));
  }
  // Fields are written in order: no objects come after what stands beside them.
  const { objects, serviceStatus, index } = ListChunk.decode(at.rest());
  if (objects.length > 0) throw broken();
  return { entries, serviceStatus, index };
}

export type Head = Readonly<{ id: string; version: number }>;

/**
 * Id and version of an encoded StoreObject: every kind but the cluster begins with `id` and `meta`,
 * and `meta` with the version. Costs a hundredth of decoding a service.
 */
export function headOf(entry: Buffer): Head {
  const outer = new Cursor(entry);
  outer.skip(1); // which kind it is
  const object = new Cursor(outer.take(outer.number()));
  if (object.number() !== ID) throw broken();
  const id = object.take(object.number()).toString('latin1');
  if (object.peek() !== META) return { id, version: 0 };
  object.skip(1);
  const meta = new Cursor(object.take(object.number()));
  if (meta.peek() !== VERSION) return { id, version: 0 };
  meta.skip(1);
  return { id, version: meta.number() };
}

class Cursor {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  peek(): number | undefined {
    return this.#bytes[this.#at];
  }

  skip(bytes: number): void {
    this.#at += bytes;
  }

  take(bytes: number): Buffer {
    if (this.#at + bytes > this.#bytes.length) throw broken();
    this.#at += bytes;
    return this.#bytes.subarray(this.#at - bytes, this.#at);
  }

  rest(): Buffer {
    return this.#bytes.subarray(this.#at);
  }

  /** A varint of up to 53 bits. */
  number(): number {
    let value = 0;
    for (let scale = 1; scale < 2 ** 53; scale *= 128) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw broken();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
    throw broken();
  }
}

function broken(): ShoalError {
  return new ShoalError('internal', 'the manager answered with a list that cannot be read');
}
