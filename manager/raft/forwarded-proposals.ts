import type { RaftLog } from './log.ts';
import type { Output } from './output.ts';
import type { ProposeReply, RaftId, RaftOptions } from './types.ts';

/** In election timeouts: a leader that is well commits in a fraction of one. */
const PATIENCE = 4;

type Pending = {
  readonly deadline: number;
  /** Where the leader of `term` put them, once it said so. */
  place: Readonly<{ term: number; first: number; last: number }> | undefined;
};

/**
 * Proposals that this node sent to its leader. Each ends in one of three ways, and only what is
 * certain is said: `committed` when the log shows the very entries, `refused` when they are in no log
 * and never will be, `unknown` for the rest: the order or its answer may have been lost, and asking
 * again may do it twice (but see Sessions).
 */
export class ForwardedProposals {
  readonly #max: number;
  readonly #patienceTicks: number;
  readonly #pending = new Map<number, Pending>();
  #nextId: number;
  #now = 0;

  constructor(firstId: number, options: RaftOptions) {
    this.#nextId = firstId;
    this.#max = options.maxPendingReads;
    this.#patienceTicks = PATIENCE * options.electionTicks;
  }

  /** Undefined when too many are pending. */
  add(): number | undefined {
    if (this.#spread() >= this.#max) return undefined;
    const requestId = this.#nextId++;
    const deadline = this.#now + this.#patienceTicks;
    this.#pending.set(requestId, { deadline, place: undefined });
    return requestId;
  }

  /** Ids from the oldest pending one on: never more than a leader's SeenRequests remembers. */
  #spread(): number {
    for (const oldest of this.#pending.keys()) return this.#nextId - oldest;
    return 0;
  }

  tick(output: Output): void {
    this.#now++;
    for (const [requestId, { deadline }] of this.#pending) {
      if (deadline > this.#now) break; // in the order they were added
      this.#pending.delete(requestId);
      output.forwarded({ requestId, outcome: 'unknown', reason: 'timed-out' });
    }
  }

  onReply({ requestId, result }: ProposeReply, output: Output): void {
    const pending = this.#pending.get(requestId);
    // Answered before: the order came twice on its way, and the second one counts for itself.
    if (pending === undefined || pending.place !== undefined) return;
    if (result.kind === 'accepted') {
      pending.place = result;
      return;
    }
    this.#pending.delete(requestId);
    output.forwarded({ requestId, outcome: 'refused', reason: result.reason });
  }

  /** Also for entries that a snapshot stands for: what it holds of them cannot be told. */
  handedOut(index: number, log: RaftLog, output: Output): void {
    for (const [requestId, { place }] of this.#pending) {
      if (place === undefined || place.last > index) continue;
      this.#pending.delete(requestId);
      const { term, first, last } = place;
      if (log.matches(last, term)) {
        output.forwarded({ requestId, outcome: 'committed', first, last });
      } else if (isOther(log.term(first), term)) {
        output.forwarded({ requestId, outcome: 'refused', reason: 'overwritten' });
      } else {
        output.forwarded({ requestId, outcome: 'unknown', reason: 'leader-changed' });
      }
    }
  }

  /** Those with a place in the log wait on: the log will tell. */
  leaderChanged(output: Output): void {
    for (const [requestId, { place }] of this.#pending) {
      if (place !== undefined) continue;
      this.#pending.delete(requestId);
      output.forwarded({ requestId, outcome: 'unknown', reason: 'leader-changed' });
    }
  }
}

/**
 * A leader's memory of its members' requests, of the last term in which it led and was asked, also
 * when it does not lead in it any more: whatever it answers to the first copy, a second one that is
 * still on its way must be neither appended nor refused, or `refused` would not be certain.
 */
export class SeenRequests {
  readonly #maxEach: number;
  readonly #seen = new Map<RaftId, Set<number>>();
  #term = 0;

  constructor(maxEach: number) {
    this.#maxEach = maxEach;
  }

  ledIn(term: number): void {
    if (term === this.#term) return;
    this.#term = term;
    this.#seen.clear();
  }

  /** False also for a term of which nothing is remembered: this node may have started anew since. */
  isNew(term: number, from: RaftId, requestId: number): boolean {
    if (term !== this.#term) return false;
    const seen = this.#seen.get(from) ?? new Set();
    if (seen.has(requestId)) return false;
    seen.add(requestId);
    this.#seen.set(from, seen);
    if (seen.size > this.#maxEach) {
      for (const oldest of seen) {
        seen.delete(oldest);
        break;
      }
    }
    return true;
  }
}

function isOther(found: number | undefined, term: number): boolean {
  return found !== undefined && found !== term;
}
