import type { Random } from '../../shared/random.ts';
import { Asked, type LeaderKnown } from './asked.ts';
import { SeenRequests } from './forwarded-proposals.ts';
import type { Leadership } from './leadership.ts';
import type { Messenger } from './messenger.ts';
import type { Output } from './output.ts';
import type {
  ForwardResult,
  ProposeRequest,
  ProposeResult,
  RaftId,
  RaftOptions,
  ReadIndexRequest,
} from './types.ts';

/** Who leads, as this node knows it: itself, another, or nobody. */
type Leading = LeaderKnown & Readonly<{ leadership: Leadership | undefined }>;

/** Reads and proposals: answered by this node while it leads, asked of the leader while it does not. */
export class Requests {
  readonly asked: Asked;
  readonly #id: RaftId;
  readonly #output: Output;
  readonly #messenger: Messenger;
  readonly #seen: SeenRequests;

  constructor(options: RaftOptions, random: Random, output: Output, messenger: Messenger) {
    this.asked = new Asked(options, random, output);
    this.#id = options.id;
    this.#output = output;
    this.#messenger = messenger;
    this.#seen = new SeenRequests(options.maxPendingReads);
  }

  read(context: number, leading: Leading): void {
    const { leadership } = leading;
    const reason =
      leadership === undefined
        ? this.asked.read(context, leading)
        : leadership.read(this.#id, context)
          ? undefined
          : ('too-many' as const);
    if (reason !== undefined) this.#output.dropRead(context, reason);
  }

  /** One that finds no leader or no room gets no answer: the asking node's timeout tells it. */
  onRead({ from, requestId }: ReadIndexRequest, leadership: Leadership | undefined): void {
    leadership?.read(from, requestId);
  }

  forward(data: readonly Uint8Array[], leading: Leading): ForwardResult {
    if (leading.leadership !== undefined) return { kind: 'dropped', reason: 'is-leader' };
    return this.asked.propose(data, leading);
  }

  /**
   * In the term that the asking member knows, or a later one has ended it: see Roles.step(). So this
   * node led in this term, and may have appended an earlier copy of the request: whatever it can not
   * tell to be the first gets no answer, for `refused` must be certain.
   */
  onPropose({ from, requestId, data }: ProposeRequest, { leadership, term }: Leading): void {
    if (leadership !== undefined) this.#seen.ledIn(term);
    if (!this.#seen.isNew(term, from, requestId)) return;
    const result: ProposeResult = leadership?.proposeFor(from, data) ?? {
      kind: 'dropped',
      reason: 'not-leader',
    };
    this.#messenger.answerProposal(from, term, requestId, result);
  }

  /** This node leads no more: its reads, and those that others asked it for, get no answer. */
  leadershipEnded(leadership: Leadership): void {
    for (const context of leadership.drainReads()) {
      this.#output.dropRead(context, 'leader-changed');
    }
  }
}
