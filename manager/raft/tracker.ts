import { members } from './conf-change.ts';
import type { RaftLog } from './log.ts';
import { Progress, SEND_ALWAYS, type SEND_NEWS } from './progress.ts';
import { voteResult } from './quorum.ts';
import type { ConfState, ProgressView, RaftId, RaftOptions } from './types.ts';

/** How far each member is, as its leader knows; this node itself among them. */
export class Tracker {
  readonly #own: RaftId;
  readonly #options: RaftOptions;
  readonly #log: RaftLog;
  readonly #progress = new Map<RaftId, Progress>();
  /** For quorumReached(). A property, so that no function is made for each question. */
  readonly matchOf = (id: RaftId): number => this.#progress.get(id)?.match ?? 0;

  constructor(options: RaftOptions, log: RaftLog) {
    this.#own = options.id;
    this.#options = options;
    this.#log = log;
  }

  get all(): ReadonlyMap<RaftId, Progress> {
    return this.#progress;
  }

  get(id: RaftId): Progress | undefined {
    return this.#progress.get(id);
  }

  /** Forgets whom the configuration does not name, but for this node, and begins with those new in it. */
  sync(conf: ConfState): void {
    const ids = members(conf);
    for (const id of this.#progress.keys()) {
      if (!ids.includes(id) && id !== this.#own) this.#progress.delete(id);
    }
    for (const id of ids) {
      if (this.#progress.has(id)) continue;
      const progress = new Progress(this.#log.lastIndex() + 1, this.#options);
      // Given one period to show itself, or the next check of the quorum would count it as gone.
      progress.recentActive = true;
      if (id !== this.#own) progress.want(SEND_ALWAYS);
      this.#progress.set(id, progress);
    }
  }

  wantAll(send: typeof SEND_NEWS | typeof SEND_ALWAYS): void {
    for (const [id, progress] of this.#progress) if (id !== this.#own) progress.want(send);
  }

  /** Since it was asked last. In a joint configuration, from a quorum of both halves. */
  heardFromQuorum(conf: ConfState): boolean {
    const active = new Map<RaftId, boolean>();
    for (const [id, progress] of this.#progress) {
      active.set(id, id === this.#own || progress.recentActive);
      progress.recentActive = false;
    }
    return voteResult(conf, active) === 'won';
  }

  view(conf: ConfState): readonly ProgressView[] {
    return [...this.#progress].map(([id, progress]) => progress.view(id, conf, id === this.#own));
  }
}
