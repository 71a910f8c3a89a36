import type { RaftOptions } from './types.ts';

/**
 * Subtracted from the election timeout: one tick because ticks of two nodes are not in phase, one
 * for clocks that drift apart (10 % of the usual timeout of 10 ticks).
 */
const MARGIN_TICKS = 2;

/**
 * A leader's lease (dissertation 6.4.1), with `readMode: 'lease'` only. It is held while a quorum
 * has acknowledged a heartbeat that was SENT less than an election timeout ago: each of them refuses
 * every candidate for that long after it arrived. (That members were active at some time since the
 * last check of the quorum says less: it would stretch to twice the election timeout.)
 */
export class LeaderLease {
  readonly #lengthTicks: number;
  /** Rounds of heartbeats not yet acknowledged by a quorum, oldest first. */
  #rounds: { seq: number; sentAt: number }[] = [];
  #now = 0;
  #heldUntil = 0;
  #givenUp = false;

  constructor(options: RaftOptions) {
    this.#lengthTicks = options.readMode === 'lease' ? options.electionTicks - MARGIN_TICKS : 0;
  }

  tick(): void {
    this.#now++;
  }

  sent(seq: number): void {
    if (this.#lengthTicks <= 0) return;
    // A round that old could not extend the lease any more.
    this.#rounds = this.#rounds.filter(({ sentAt }) => sentAt + this.#lengthTicks > this.#now);
    this.#rounds.push({ seq, sentAt: this.#now });
  }

  confirmed(seq: number): void {
    let round = this.#rounds[0];
    while (round !== undefined && round.seq <= seq) {
      this.#heldUntil = Math.max(this.#heldUntil, round.sentAt + this.#lengthTicks);
      this.#rounds.shift();
      round = this.#rounds[0];
    }
  }

  /** Until a round that is sent from now on is acknowledged. */
  lapse(): void {
    this.#heldUntil = this.#now;
    this.#rounds = [];
  }

  /** For the rest of the term: somebody may be elected in spite of it, at any time. */
  giveUp(): void {
    this.#givenUp = true;
  }

  held(): boolean {
    return !this.#givenUp && this.#now < this.#heldUntil;
  }
}
