import { type CompactionPolicy, compactTo, snapshotDue } from './compaction.ts';
import { entryBytes } from './log.ts';
import { encodeDirectory, type MemberBook } from './members.ts';
import type { MemoryLog } from './memory-log.ts';
import { DiskFullError, type NodeStorage, type SnapshotSink } from './ports.ts';
import type { Entry, SnapshotMeta } from './types.ts';

/** A snapshot is also due after this much, so that the log in memory stays bounded. */
const SNAPSHOT_EVERY_BYTES = 32 << 20;
const TRAILING_BYTES = 8 << 20;
/** Kept of the log for a member that is catching up; one further behind is sent a snapshot. */
const CATCHING_UP_BYTES = 32 << 20;
/** Entries before the next attempt, after one for which the disk had no room. */
const RETRY_ENTRIES = 1_000;

export type SnapshotPorts = Readonly<{
  storage: NodeStorage;
  view: MemoryLog;
  book: MemberBook;
  /** The first entry that another member is about to need; undefined for none. */
  neededFrom: () => number | undefined;
  /** Asks for the state; it comes as `begin`, `chunk`, ..., `end`. */
  ask: () => void;
  /** The disk failed. */
  fatal: (error: unknown) => void;
}>;

type Taking = {
  readonly meta: SnapshotMeta;
  readonly sink: SnapshotSink;
  /** How many orders to replace everything it carries out. */
  readonly orders: number;
  bytes: number;
};

/** Keeps snapshots of this node's own state and cuts the log behind them. */
export class NodeSnapshots {
  readonly #ports: SnapshotPorts;
  #policy: CompactionPolicy;
  #asked = false;
  #taking: Taking | undefined;
  #committing = false;
  /** Of entries since the last snapshot was asked for. */
  #logBytes = 0;
  /** Of the last snapshot that this run took: 0 before the first one. */
  #snapshotBytes = 0;
  #notBefore = 0;
  /** Orders to take the place of the whole log, and those that a snapshot on disk has carried out. */
  #orders = 0;
  #ordersDone = 0;
  constructor(ports: SnapshotPorts, policy: CompactionPolicy) {
    this.#ports = ports;
    this.#policy = policy;
  }

  set policy(policy: CompactionPolicy) {
    this.#policy = policy;
  }

  /** Entries are going to the state machine. */
  handedOut(entries: readonly Entry[]): void {
    for (const entry of entries) this.#logBytes += entryBytes(entry);
  }

  applied(index: number): void {
    if (this.#asked || this.#committing) return;
    const last = this.#ports.view.snapshot()?.index ?? 0;
    const [logBytes, snapshotBytes] = [this.#logBytes, this.#snapshotBytes];
    const due =
      this.#orders > this.#ordersDone ||
      logBytes >= SNAPSHOT_EVERY_BYTES ||
      snapshotDue(this.#policy, index, last, { logBytes, snapshotBytes });
    if (!due || index <= last || index < this.#notBefore) return;
    this.#logBytes = 0;
    this.#ask();
  }

  /** A snapshot is due now, and nothing before it is to be kept. One that fails is followed by another. */
  replaceAll(): void {
    this.#orders++;
    this.#askForAll();
  }

  /** That of `index` cannot be read: where it is the newest, whoever needs it waits for another one. */
  renew(index: number): void {
    if (this.#ports.view.snapshot()?.index === index) this.#ask();
  }

  #askForAll(): void {
    if (this.#orders > this.#ordersDone) this.#ask();
  }

  #ask(): void {
    if (this.#asked || this.#committing) return;
    this.#asked = true;
    this.#ports.ask();
  }

  begin(index: number): void {
    this.#drop();
    const { view, book, storage } = this.#ports;
    const term = view.term(index);
    // A snapshot from the leader came in between: the state offered is older than that.
    if (term === undefined || index <= (view.snapshot()?.index ?? 0)) return;
    const { confState, directory } = book.asOf(index);
    const meta = { index, term, confState };
    this.#withRoom(index, () => {
      const sink = storage.beginSnapshot(meta);
      this.#taking = { meta, sink, orders: this.#orders, bytes: 0 };
      sink.write(encodeDirectory(directory));
    });
  }

  chunk(chunk: Uint8Array): void {
    const taking = this.#taking;
    if (taking === undefined) return;
    taking.bytes += chunk.length;
    this.#withRoom(taking.meta.index, () => taking.sink.write(chunk));
  }

  end(ok: boolean): void {
    this.#asked = false;
    const taking = this.#taking;
    this.#taking = undefined;
    if (taking === undefined) return;
    if (!ok) {
      taking.sink.abort();
      return;
    }
    this.#committing = true;
    taking.sink.commit().then(
      () => this.#guard(() => this.#withRoom(taking.meta.index, () => this.#committed(taking))),
      (error: unknown) => {
        this.#committing = false;
        taking.sink.abort();
        this.#guard(() =>
          this.#withRoom(taking.meta.index, () => {
            throw error;
          }),
        );
      },
    );
  }

  close(): void {
    this.#drop();
  }

  /** A full disk ends this snapshot, and no more: the log stays longer, and later there is another. */
  #withRoom(index: number, work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof DiskFullError)) throw error;
      this.#drop();
      this.#notBefore = index + RETRY_ENTRIES;
    }
  }

  #drop(): void {
    this.#taking?.sink.abort();
    this.#taking = undefined;
  }

  #committed({ meta, orders, bytes }: Taking): void {
    this.#committing = false;
    this.#snapshotBytes = bytes;
    const { storage, view } = this.#ports;
    if (view.term(meta.index) !== meta.term || meta.index <= (view.snapshot()?.index ?? 0)) return;
    storage.adoptSnapshot(meta);
    view.setSnapshot(meta);
    const replacesAll = orders > this.#ordersDone;
    this.#ordersDone = orders;
    const to = replacesAll ? meta.index : this.#keepNeeded(this.#compactTo(meta.index));
    if (to >= view.firstIndex()) {
      storage.compact(to);
      view.compact(to);
    }
    this.#askForAll();
  }

  /** As the policy says, but keeping no more bytes than bounded for members that are behind. */
  #compactTo(snapshotIndex: number): number {
    const { view } = this.#ports;
    const least = Math.max(compactTo(this.#policy, snapshotIndex), view.firstIndex() - 1);
    let bytes = 0;
    for (let index = snapshotIndex; index > least; index--) {
      const [entry] = view.entries(index, index + 1, 0);
      if (entry !== undefined) bytes += entryBytes(entry);
      if (bytes > TRAILING_BYTES) return index;
    }
    return least;
  }

  #keepNeeded(to: number): number {
    const { view, neededFrom } = this.#ports;
    const needed = neededFrom();
    if (needed === undefined || needed > to) return to;
    const kept = view.entries(needed, to + 1, CATCHING_UP_BYTES).length;
    return kept === to + 1 - needed ? needed - 1 : to;
  }

  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#ports.fatal(error);
    }
  }
}
