// A working store without Raft: entries are committed at once, in order, on the next microtask.

import type { Consensus, ConsensusStatus, StateMachine } from '../../manager/raft/consensus.ts';
import { Store } from '../../manager/store/store.ts';
import { createAction } from '../../manager/store/tables.ts';
import type { TableName, Tables } from '../../manager/store/types.ts';
import { StoreWriter } from '../../manager/store/writer.ts';
import { NotLeaderError } from '../../shared/errors.ts';
import { type StoreAction, StoreTransaction } from '../../shared/gen/shoal/v1/store.ts';
import { ManualClock } from './manual-clock.ts';
import { SeededRandom } from './seeded-random.ts';

/** The consensus of a group of one that never fails, unless told to. */
export class InMemoryConsensus implements Consensus {
  /** Every entry that was committed, for tests that replay them. */
  readonly entries: { index: number; data: Uint8Array }[] = [];
  /** Set to make the next proposals fail before anything is done. */
  proposeError: Error | undefined;
  /** How often `readBarrier` was asked for. */
  barriers = 0;
  /** Set to make read barriers fail: no leader can be asked. */
  barrierError: Error | undefined;
  readonly #machine: StateMachine;
  readonly #listeners = new Set<(status: ConsensusStatus) => void>();
  #status: ConsensusStatus;

  constructor(machine: StateMachine, status: Partial<ConsensusStatus> = {}) {
    this.#machine = machine;
    this.#status = {
      raftId: '1',
      term: 1,
      isLeader: true,
      leaderRaftId: '1',
      members: [],
      appliedIndex: 0,
      commitIndex: 0,
      leaderHeardAtMs: 0,
      ...status,
    };
  }

  status(): ConsensusStatus {
    return this.#status;
  }

  setStatus(status: Partial<ConsensusStatus>): void {
    this.#status = { ...this.#status, ...status };
    for (const listener of this.#listeners) listener(this.#status);
  }

  async propose(data: Uint8Array): Promise<number> {
    await Promise.resolve();
    if (this.proposeError !== undefined) throw this.proposeError;
    if (!this.#status.isLeader) throw new NotLeaderError(this.#status.leaderRaftId);
    const index = this.#status.commitIndex + 1;
    this.#status = { ...this.#status, commitIndex: index, appliedIndex: index };
    this.entries.push({ index, data });
    this.#machine.apply(index, data);
    return index;
  }

  async readBarrier(): Promise<number> {
    this.barriers += 1;
    if (this.barrierError !== undefined) throw this.barrierError;
    return this.#status.appliedIndex;
  }

  onStatus(listener: (status: ConsensusStatus) => void): () => void {
    listener(this.#status);
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async addMember(): Promise<void> {
    throw new Error('not part of this fake');
  }

  async removeMember(): Promise<void> {
    throw new Error('not part of this fake');
  }

  async transferLeadership(): Promise<void> {
    throw new Error('not part of this fake');
  }

  async close(): Promise<void> {
    await Promise.resolve();
  }
}

export type StoreFixture = Readonly<{
  store: Store;
  writer: StoreWriter;
  consensus: InMemoryConsensus;
  clock: ManualClock;
  random: SeededRandom;
}>;

/** Store and writer that work together; `objects` are there from the start (one transaction each). */
export async function storeFixture(
  objects: Partial<{ [K in TableName]: readonly Tables[K][] }> = {},
  options: { seed?: number; historyChanges?: number } = {},
): Promise<StoreFixture> {
  const clock = new ManualClock();
  const random = new SeededRandom(options.seed ?? 1);
  const { historyChanges } = options;
  const store = new Store(historyChanges === undefined ? {} : { historyChanges });
  const consensus = new InMemoryConsensus(store);
  const writer = new StoreWriter({ consensus, store, clock, random });
  for (const [table, list] of Object.entries(objects) as [TableName, Tables[TableName][]][]) {
    for (const object of list) await writer.write([createAction(table, object)]);
  }
  return { store, writer, consensus, clock, random };
}

/** Applies one transaction to a store of its own, without writer or consensus. */
export function applyDirect(
  store: Store,
  actions: readonly StoreAction[],
  options: { index?: number; atMs?: number; id?: string } = {},
): number {
  const index = options.index ?? store.index + 1;
  const { id = `t${index}`, atMs = index } = options;
  store.apply(index, StoreTransaction.encode({ id, atMs, actions: [...actions] }).finish());
  return index;
}
