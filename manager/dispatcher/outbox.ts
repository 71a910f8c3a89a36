import { encodeAssignments, encodeRemoval, sizeInMessage } from './wire.ts';

/** Where an outbox takes its items from; an AssignmentIndex, seen by one node. */
export interface ItemSource {
  keys(): Iterable<string>;
  /** Undefined: there is no item of this key for the node now. */
  encodedChange(key: string): Uint8Array | undefined;
  /** Store index the items are at now. */
  revision(): number;
}

/** More pending keys than this are not worth remembering: the whole set is sent anew. */
const DIRTY_MAX_KEYS = 20_000;

export type OutboxLimits = Readonly<{ chunkMaxBytes: number; dirtyMaxKeys?: number }>;

type Listing = { readonly keys: readonly string[]; next: number; readonly revision: number };

/**
 * What one session still has to be told. It holds keys, never messages: however long the other side
 * does not read, what waits is one set of keys, and what is sent is each item as it is then.
 */
export class Outbox {
  readonly #source: ItemSource;
  readonly #chunkMaxBytes: number;
  readonly #dirtyMaxKeys: number;
  readonly #dirty = new Set<string>();
  /** Keys of the complete set that are not sent yet; undefined when it is through. */
  #listing: Listing | undefined;
  #listAgain = false;
  #sequence = 0;
  /** Everything up to this store index has been sent. */
  #sentRevision = 0;

  constructor(source: ItemSource, limits: OutboxLimits) {
    this.#source = source;
    this.#chunkMaxBytes = limits.chunkMaxBytes;
    this.#dirtyMaxKeys = limits.dirtyMaxKeys ?? DIRTY_MAX_KEYS;
    this.#list();
  }

  /** True while there is something to send. */
  get pending(): boolean {
    return this.#listing !== undefined || this.#dirty.size > 0;
  }

  /** True until the whole set went out once: that is never put off. */
  get isListing(): boolean {
    return this.#listing !== undefined;
  }

  /** Store index that the last message brings its reader to. */
  get sentRevision(): number {
    return this.#sentRevision;
  }

  touch(key: string): void {
    this.#dirty.add(key);
    if (this.#dirty.size <= this.#dirtyMaxKeys) return;
    // Never in the middle of a listing: its reader would join what is left of it to the next one.
    if (this.#listing === undefined) this.#list();
    else this.#listAgain = true;
    this.#dirty.clear();
  }

  /** The next message, encoded; undefined when nothing is pending. */
  next(): Uint8Array | undefined {
    if (this.#listing !== undefined) return this.#nextChunk(this.#listing);
    if (this.#dirty.size === 0) return undefined;
    const changes = this.#take(
      this.#dirty,
      (key) => this.#source.encodedChange(key) ?? encodeRemoval(key),
      (key) => this.#dirty.delete(key),
    );
    // Only with the last of them is the reader where the store is now.
    if (this.#dirty.size === 0) this.#sentRevision = this.#source.revision();
    return this.#encode(false, false, changes);
  }

  #list(): void {
    // Changes from here on are told after the listing, so it counts as of now.
    this.#dirty.clear();
    this.#listAgain = false;
    this.#listing = { keys: [...this.#source.keys()], next: 0, revision: this.#source.revision() };
  }

  #nextChunk(listing: Listing): Uint8Array {
    const changes = this.#take(
      rest(listing),
      (key) => this.#source.encodedChange(key),
      () => {
        listing.next += 1;
      },
    );
    const more = listing.next < listing.keys.length;
    if (!more) {
      this.#listing = undefined;
      this.#sentRevision = listing.revision;
      if (this.#listAgain) this.#list();
    }
    return this.#encode(true, more, changes);
  }

  /** As many as fit into a message, at least one; `taken` is told of each before the next is asked for. */
  #take(
    keys: Iterable<string>,
    encode: (key: string) => Uint8Array | undefined,
    taken: (key: string) => void,
  ): Uint8Array[] {
    const changes: Uint8Array[] = [];
    let size = 0;
    for (const key of keys) {
      const change = encode(key);
      if (change !== undefined) {
        size += sizeInMessage(change);
        if (changes.length > 0 && size > this.#chunkMaxBytes) break;
        changes.push(change);
      }
      taken(key);
    }
    return changes;
  }

  #encode(complete: boolean, more: boolean, changes: readonly Uint8Array[]): Uint8Array {
    const appliesTo = this.#sequence;
    this.#sequence += 1;
    const resultsIn = this.#sequence;
    const revision = this.#sentRevision;
    return encodeAssignments({ complete, more, appliesTo, resultsIn, revision }, changes);
  }
}

function* rest({ keys, next }: Listing): Generator<string> {
  for (let i = next; i < keys.length; i++) yield keys[i] ?? '';
}
