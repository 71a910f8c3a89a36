/** Something to be closed that can be lost by itself. */
export interface Connection {
  /** It cannot be used any more. */
  readonly closed: boolean;
  /** Never throws. */
  close(): void;
}

type Shared<C> = {
  readonly holders: Set<object>;
  connection: C | undefined;
  opening: Promise<C> | undefined;
};

/**
 * Connections by server, shared by all who ask the same one: opened when the first of them does, closed when the last
 * one lets go. `open` must settle in bounded time: it is not given up when one of those who wait for it does.
 */
export class Connections<C extends Connection> {
  readonly #shared = new Map<string, Shared<C>>();

  /** Servers that somebody holds. */
  get size(): number {
    return this.#shared.size;
  }

  lease(): Lease<C> {
    return new Lease<C>(this.#shared);
  }
}

/** Holds at most one connection: the last one it was asked for. */
export class Lease<C extends Connection> {
  readonly #shared: Map<string, Shared<C>>;
  #held: string | undefined;
  #closed = false;

  constructor(shared: Map<string, Shared<C>>) {
    this.#shared = shared;
  }

  /** `id`: equal for equal servers with equal credentials. Rejects as `open` does. */
  async use(id: string, open: () => Promise<C>): Promise<C> {
    if (this.#closed) throw new Error('the source is closed');
    if (this.#held !== id) this.release();
    this.#held = id;
    const entry = this.#entry(id);
    entry.holders.add(this);
    if (entry.connection !== undefined && !entry.connection.closed) return entry.connection;
    entry.connection = undefined;
    entry.opening ??= this.#open(id, entry, open);
    return await entry.opening;
  }

  /** Lets go of the connection; the next use opens or shares one again. */
  release(): void {
    const id = this.#held;
    this.#held = undefined;
    const entry = id === undefined ? undefined : this.#shared.get(id);
    if (id === undefined || entry === undefined) return;
    entry.holders.delete(this);
    if (entry.holders.size > 0) return;
    this.#shared.delete(id);
    entry.connection?.close();
  }

  close(): void {
    this.#closed = true;
    this.release();
  }

  #entry(id: string): Shared<C> {
    const known = this.#shared.get(id);
    if (known !== undefined) return known;
    const made: Shared<C> = { holders: new Set(), connection: undefined, opening: undefined };
    this.#shared.set(id, made);
    return made;
  }

  async #open(id: string, entry: Shared<C>, open: () => Promise<C>): Promise<C> {
    try {
      const connection = await open();
      // All who wanted it let go in the meantime.
      if (this.#shared.get(id) !== entry) connection.close();
      else entry.connection = connection;
      return connection;
    } finally {
      entry.opening = undefined;
    }
  }
}
