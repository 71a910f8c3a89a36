import { broken } from './invariant.ts';
import type { RaftLog } from './log.ts';
import type { Entry, HardState, Message, RaftId, Ready } from './types.ts';

/**
 * Holds every `Ready` against what its documentation promises, before it is given out: a core that
 * would lose or invent data must stop instead. What the owner has to keep is checked where it comes
 * in: `advance` (RaftLog.stableTo, snapshotStable), `applied` (RaftLog.appliedTo, Membership).
 *
 * Costs a comparison for each entry and message; nothing is allocated.
 */
export class ReadyContract {
  readonly #log: RaftLog;
  #term: number;
  #vote: RaftId | undefined;
  #commit: number;
  #handedOut: number;

  constructor(log: RaftLog, { term, vote, commit }: HardState, applied: number) {
    this.#log = log;
    this.#term = term;
    this.#vote = vote;
    this.#commit = commit;
    this.#handedOut = applied;
  }

  check(ready: Ready): void {
    const votesMoved = this.#checkHardState(ready.hardState);
    const writes = ready.entries.length > 0 || ready.snapshot !== undefined;
    if ((votesMoved || writes) && !ready.mustSync)
      throw broken('a write that matters is not synced');
    for (const message of ready.messages) this.#checkBeforeSync(message, votesMoved);
    for (const message of ready.messagesAfterSync) this.#checkAfterSync(message);
    this.#checkEntries(ready);
    this.#checkCommitted(ready);
  }

  /** Terms and commits never go back, and there is one vote a term. True when term or vote moved. */
  #checkHardState(next: HardState | undefined): boolean {
    if (next === undefined) return false;
    const { term, vote, commit } = next;
    if (term < this.#term) throw broken(`the term goes back from ${this.#term} to ${term}`);
    if (term === this.#term && this.#vote !== undefined && vote !== this.#vote) {
      throw broken(`a second vote in term ${term}: for ${this.#vote}, then for ${vote}`);
    }
    if (commit < this.#commit)
      throw broken(`the commit goes back from ${this.#commit} to ${commit}`);
    if (commit > this.#log.lastIndex()) {
      throw broken(`${commit} is committed but the log ends at ${this.#log.lastIndex()}`);
    }
    const votesMoved = term !== this.#term || vote !== this.#vote;
    this.#term = term;
    this.#vote = vote;
    this.#commit = commit;
    return votesMoved;
  }

  /** Rule 1: nothing that leaves now vouches for what a crash could still take back. */
  #checkBeforeSync(message: Message, votesMoved: boolean): void {
    switch (message.type) {
      case 'append-reply':
        if (!message.rejected && message.index > this.#log.stableIndex()) {
          throw broken(`${message.index} would be acknowledged before it is on disk`);
        }
        break;
      case 'vote':
      case 'vote-reply':
        if (votesMoved) throw broken('a vote would leave before it is on disk');
        break;
      default:
        break;
    }
    this.#checkTerm(message);
  }

  /**
   * Rule 3: what is vouched for is in this `Ready` or on disk already. Not so for an answer to the
   * leader of an earlier term, when the next leader has replaced the entries in the same turn. That
   * does no harm: the next leader lacks them, so its voters had not acknowledged them before they
   * voted, and those who had are no majority.
   */
  #checkAfterSync(message: Message): void {
    this.#checkTerm(message);
    if (message.term !== this.#term) return;
    if (message.type === 'append-reply' && !message.rejected) {
      if (message.index > this.#log.lastIndex()) {
        throw broken(`${message.index} would be acknowledged, the log ends before it`);
      }
    } else if (message.type === 'vote-reply' && message.granted) {
      if (this.#vote !== message.to) throw broken(`a vote for ${message.to} is not to be stored`);
    }
  }

  #checkTerm({ type, term }: Message): void {
    // Pre-votes speak of a term that nobody is in yet.
    if (type === 'pre-vote' || type === 'pre-vote-reply') return;
    if (term > this.#term) throw broken(`a ${type} of term ${term}, stored is ${this.#term}`);
  }

  /** Rule 2: one piece of log without gaps, which replaces nothing that may have been applied. */
  #checkEntries({ entries, snapshot }: Ready): void {
    const first = entries[0];
    if (first === undefined) return;
    if (first.index <= this.#handedOut) {
      throw broken(`entry ${first.index} is written again after it was handed out`);
    }
    if (snapshot !== undefined && first.index !== snapshot.index + 1) {
      throw broken(`entry ${first.index} does not follow the snapshot at ${snapshot.index}`);
    }
    this.#checkRun(entries, first.index, this.#log.lastIndex());
  }

  /** Rule 5: in order, each once, committed, and durable here. */
  #checkCommitted({ committedEntries, snapshot }: Ready): void {
    if (snapshot !== undefined) this.#handedOut = snapshot.index;
    const last = this.#handedOut + committedEntries.length;
    if (committedEntries.length === 0) return;
    if (last > Math.min(this.#commit, this.#log.stableIndex())) {
      throw broken(`entry ${last} would be applied before it is committed and durable`);
    }
    this.#checkRun(committedEntries, this.#handedOut + 1, last);
    this.#handedOut = last;
  }

  #checkRun(entries: readonly Entry[], first: number, last: number): void {
    let index = first;
    let term = 0;
    for (const entry of entries) {
      if (entry.index !== index++ || entry.term < term || entry.term > this.#term) {
        throw broken(`entry ${entry.index} of term ${entry.term} is out of place`);
      }
      term = entry.term;
    }
    if (index !== last + 1) throw broken(`entries end at ${index - 1} and not at ${last}`);
  }
}
