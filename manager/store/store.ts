import { ShoalError } from '../../shared/errors.ts';
import type { Cluster, Task } from '../../shared/gen/shoal/v1/objects.ts';
import { StoreTransaction } from '../../shared/gen/shoal/v1/store.ts';
import type { StateMachine } from '../raft/consensus.ts';
import { History } from './history.ts';
import { difference, snapshotChunks, tablesFromChunks } from './snapshot.ts';
import { TableSet } from './table-set.ts';
import { evaluate, type Rejection } from './transaction.ts';
import type { ChangeBatch, TableName, Tables, WatchableStore } from './types.ts';

/** Changes kept for watchers. A change keeps an object's former value alive: some 10 MiB in all. */
const DEFAULT_HISTORY_CHANGES = 4096;

export type Outcome = Readonly<{ kind: 'applied'; index: number }> | Rejection;

/**
 * The replicated tables of this manager: the state machine behind consensus and what everybody
 * else reads. Calls of `apply` and `restore` come one at a time, in log order; entries that were
 * applied before (at or below `index`) are an error of the caller and end the program.
 */
export class Store implements WatchableStore, StateMachine {
  #tables = new TableSet();
  #index = 0;
  readonly #historyChanges: number;
  readonly #history: History;
  readonly #listeners = new Set<(batch: ChangeBatch) => void>();
  readonly #outcomeListeners = new Set<(id: string, outcome: Outcome) => void>();
  readonly #sleepers = new Set<() => void>();

  /** `historyChanges`: how many changes a watcher may be behind. */
  constructor(options: { historyChanges?: number } = {}) {
    this.#historyChanges = options.historyChanges ?? DEFAULT_HISTORY_CHANGES;
    this.#history = new History(this.#historyChanges);
  }

  // ---- reading ----

  get index(): number {
    return this.#index;
  }

  get<K extends TableName>(table: K, id: string): Tables[K] | undefined {
    return this.#tables.get(table, id);
  }

  /** In no order that means anything: replicas differ in it. */
  all<K extends TableName>(table: K): Iterable<Tables[K]> {
    return this.#tables.all(table);
  }

  count(table: TableName): number {
    return this.#tables.count(table);
  }

  byName<K extends TableName>(table: K, name: string): Tables[K] | undefined {
    const id = this.#tables.idOfName(table, name);
    return id === undefined ? undefined : this.#tables.get(table, id);
  }

  /** Looks at every id of the table: for what a person typed, not for loops. */
  byIdPrefix<K extends TableName>(table: K, prefix: string, limit: number): readonly Tables[K][] {
    const found: Tables[K][] = [];
    for (const object of this.#tables.all(table)) {
      if (found.length >= limit) break;
      if (object.id.startsWith(prefix)) found.push(object);
    }
    return found;
  }

  tasksOfService(serviceId: string): Iterable<Task> {
    return this.#tables.tasksOfService(serviceId);
  }

  tasksOfNode(nodeId: string): Iterable<Task> {
    return this.#tables.tasksOfNode(nodeId);
  }

  cluster(): Cluster | undefined {
    for (const cluster of this.#tables.all('cluster')) return cluster;
    return undefined;
  }

  // ---- watching ----

  onCommit(listener: (batch: ChangeBatch) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * After a snapshot arrived in place of entries (on a follower that had fallen behind) watchers get
   * one batch with the difference: nothing is missed, but what came and went in between is not seen.
   * Ends when `signal` aborts. The position is taken at the call, not at the first read.
   */
  watch(options: { from?: number; signal: AbortSignal }): AsyncIterable<ChangeBatch> {
    const from = options.from ?? this.#index;
    const position = this.#history.positionAfter(from);
    if (position === undefined) {
      throw new ShoalError(
        'failed-precondition',
        `changes since index ${from} are no longer kept: list again and watch from the list's index`,
      );
    }
    return this.#read(position, from, options.signal);
  }

  /** Told how each transaction ended, after the listeners of `onCommit`; for the writer. */
  onOutcome(listener: (id: string, outcome: Outcome) => void): () => void {
    this.#outcomeListeners.add(listener);
    return () => this.#outcomeListeners.delete(listener);
  }

  // ---- state machine ----

  apply(index: number, data: Uint8Array): void {
    if (index <= this.#index) {
      throw new RangeError(`Cannot apply entry ${index}: the store is at ${this.#index} already`);
    }
    const transaction = StoreTransaction.decode(data);
    const result = evaluate(this.#tables, transaction, index);
    this.#index = index;
    if (result.kind === 'accepted' && result.changes.length > 0) {
      this.#tables.commit(result.changes);
      const batch = { index, changes: result.changes, atMs: transaction.atMs };
      this.#history.push(batch);
      this.#tell(batch);
    }
    const outcome: Outcome = result.kind === 'rejected' ? result : { kind: 'applied', index };
    for (const listener of this.#outcomeListeners) listener(transaction.id, outcome);
  }

  snapshot(): Iterable<Uint8Array> {
    return snapshotChunks(this.#tables, this.#index);
  }

  restore(index: number, chunks: readonly Uint8Array[]): void {
    if (index < this.#index) {
      throw new RangeError(`Cannot restore index ${index}: the store is at ${this.#index} already`);
    }
    const tables = tablesFromChunks(index, chunks, this.#tables);
    const changes = difference(this.#tables, tables);
    this.#tables = tables;
    this.#index = index;
    const batch = { index, changes };
    // A difference as large as the cluster would keep all of it alive twice: rather cut the readers.
    if (changes.length <= this.#historyChanges) this.#history.pushDifference(batch);
    else this.#history.clear(index);
    if (changes.length > 0) this.#tell(batch);
  }

  #tell(batch: ChangeBatch): void {
    for (const listener of this.#listeners) listener(batch);
    for (const wake of this.#sleepers) wake();
    this.#sleepers.clear();
  }

  async *#read(start: number, from: number, signal: AbortSignal): AsyncGenerator<ChangeBatch> {
    let position = start;
    while (!signal.aborted) {
      const batch = this.#history.at(position);
      if (batch === 'gone') {
        throw new ShoalError(
          'resource-exhausted',
          'this watcher is too slow: the changes it has not read are no longer kept; list again',
        );
      }
      if (batch === undefined) {
        await this.#nextCommit(signal);
        continue;
      }
      position += 1;
      if (batch.index > from) yield batch;
    }
  }

  /** Resolves at the next batch, or when the signal aborts. */
  #nextCommit(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        signal.removeEventListener('abort', wake);
        this.#sleepers.delete(wake);
        resolve();
      };
      signal.addEventListener('abort', wake, { once: true });
      this.#sleepers.add(wake);
    });
  }
}
