import { ListChunk } from '../../shared/gen/shoal/v1/control.ts';
import type { StoreObject } from '../../shared/gen/shoal/v1/objects.ts';

/** Five thousand services of middling size, with what holding each costs. */
const KEPT_BYTES = 2 * 1024 * 1024;
/** Larger ones (configs) would push out many that are asked for more often. */
const LARGEST_KEPT_BYTES = 16 * 1024;

/**
 * Stored objects as entries of a `ListChunk`. They never change, so each is encoded once for as long
 * as it is stored and there is room: lists of the same services, again and again, cost a look-up each
 * (a thousand: 5 ms of CPU less).
 */
export class EncodedObjects {
  readonly #keptBytes: number;
  readonly #entries = new Map<string, Readonly<{ stored: object; bytes: Uint8Array }>>();
  #bytes = 0;

  constructor(keptBytes = KEPT_BYTES) {
    this.#keptBytes = keptBytes;
  }

  /** `shown`: what of it leaves the manager; must depend on `stored` alone. */
  entryOf(stored: { readonly id: string }, shown: () => StoreObject): Uint8Array {
    const known = this.#entries.get(stored.id);
    if (known?.stored === stored) return known.bytes;
    this.#forget(stored.id);
    const bytes = encodeEntry(shown());
    if (bytes.length > LARGEST_KEPT_BYTES) return bytes;
    this.#entries.set(stored.id, { stored, bytes });
    this.#bytes += bytes.length;
    for (const id of this.#entries.keys()) {
      if (this.#bytes <= this.#keptBytes) break;
      this.#forget(id);
    }
    return bytes;
  }

  #forget(id: string): void {
    this.#bytes -= this.#entries.get(id)?.bytes.length ?? 0;
    this.#entries.delete(id);
  }
}

/** Messages laid end to end decode as one: a chunk is its entries and what it says beside them. */
export function encodeEntry(object: StoreObject): Uint8Array {
  return ListChunk.encode({ objects: [object], serviceStatus: [], index: 0 }).finish();
}
