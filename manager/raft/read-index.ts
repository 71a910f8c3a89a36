import type { RaftId } from './types.ts';

/** A read on its way through a leader: `from` asked, under its own `key` (a context or request id). */
export type PendingRead = Readonly<{ from: RaftId; key: number }>;
export type ConfirmedRead = PendingRead & Readonly<{ index: number }>;

/**
 * A leader's linearizable reads (dissertation 6.4). A read waits for a round: the round notes the
 * commit index and takes a position that no heartbeat has carried before, so that only answers to
 * heartbeats sent AFTER the read came can confirm it. A retry is a new read: it gets a new position.
 * (With the position of the first try, an old answer could confirm the new one.)
 */
export class ReadQueue {
  readonly #max: number;
  #waiting: PendingRead[] = [];
  #confirming: (ConfirmedRead & { seq: number })[] = [];
  #seq = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** Position of the newest round; it goes out with each heartbeat. */
  get seq(): number {
    return this.#seq;
  }

  hasWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** False when too many reads are pending. */
  add(read: PendingRead): boolean {
    if (this.#waiting.length + this.#confirming.length >= this.#max) return false;
    this.#waiting.push(read);
    return true;
  }

  /** A new position that no read waits for. */
  skipPosition(): void {
    this.#seq++;
  }

  /** A new position, to be sent to all members now; reads that waited are bound to it. */
  startRound(commit: number): void {
    this.#seq++;
    for (const read of this.#waiting) {
      this.#confirming.push({ ...read, index: commit, seq: this.#seq });
    }
    this.#waiting = [];
  }

  /** Reads answered without a round, on the strength of a lease or of being the only voter. */
  takeWaiting(commit: number): ConfirmedRead[] {
    const reads = this.#waiting.map((read) => ({ ...read, index: commit }));
    this.#waiting = [];
    return reads;
  }

  /** Reads up to position `seq`, which a quorum has acknowledged. */
  takeConfirmed(seq: number): readonly ConfirmedRead[] {
    let count = 0;
    while (count < this.#confirming.length && (this.#confirming[count]?.seq ?? 0) <= seq) count++;
    return count === 0 ? [] : this.#confirming.splice(0, count);
  }

  /** All that is pending, when leadership ends. */
  drain(): PendingRead[] {
    const reads = [...this.#confirming, ...this.#waiting];
    this.#confirming = [];
    this.#waiting = [];
    return reads;
  }
}

/**
 * Reads that this node asked a leader for. Each has a fresh request id; the ids start at random, so
 * that a late answer from before a restart finds no read that it could answer too early.
 */
export class ForwardedReads {
  readonly #max: number;
  readonly #timeoutTicks: number;
  readonly #pending = new Map<number, { context: number; deadline: number }>();
  #nextId: number;
  #now = 0;

  constructor(firstId: number, max: number, timeoutTicks: number) {
    this.#nextId = firstId;
    this.#max = max;
    this.#timeoutTicks = timeoutTicks;
  }

  /** Undefined when too many are pending. */
  add(context: number): number | undefined {
    if (this.#pending.size >= this.#max) return undefined;
    const requestId = this.#nextId++;
    this.#pending.set(requestId, { context, deadline: this.#now + this.#timeoutTicks });
    return requestId;
  }

  /** The context of an answered request; undefined for one dropped before. */
  take(requestId: number): number | undefined {
    const read = this.#pending.get(requestId);
    this.#pending.delete(requestId);
    return read?.context;
  }

  /** One tick; gives the contexts of reads that nobody answered in time. */
  tick(): number[] {
    this.#now++;
    const expired: number[] = [];
    for (const [requestId, { context, deadline }] of this.#pending) {
      if (deadline > this.#now) break; // in the order they were added
      expired.push(context);
      this.#pending.delete(requestId);
    }
    return expired;
  }

  /** Contexts of all that is pending: the leader that was asked is none any more. */
  drain(): number[] {
    const contexts = [...this.#pending.values()].map(({ context }) => context);
    this.#pending.clear();
    return contexts;
  }
}
