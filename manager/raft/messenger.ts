import type { RaftLog } from './log.ts';
import type { Output } from './output.ts';
import type {
  AppendReply,
  ConfState,
  Message,
  ProposeResult,
  RaftId,
  VoteReply,
  VoteRequest,
} from './types.ts';

/** What a follower says of its log; the envelope is the caller's. */
export type LogAnswer = Pick<AppendReply, 'index' | 'rejected' | 'hintIndex' | 'hintTerm'>;

/** Composes what a node says to others; what a leader says of its own accord is in Leadership. */
export class Messenger {
  readonly #id: RaftId;
  readonly #log: RaftLog;
  readonly #output: Output;

  constructor(id: RaftId, log: RaftLog, output: Output) {
    this.#id = id;
    this.#log = log;
    this.#output = output;
  }

  /** Of each voter once, whichever half of a joint configuration it is in. */
  requestVotes(type: VoteRequest['type'], term: number, transfer: boolean, conf: ConfState): void {
    const lastIndex = this.#log.lastIndex();
    const lastTerm = this.#log.lastTerm();
    for (const to of new Set([...conf.voters, ...conf.votersOutgoing])) {
      if (to === this.#id) continue;
      this.#output.send({ type, from: this.#id, to, term, lastIndex, lastTerm, transfer });
    }
  }

  answerVote(type: VoteReply['type'], to: RaftId, term: number, granted: boolean): void {
    const { commit } = this.#log;
    const commitTerm = this.#log.term(commit) ?? 0;
    this.#output.send({ type, from: this.#id, to, term, granted, commit, commitTerm });
  }

  answerAppend(to: RaftId, term: number, answer: LogAnswer): void {
    const { index, rejected, hintIndex, hintTerm } = answer;
    const from = this.#id;
    this.#output.send({
      type: 'append-reply',
      from,
      to,
      term,
      index,
      rejected,
      hintIndex,
      hintTerm,
    });
  }

  answerHeartbeat(to: RaftId, term: number, readSeq: number): void {
    this.#output.send({ type: 'heartbeat-reply', from: this.#id, to, term, readSeq });
  }

  answerProposal(to: RaftId, term: number, requestId: number, result: ProposeResult): void {
    this.#output.send({ type: 'propose-reply', from: this.#id, to, term, requestId, result });
  }
}

export function isVoteRequest(message: Message): message is VoteRequest {
  return message.type === 'vote' || message.type === 'pre-vote';
}

export function comesFromLeader(message: Message): boolean {
  return message.type === 'append' || message.type === 'heartbeat' || message.type === 'snapshot';
}

/** It speaks of a term that nobody is in yet, and must not bring it about. */
export function isGrantedPreVote(message: Message): boolean {
  return message.type === 'pre-vote-reply' && message.granted;
}
