import type { Disk, DiskFile } from '../../../../manager/raft/io/disk.ts';

/** The power goes: thrown by the operation at which it does, and by all after it. */
export class PowerLoss extends Error {}

type Content = { bytes: Uint8Array; size: number };
type Pending =
  | Readonly<{ kind: 'write'; file: Inode; at: number; bytes: Uint8Array }>
  | Readonly<{ kind: 'truncate'; file: Inode; size: number }>;
type Inode = { live: Content; durable: Content };
const SECTOR_BYTES = 512;

/**
 * One folder of a disk in memory. What was written can be read at once; only what was synced survives
 * `crash`, and of the rest whatever its caller chooses, sector by sector. Names are durable with
 * `syncFolder`. Operations are counted, so that power can be lost, or an error returned, at each.
 */
export class SimDisk implements Disk {
  readonly path = '/simulated';
  readonly #names = new Map<string, Inode>();
  #durableNames = new Map<string, Inode>();
  #pending: Pending[] = [];
  operations = 0;
  /** Operation at which power is lost; that one has still happened, unsynced. */
  powerUntil = Number.POSITIVE_INFINITY;
  /** Bytes of all files; more is ENOSPC. */
  capacity = Number.POSITIVE_INFINITY;
  /** Set: thrown by what it says yes to. */
  fails: ((operation: string, name: string) => NodeJS.ErrnoException | undefined) | undefined;

  list(): string[] {
    return [...this.#names.keys()];
  }
  create(name: string): DiskFile {
    this.#operation('create', name);
    if (this.#names.has(name)) throw errno('EEXIST');
    const inode = { live: empty(), durable: empty() };
    this.#names.set(name, inode);
    return this.#file(name, inode);
  }
  open(name: string): DiskFile | undefined {
    const inode = this.#names.get(name);
    return inode && this.#file(name, inode);
  }
  rename(from: string, to: string): void {
    const inode = this.#names.get(from);
    if (inode === undefined) throw errno('ENOENT');
    this.#names.delete(from);
    this.#names.set(to, inode);
    this.#operation('rename', to);
  }
  remove(name: string): void {
    this.#names.delete(name);
    this.#operation('remove', name);
  }
  syncFolder(): void {
    this.#operation('sync-folder', '');
    this.#durableNames = new Map(this.#names);
  }

  /**
   * The disk after a power loss. `arrives` is asked for each sector that an unsynced write touched,
   * and `nameArrives` for each name that was changed since the folder was synced.
   */
  crash(arrives: () => boolean, nameArrives: () => boolean = () => false): SimDisk {
    const after = new SimDisk();
    const copies = new Map<Inode, Inode>();
    const names = new Set([...this.#durableNames.keys(), ...this.#names.keys()]);
    const survived = new Map<string, Inode>();
    for (const name of names) {
      const durable = this.#durableNames.get(name);
      const live = this.#names.get(name);
      const inode = durable === live || !nameArrives() ? durable : live;
      if (inode !== undefined) survived.set(name, inode);
    }
    for (const inode of survived.values()) {
      const bytes = clone(inode.durable);
      copies.set(inode, { live: bytes, durable: bytes });
    }
    for (const change of this.#pending) {
      const copy = copies.get(change.file);
      if (copy === undefined) continue;
      if (change.kind === 'truncate') {
        if (arrives()) resize(copy.durable, change.size);
      } else writeSectors(copy.durable, change, arrives);
    }
    for (const [name, inode] of survived) {
      const copy = copies.get(inode);
      if (copy === undefined) continue;
      const both = { live: clone(copy.durable), durable: clone(copy.durable) };
      after.#names.set(name, both);
      after.#durableNames.set(name, both);
    }
    return after;
  }

  /** As a killed process leaves it: everything that was written. */
  kill(): SimDisk {
    return this.crash(
      () => true,
      () => true,
    );
  }

  bytesOf(name: string): Uint8Array {
    const inode = this.#names.get(name);
    if (inode === undefined) throw errno('ENOENT');
    return inode.live.bytes.subarray(0, inode.live.size);
  }
  /** A change behind the log's back: durable at once. */
  tamper(name: string, change: (bytes: Uint8Array) => Uint8Array | undefined): void {
    const bytes = this.bytesOf(name).slice();
    const changed = change(bytes) ?? bytes;
    const content = { bytes: changed, size: changed.length };
    const inode = { live: content, durable: clone(content) };
    this.#names.set(name, inode);
    this.#durableNames.set(name, inode);
  }
  lose(name: string): void {
    this.#names.delete(name);
    this.#durableNames.delete(name);
  }

  get used(): number {
    let sum = 0;
    for (const { live } of this.#names.values()) sum += live.size;
    return sum;
  }

  #operation(operation: string, name: string): void {
    if (++this.operations > this.powerUntil) throw new PowerLoss();
    const error = this.fails?.(operation, name);
    if (error !== undefined) throw error;
  }

  #file(name: string, inode: Inode): DiskFile {
    const write = (bytes: Uint8Array, at: number): void => {
      const grown = Math.max(0, at + bytes.length - inode.live.size);
      if (this.used + grown > this.capacity) throw errno('ENOSPC');
      const copy = bytes.slice();
      put(inode.live, copy, at);
      this.#pending.push({ kind: 'write', file: inode, at, bytes: copy });
      this.#operation('write', name);
    };
    const sync = (): void => {
      this.#operation('sync', name);
      for (const change of this.#pending) {
        if (change.file !== inode) continue;
        if (change.kind === 'write') put(inode.durable, change.bytes, change.at);
        else resize(inode.durable, change.size);
      }
      this.#pending = this.#pending.filter(({ file }) => file !== inode);
    };
    return {
      size: () => inode.live.size,
      read: (into, at) => {
        const error = this.fails?.('read', name);
        if (error !== undefined) throw error;
        const part = inode.live.bytes.subarray(at, Math.min(inode.live.size, at + into.length));
        into.set(part);
        return part.length;
      },
      write,
      sync,
      writeSoon: async (bytes, at) => write(bytes, at),
      syncSoon: async () => sync(),
      truncate: (size) => {
        resize(inode.live, size);
        this.#pending.push({ kind: 'truncate', file: inode, size });
        this.#operation('truncate', name);
      },
      close: () => undefined,
    };
  }
}

export function errno(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: simulated`), { code });
}

function empty(): Content {
  return { bytes: new Uint8Array(0), size: 0 };
}
function clone({ bytes, size }: Content): Content {
  return { bytes: bytes.slice(0, size), size };
}
function put(content: Content, bytes: Uint8Array, at: number): void {
  resize(content, Math.max(content.size, at + bytes.length));
  content.bytes.set(bytes, at);
}
function resize(content: Content, size: number): void {
  if (size > content.bytes.length) {
    const grown = new Uint8Array(Math.max(size, content.bytes.length * 2));
    grown.set(content.bytes.subarray(0, content.size));
    content.bytes = grown;
  } else if (size < content.size) content.bytes.fill(0, size, content.size);
  content.size = size;
}
function writeSectors(
  content: Content,
  { at, bytes }: Readonly<{ at: number; bytes: Uint8Array }>,
  arrives: () => boolean,
): void {
  for (let from = 0; from < bytes.length; ) {
    const to = Math.min(bytes.length, from + SECTOR_BYTES - ((at + from) % SECTOR_BYTES));
    if (arrives()) put(content, bytes.subarray(from, to), at + from);
    from = to;
  }
}
