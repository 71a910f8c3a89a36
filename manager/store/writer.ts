import type { Clock } from '../../shared/clock.ts';
import { isShoalError, ShoalError } from '../../shared/errors.ts';
import { type StoreAction, StoreTransaction } from '../../shared/gen/shoal/v1/store.ts';
import { newId } from '../../shared/ids.ts';
import type { Random } from '../../shared/random.ts';
import type { Consensus } from '../raft/consensus.ts';
import { encodeWith } from './encode.ts';
import type { Outcome } from './store.ts';
import type { Writer } from './types.ts';

/** Of one transaction, encoded: Swarm's limit, well below what one Raft message may hold. */
const MAX_TRANSACTION_BYTES = 1.5 * 1024 * 1024;
/** Of one object: it must fit into a snapshot chunk (1 MiB) together with the chunk's own fields. */
const MAX_OBJECT_BYTES = 1024 * 1024 - 1024;
/** Of one transaction of a batch, so that no replica is held up by applying it. */
const MAX_BATCH_ACTIONS = 1000;

/** Where the writer learns how its transactions ended: the store that consensus applies to. */
export interface OutcomeSource {
  readonly index: number;
  onOutcome(listener: (id: string, outcome: Outcome) => void): () => void;
}

export type StoreWriterDeps = Readonly<{
  consensus: Pick<Consensus, 'propose'>;
  store: OutcomeSource;
  clock: Clock;
  random: Random;
}>;

/** Proposes transactions and tells each caller what became of its own. */
export class StoreWriter implements Writer {
  readonly #consensus: Pick<Consensus, 'propose'>;
  readonly #store: OutcomeSource;
  readonly #clock: Clock;
  /** Ids are a random prefix and a count: entries of other managers and of former runs never match. */
  readonly #prefix: string;
  #count = 0;
  /** Proposals under way; as many as consensus lets in flight. */
  readonly #pending = new Map<string, Outcome | undefined>();

  constructor(deps: StoreWriterDeps) {
    this.#consensus = deps.consensus;
    this.#store = deps.store;
    this.#clock = deps.clock;
    this.#prefix = newId(deps.random).slice(-12);
    this.#store.onOutcome((id, outcome) => {
      if (this.#pending.has(id)) this.#pending.set(id, outcome);
    });
  }

  async write(actions: readonly StoreAction[], signal?: AbortSignal): Promise<number> {
    if (actions.length === 0) return this.#store.index;
    this.#count += 1;
    const id = this.#prefix + this.#count.toString(36);
    const data = encodeTransaction(id, this.#clock.now(), actions);
    this.#pending.set(id, undefined);
    try {
      await this.#consensus.propose(data, signal);
      return this.#settle(id);
    } catch (error) {
      // Leadership may be lost between the append and the answer; when the entry was applied here
      // all the same, its outcome is known.
      if (isShoalError(error, 'unknown-outcome') && this.#pending.get(id) !== undefined) {
        return this.#settle(id);
      }
      throw error;
    } finally {
      this.#pending.delete(id);
    }
  }

  #settle(id: string): number {
    const outcome = this.#pending.get(id);
    if (outcome === undefined) {
      throw new ShoalError('internal', `transaction ${id} was committed, but not applied here`);
    }
    if (outcome.kind === 'rejected') throw new ShoalError(outcome.code, outcome.message);
    return outcome.index;
  }
}

/**
 * Cuts actions into transactions below both limits, in order. Only for writes whose parts make
 * sense alone: each transaction is all or nothing, their sequence is not.
 */
export function splitActions(
  actions: readonly StoreAction[],
  limits: { maxBytes?: number; maxActions?: number } = {},
): StoreAction[][] {
  const maxBytes = limits.maxBytes ?? MAX_TRANSACTION_BYTES / 2;
  const maxActions = limits.maxActions ?? MAX_BATCH_ACTIONS;
  const batches: StoreAction[][] = [];
  let batch: StoreAction[] = [];
  let size = 0;
  for (const action of actions) {
    const bytes = sizeOfAction(action);
    if (batch.length > 0 && (batch.length >= maxActions || size + bytes > maxBytes)) {
      batches.push(batch);
      batch = [];
      size = 0;
    }
    batch.push(action);
    size += bytes;
  }
  if (batch.length > 0) batches.push(batch);
  return batches;
}

/** Writes all of them, one transaction after another; stops at the first that fails. */
export async function writeInBatches(
  writer: Writer,
  actions: readonly StoreAction[],
  signal?: AbortSignal,
): Promise<void> {
  for (const batch of splitActions(actions)) await writer.write(batch, signal);
}

function encodeTransaction(id: string, atMs: number, actions: readonly StoreAction[]): Uint8Array {
  // As most are: in one piece, and too small to hold anything that is too large.
  if (actions.length === 1) {
    const whole = encodeWhole({ id, atMs, actions: [...actions] });
    if (whole.length <= MAX_OBJECT_BYTES) return whole;
  }
  // Messages laid end to end decode as one with all their actions: each is encoded and measured once.
  const parts: Uint8Array[] = [encodeWhole({ id, atMs, actions: [] })];
  let size = parts[0]?.length ?? 0;
  for (const action of actions) {
    const part = encodeAction(action);
    if (part.length > MAX_OBJECT_BYTES) {
      throw new ShoalError(
        'resource-exhausted',
        `an object of ${part.length} bytes is too large: at most ${MAX_OBJECT_BYTES} are possible`,
      );
    }
    size += part.length;
    parts.push(part);
  }
  if (size > MAX_TRANSACTION_BYTES) {
    throw new ShoalError(
      'resource-exhausted',
      `a transaction of ${size} bytes is too large: at most ${MAX_TRANSACTION_BYTES} are possible`,
    );
  }
  return Buffer.concat(parts);
}

/** Of actions that were measured and are to be written: to encode them is most of the work, and done once. */
const measured = new WeakMap<StoreAction, Uint8Array>();

/** Bytes of the action in a transaction. It must not be changed any more. */
export function sizeOfAction(action: StoreAction): number {
  const bytes = measured.get(action) ?? encodeAction(action);
  measured.set(action, bytes);
  return bytes.length;
}

function encodeAction(action: StoreAction): Uint8Array {
  return measured.get(action) ?? encodeWhole({ id: '', atMs: 0, actions: [action] });
}

function encodeWhole(transaction: StoreTransaction): Uint8Array {
  for (const { action } of transaction.actions) {
    // Replicas refuse to run on with an action they do not know, so none may get into the log.
    if (action === undefined) throw new ShoalError('internal', 'cannot write an empty action');
  }
  return encodeWith(StoreTransaction, transaction);
}
