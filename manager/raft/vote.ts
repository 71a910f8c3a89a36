import type { RaftId, VoteRequest } from './types.ts';

/** What a voter knows when a request for its vote (or pre-vote) arrives. */
export type Voter = Readonly<{
  term: number;
  vote: RaftId | undefined;
  leader: RaftId | undefined;
  /** A leader was heard less than an election timeout ago, and leaders check their quorum. */
  inLease: boolean;
  /** The candidate's log has all that this voter's log has (5.4.1). */
  upToDate: boolean;
}>;
/** `ignore`: no answer and no change of term, as if the request had been lost. */
export type Verdict = 'grant' | 'refuse' | 'ignore';

/**
 * - A vote is for one candidate a term; the same one gets it again, as the first answer may be lost.
 * - Learners judge by the same rules: they may be voters already and not know it yet.
 * - While a leader is heard, requests from above are ignored (4.2.3), so that a member that was cut
 *   off or removed cannot unseat it; only a campaign which that leader ordered gets through.
 * - A pre-vote binds to nothing: it may be granted to several candidates of the same term (9.6).
 */
export function judgeVote(voter: Voter, request: VoteRequest): Verdict {
  const above = request.term > voter.term;
  if (above && voter.inLease && !request.transfer) return 'ignore';
  // A candidate left behind must learn the term, or it would ask in vain for ever.
  if (request.term < voter.term) return 'refuse';
  const free =
    above ||
    voter.vote === request.from ||
    (voter.vote === undefined && voter.leader === undefined);
  return free && voter.upToDate ? 'grant' : 'refuse';
}
