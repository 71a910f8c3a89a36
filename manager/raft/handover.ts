import { isVoter } from './conf-change.ts';
import type { ConfState, RaftId, RaftOptions, TransferResult } from './types.ts';

/**
 * To whom a leader is handing its leadership, if to anybody (dissertation 3.10). While it lasts no
 * proposal is taken, so it lasts an election timeout at most.
 */
export class Handover {
  readonly #options: RaftOptions;
  #to: RaftId | undefined;
  #ticks = 0;

  constructor(options: RaftOptions) {
    this.#options = options;
  }

  get to(): RaftId | undefined {
    return this.#to;
  }

  start(to: RaftId, conf: ConfState): TransferResult {
    if (to === this.#options.id) return { kind: 'refused', reason: 'is-self' };
    if (!isVoter(conf, to)) return { kind: 'refused', reason: 'not-a-voter' };
    if (to === this.#to) return { kind: 'refused', reason: 'already' };
    this.#to = to;
    this.#ticks = 0;
    return { kind: 'started' };
  }

  tick(): void {
    if (this.#to === undefined || ++this.#ticks < this.#options.electionTicks) return;
    this.#to = undefined; // it did not take over in time: proposals work again
  }

  /** Removed or demoted, it can not take over any more. */
  setConf(conf: ConfState): void {
    if (this.#to !== undefined && !isVoter(conf, this.#to)) this.#to = undefined;
  }
}
