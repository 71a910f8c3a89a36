import type { ConfState, RaftId } from './types.ts';

export type VoteResult = 'won' | 'lost' | 'pending';

/** Reused between calls: the highest values of one group, descending. Never outlives a call. */
const sorted: number[] = [];

/**
 * The highest value that a majority of `voters` has reached. An empty group binds nobody, so that
 * the empty half of a configuration that is not joint never holds a commit back.
 */
export function majorityReached(
  voters: readonly RaftId[],
  reachedBy: (id: RaftId) => number,
): number {
  if (voters.length === 0) return Number.POSITIVE_INFINITY;
  sorted.length = 0;
  for (const id of voters) {
    // Insertion: groups have 1 to 7 members.
    const value = reachedBy(id);
    let at = sorted.length;
    sorted.push(value);
    for (; at > 0 && (sorted[at - 1] as number) < value; at--) {
      sorted[at] = sorted[at - 1] as number;
    }
    sorted[at] = value;
  }
  return sorted[voters.length >> 1] as number;
}

/** The highest value that both halves of a configuration agree on (dissertation 4.3). */
export function quorumReached(conf: ConfState, reachedBy: (id: RaftId) => number): number {
  const incoming = majorityReached(conf.voters, reachedBy);
  if (conf.votersOutgoing.length === 0) return incoming;
  return Math.min(incoming, majorityReached(conf.votersOutgoing, reachedBy));
}

function majorityVote(voters: readonly RaftId[], votes: ReadonlyMap<RaftId, boolean>): VoteResult {
  if (voters.length === 0) return 'won';
  const needed = (voters.length >> 1) + 1;
  let granted = 0;
  let missing = 0;
  for (const id of voters) {
    const vote = votes.get(id);
    if (vote === undefined) missing++;
    else if (vote) granted++;
  }
  if (granted >= needed) return 'won';
  return granted + missing >= needed ? 'pending' : 'lost';
}

/** Outcome of an election so far. Votes of members that are not voters (any more) do not count. */
export function voteResult(conf: ConfState, votes: ReadonlyMap<RaftId, boolean>): VoteResult {
  const incoming = majorityVote(conf.voters, votes);
  if (conf.votersOutgoing.length === 0) return incoming;
  const outgoing = majorityVote(conf.votersOutgoing, votes);
  if (incoming === 'lost' || outgoing === 'lost') return 'lost';
  return incoming === 'won' && outgoing === 'won' ? 'won' : 'pending';
}
