import type {
  DurableBatch,
  DurableLog,
  LoadedState,
  SnapshotBody,
} from '../../manager/raft/durable-log.ts';
import type { Entry, HardState, SnapshotMeta } from '../../manager/raft/types.ts';
import type { SeededRandom } from './random.ts';

type Snapshot = { meta: SnapshotMeta; body: readonly Uint8Array[] };
type Content = {
  hardState: HardState;
  snapshot: Snapshot | undefined;
  compacted: { index: number; term: number };
  entries: Entry[];
};

/** What a disk does to the program above it. */
export class DiskError extends Error {
  readonly code: 'ENOSPC' | 'EIO';
  constructor(code: 'ENOSPC' | 'EIO') {
    super(`the simulated disk answers ${code}`);
    this.code = code;
  }
}

/**
 * A node's disk. What is written is readable at once, but only what was synced is sure to survive a
 * crash: of the rest, a prefix of the writes does, as long as chance will have it, and the write at
 * its end is torn: it is not there. Each write is atomic (a checksummed record); the damage below
 * that is the real log's own business to detect. After an error nothing is known: power must be cut.
 */
export class SimDisk implements DurableLog {
  /** No room for more entries or snapshots. */
  full = false;
  readonly #durable: Content = {
    hardState: { term: 0, vote: undefined, commit: 0 },
    snapshot: undefined,
    compacted: { index: 0, term: 0 },
    entries: [],
  };
  #unsynced: DurableBatch[] = [];
  /** Written beside, under no name yet: a crash takes it. */
  #beside: Snapshot | undefined;
  /** Whole and under its name, but the log does not speak of it yet. */
  #named: Snapshot | undefined;
  readonly #notes = new Map<string, Uint8Array>();
  /** Asked before each sync: whether this one fails. */
  #syncFails: () => boolean = () => false;

  failSyncs(fails: () => boolean): void {
    this.#syncFails = fails;
  }

  write(batch: DurableBatch): void {
    const grows = batch.entries.length > 0 || batch.snapshot !== undefined;
    if (this.full && grows) throw new DiskError('ENOSPC');
    this.#unsynced.push(batch);
  }

  sync(): void {
    if (this.#syncFails()) throw new DiskError('EIO');
    this.#settle();
  }

  #settle(): void {
    if (this.#unsynced.length === 0) return;
    for (const batch of this.#unsynced) carryOut(this.#durable, batch);
    this.#unsynced = [];
  }

  /** Power is lost. */
  crash(random: SeededRandom): void {
    this.#unsynced.length = random.between(0, this.#unsynced.length);
    this.#settle();
    this.#beside = undefined;
  }

  append(batch: DurableBatch, options?: Readonly<{ lazy: boolean }>): void {
    this.write(batch);
    if (options?.lazy !== true) this.sync();
  }

  load(): LoadedState {
    const { hardState, snapshot, compacted, entries } = this.#durable;
    return { hardState, snapshot: snapshot?.meta, compacted, entries: entries.slice() };
  }

  // ------------------------------------------------------------------- snapshots, a step at a time

  /** All of its bytes, in a file beside. */
  writeSnapshot(meta: SnapshotMeta, body: SnapshotBody): void {
    if (this.full) throw new DiskError('ENOSPC');
    this.#beside = { meta, body: [...body] };
  }

  /** Synced, then renamed. */
  nameSnapshot(): void {
    this.#named = this.#beside;
    this.#beside = undefined;
  }

  /** From now on a start begins there. The log stays as it is. */
  markSnapshot(): void {
    const named = this.#named;
    if (named === undefined) throw new Error('a snapshot is marked that has no name');
    this.sync();
    this.#durable.snapshot = named;
    this.#named = undefined;
  }

  saveSnapshot(meta: SnapshotMeta, body: SnapshotBody): void {
    this.writeSnapshot(meta, body);
    this.nameSnapshot();
    this.markSnapshot();
  }

  readSnapshot(): Snapshot | undefined {
    return this.#durable.snapshot;
  }

  compact(toIndex: number): void {
    this.sync();
    const { compacted, entries } = this.#durable;
    const cut = toIndex - compacted.index;
    const last = entries[cut - 1];
    if (last === undefined) return;
    this.#durable.compacted = { index: last.index, term: last.term };
    this.#durable.entries = entries.slice(cut);
  }

  putNote(key: string, value: Uint8Array): void {
    this.#notes.set(key, value);
  }

  note(key: string): Uint8Array | undefined {
    return this.#notes.get(key);
  }

  close(): void {
    this.#unsynced = [];
  }

  // ---------------------------------------------------------------------------------- for invariants

  /** Whether this very entry, or a snapshot that covers it, would survive a crash. */
  holds(index: number, term: number): boolean {
    const { compacted, entries } = this.#durable;
    if (index < compacted.index) return true;
    if (index === compacted.index) return compacted.term === term;
    return entries[index - compacted.index - 1]?.term === term;
  }

  /** A change of members after `index`, durable or not. */
  holdsChangeAfter(index: number): boolean {
    const changes = ({ type, index: at }: Entry) => type === 'conf-change' && at > index;
    return (
      this.#durable.entries.some(changes) ||
      this.#unsynced.some(({ entries }) => entries.some(changes))
    );
  }
}

function carryOut(content: Content, batch: DurableBatch): void {
  if (batch.hardState !== undefined) content.hardState = batch.hardState;
  if (batch.snapshot !== undefined) {
    const { meta, body } = batch.snapshot;
    content.snapshot = { meta, body: [...body] };
    content.compacted = { index: meta.index, term: meta.term };
    content.entries = [];
  }
  const first = batch.entries[0];
  if (first === undefined) return;
  const keep = first.index - content.compacted.index - 1;
  if (keep < 0 || keep > content.entries.length) {
    throw new Error(`entry ${first.index} leaves a gap in the simulated log`);
  }
  content.entries.length = keep;
  for (const entry of batch.entries) content.entries.push(entry);
}
