import type {
  DurableBatch,
  DurableLog,
  Entry,
  HardState,
  LoadedState,
  SnapshotBody,
  SnapshotMeta,
} from '../../manager/raft/types.ts';
import type { SeededRandom } from './random.ts';

type Snapshot = { meta: SnapshotMeta; body: readonly Uint8Array[] };
type Content = {
  hardState: HardState;
  snapshot: Snapshot | undefined;
  compacted: { index: number; term: number };
  entries: Entry[];
};

/**
 * A node's disk. What is written is readable at once, but only what was synced is sure to survive a
 * crash: of the rest, a prefix of the writes does, as long as chance will have it. Each write is
 * atomic (a checksummed record); the damage below that is the real log's own business to detect.
 */
export class SimDisk implements DurableLog {
  readonly #durable: Content = {
    hardState: { term: 0, vote: undefined, commit: 0 },
    snapshot: undefined,
    compacted: { index: 0, term: 0 },
    entries: [],
  };
  #unsynced: DurableBatch[] = [];

  write(batch: DurableBatch): void {
    this.#unsynced.push(batch);
  }

  sync(): void {
    for (const batch of this.#unsynced) carryOut(this.#durable, batch);
    this.#unsynced = [];
  }

  /** Power is lost. */
  crash(random: SeededRandom): void {
    this.#unsynced.length = random.between(0, this.#unsynced.length);
    this.sync();
  }

  append(batch: DurableBatch, options?: Readonly<{ lazy: boolean }>): void {
    this.write(batch);
    if (options?.lazy !== true) this.sync();
  }

  load(): LoadedState {
    const { hardState, snapshot, compacted, entries } = this.#durable;
    return { hardState, snapshot: snapshot?.meta, compacted, entries: entries.slice() };
  }

  saveSnapshot(meta: SnapshotMeta, body: SnapshotBody): void {
    this.sync();
    this.#durable.snapshot = { meta, body: [...body] };
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

  close(): void {
    this.#unsynced = [];
  }

  /** For invariants: whether this very entry, or a snapshot that covers it, would survive a crash. */
  holds(index: number, term: number): boolean {
    const { compacted, entries } = this.#durable;
    if (index < compacted.index) return true;
    if (index === compacted.index) return compacted.term === term;
    return entries[index - compacted.index - 1]?.term === term;
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
  content.entries.push(...batch.entries);
}
