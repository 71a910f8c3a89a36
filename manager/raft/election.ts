import { type Random, randomInt } from '../../shared/random.ts';
import { type VoteResult, voteResult } from './quorum.ts';
import type { ConfState, RaftId } from './types.ts';

/** One node's election timer and, while it stands, its count of votes. */
export class Election {
  readonly #electionTicks: number;
  readonly #random: Random;
  readonly #votes = new Map<RaftId, boolean>();
  #elapsed = 0;
  #timeout: number;

  constructor(electionTicks: number, random: Random) {
    this.#electionTicks = electionTicks;
    this.#random = random;
    this.#timeout = this.#draw();
  }

  /** Ticks since a leader was heard, a vote was given, or a campaign began. */
  get elapsed(): number {
    return this.#elapsed;
  }

  tick(): void {
    this.#elapsed++;
  }

  isDue(): boolean {
    return this.#elapsed >= this.#timeout;
  }

  /** A leader heard in this time makes a voter refuse others, see judgeVote. */
  withinShortestTimeout(): boolean {
    return this.#elapsed < this.#electionTicks;
  }

  restart(): void {
    this.#elapsed = 0;
  }

  /** Drawn anew for each term and campaign, or two candidates in step would split votes for ever. */
  redraw(): void {
    this.#timeout = this.#draw();
  }

  clearVotes(): void {
    this.#votes.clear();
  }

  /** The first answer of a member stands: repeated ones may come of an older campaign. */
  record(id: RaftId, granted: boolean, conf: ConfState): VoteResult {
    if (!this.#votes.has(id)) this.#votes.set(id, granted);
    return voteResult(conf, this.#votes);
  }

  #draw(): number {
    return randomInt(this.#random, this.#electionTicks, 2 * this.#electionTicks);
  }
}
