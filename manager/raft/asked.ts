import type { Random } from '../../shared/random.ts';
import { ForwardedProposals } from './forwarded-proposals.ts';
import type { RaftLog } from './log.ts';
import type { Output } from './output.ts';
import { ForwardedReads } from './read-index.ts';
import type {
  ForwardResult,
  ProposeReply,
  RaftId,
  RaftOptions,
  ReadDropReason,
  ReadIndexReply,
} from './types.ts';

/** Request ids start below this: room for 2^52 more before numbers lose precision. */
const ID_START_RANGE = 2 ** 52;

/** Where to ask: the leader of `term`, when one is known. */
export type LeaderKnown = Readonly<{ leader: RaftId | undefined; term: number }>;

/** What a node that does not lead has asked its leader for, and what became of it. */
export class Asked {
  readonly #id: RaftId;
  readonly #maxBytes: number;
  readonly #output: Output;
  readonly #reads: ForwardedReads;
  readonly #proposals: ForwardedProposals;

  constructor(options: RaftOptions, random: Random, output: Output) {
    this.#id = options.id;
    this.#maxBytes = options.maxMessageBytes;
    this.#output = output;
    const firstId = Math.floor(random.next() * ID_START_RANGE);
    this.#reads = new ForwardedReads(firstId, options.maxPendingReads, options.electionTicks);
    this.#proposals = new ForwardedProposals(firstId, options);
  }

  tick(): void {
    for (const context of this.#reads.tick()) this.#output.dropRead(context, 'timed-out');
    this.#proposals.tick(this.#output);
  }

  read(context: number, { leader, term }: LeaderKnown): ReadDropReason | undefined {
    if (leader === undefined) return 'no-leader';
    const requestId = this.#reads.add(context);
    if (requestId === undefined) return 'too-many';
    this.#output.send({ type: 'read-index', from: this.#id, to: leader, term, requestId });
    return undefined;
  }

  onReadReply({ requestId, index }: ReadIndexReply): void {
    const context = this.#reads.take(requestId);
    if (context !== undefined) this.#output.answerRead(context, index);
  }

  propose(data: readonly Uint8Array[], { leader, term }: LeaderKnown): ForwardResult {
    if (leader === undefined) return { kind: 'dropped', reason: 'no-leader' };
    if (data.length > 1 && this.#tooLarge(data)) return { kind: 'dropped', reason: 'too-large' };
    const requestId = this.#proposals.add();
    if (requestId === undefined) return { kind: 'dropped', reason: 'too-many' };
    this.#output.send({ type: 'propose', from: this.#id, to: leader, term, requestId, data });
    return { kind: 'sent', requestId };
  }

  #tooLarge(data: readonly Uint8Array[]): boolean {
    let bytes = 0;
    for (const payload of data) bytes += payload.length;
    return bytes > this.#maxBytes;
  }

  onProposeReply(reply: ProposeReply): void {
    this.#proposals.onReply(reply, this.#output);
  }

  /** Entries up to `index` are handed out for applying. */
  handedOut(index: number, log: RaftLog): void {
    this.#proposals.handedOut(index, log, this.#output);
  }

  /** Nobody will answer any more what was asked of the old one. */
  leaderChanged(): void {
    for (const context of this.#reads.drain()) this.#output.dropRead(context, 'leader-changed');
    this.#proposals.leaderChanged(this.#output);
  }
}
