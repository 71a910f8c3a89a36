import type { DurableBatch, LoadedState, SnapshotBody } from '../../manager/raft/durable-log.ts';
import { DiskFullError, type NodeStorage, type SnapshotSink } from '../../manager/raft/ports.ts';
import type { SnapshotMeta } from '../../manager/raft/types.ts';
import { SimDisk } from './disk.ts';
import type { SeededRandom } from './random.ts';

/** `whole`: synced and under its name. */
type SnapshotFile = { meta: SnapshotMeta; chunks: Uint8Array[]; whole: boolean };

/** What the running process says to each thing the disk is asked for: it may be the last. */
export type DiskOwner = Readonly<{
  before: () => void;
  after: () => void;
  /** Runs `fn` a little later, if the process still lives then. */
  later: (fn: () => void) => void;
}>;

/** The disk of a whole manager: the log of `SimDisk`, snapshots as files, and notes. */
export class NodeDisk implements NodeStorage {
  readonly log = new SimDisk();
  readonly #files = new Map<string, SnapshotFile>();
  readonly #notes = new Map<string, Uint8Array>();
  /** The file that a start begins with; its bytes count, not what was meant to be in it. */
  #adopted: SnapshotFile | undefined;
  #owner: DiskOwner | undefined;

  get full(): boolean {
    return this.log.full;
  }

  /** Undefined while nobody runs. */
  ownedBy(owner: DiskOwner | undefined): void {
    this.#owner = owner;
  }

  crash(random: SeededRandom): void {
    this.log.crash(random);
    for (const [name, file] of this.#files) {
      if (file.whole) continue;
      file.chunks.length = 0; // never synced
      this.#files.delete(name);
    }
  }

  load(): LoadedState {
    const loaded = this.log.load();
    const adopted = this.#adopted;
    if (adopted === undefined || adopted.meta.index <= (loaded.snapshot?.index ?? 0)) return loaded;
    return { ...loaded, snapshot: adopted.meta };
  }

  append(batch: DurableBatch, options?: Readonly<{ lazy: boolean }>): void {
    this.#owner?.before();
    const grows = batch.entries.length > 0 || batch.snapshot !== undefined;
    if (grows && this.full) throw new DiskFullError('/sim');
    this.log.append(batch, options);
    this.#owner?.after();
  }

  beginSnapshot(meta: SnapshotMeta): SnapshotSink {
    if (this.full) throw new DiskFullError('/sim');
    const file: SnapshotFile = { meta, chunks: [], whole: false };
    const name = nameOf(meta);
    this.#files.set(name, file);
    return {
      write: (chunk) => {
        if (this.full) throw new DiskFullError('/sim');
        file.chunks.push(chunk.slice());
      },
      // Settled by the clock, not by the event loop: runs must not depend on that.
      commit: () => {
        const settled = {
          // biome-ignore lint/suspicious/noThenProperty: a promise in all but its timing
          then: (done: () => void) =>
            this.#owner?.later(() => {
              file.whole = true;
              this.#owner?.after();
              done();
            }),
        };
        return settled as unknown as Promise<void>;
      },
      abort: () => {
        if (!file.whole && this.#files.get(name) === file) this.#files.delete(name);
      },
    };
  }

  adoptSnapshot(meta: SnapshotMeta): void {
    const file = this.#files.get(nameOf(meta));
    if (file === undefined) throw new Error(`snapshot ${meta.index} is adopted and not there`);
    this.log.sync();
    this.#adopted = file;
    this.#owner?.after();
  }

  openSnapshot(name: Pick<SnapshotMeta, 'index' | 'term'>): SnapshotBody | undefined {
    const stored = this.log.readSnapshot();
    if (stored?.meta.index === name.index && stored.meta.term === name.term) return stored.body;
    return this.#files.get(nameOf(name))?.chunks;
  }

  saveSnapshot(meta: SnapshotMeta, body: SnapshotBody): void {
    this.#adopted = { meta, chunks: [...body], whole: true };
  }

  readSnapshot(): Readonly<{ meta: SnapshotMeta; body: SnapshotBody }> | undefined {
    return this.log.readSnapshot();
  }

  compact(toIndex: number): void {
    this.#owner?.before();
    this.log.compact(toIndex);
    this.#owner?.after();
  }

  putNote(key: string, value: Uint8Array): void {
    this.#notes.set(key, value.slice());
  }

  note(key: string): Uint8Array | undefined {
    return this.#notes.get(key);
  }

  idle(): boolean {
    for (const [name, file] of this.#files) {
      if (this.#files.size <= 4) break;
      if (file !== this.#adopted && file.whole) this.#files.delete(name);
    }
    return false;
  }

  setKek(): boolean {
    return false;
  }

  close(): void {
    this.log.close();
  }
}

function nameOf({ index, term }: Pick<SnapshotMeta, 'index' | 'term'>): string {
  return `${index}-${term}`;
}
