import type { RaftLog } from './log.ts';
import type { Membership } from './membership.ts';
import type { AppendReply, AppendRequest, SnapshotMeta } from './types.ts';

/** What a follower says of its log; the envelope is the caller's. */
export type LogAnswer = Pick<AppendReply, 'index' | 'rejected' | 'hintIndex' | 'hintTerm'>;

/** To a leader of an older term: what counts is the newer term in the envelope. */
export const OLD_TERM: LogAnswer = { index: 0, rejected: true, hintIndex: 0, hintTerm: 0 };

function accepted(index: number): LogAnswer {
  return { index, rejected: false, hintIndex: 0, hintTerm: 0 };
}

/** A follower's side of AppendEntries (figure 2). */
export function takeAppend(log: RaftLog, request: AppendRequest): LogAnswer {
  const { prevIndex, prevTerm, commit, entries } = request;
  // Overtaken: what it carries is committed here, so nothing in it can be news or differ.
  if (prevIndex < log.commit) return accepted(log.commit);
  const agreed = log.tryAppend(prevIndex, prevTerm, entries);
  if (agreed !== undefined) {
    // Not further than this append reached: what the log holds beyond may be another leader's.
    log.commitTo(Math.min(commit, agreed));
    return accepted(agreed);
  }
  const hint = log.findConflict(Math.min(prevIndex, log.lastIndex()), prevTerm);
  return { index: prevIndex, rejected: true, hintIndex: hint.index, hintTerm: hint.term };
}

/** A snapshot that the leader sent because its own log no longer reaches back far enough. */
export function takeSnapshot(
  log: RaftLog,
  membership: Membership,
  snapshot: SnapshotMeta,
): LogAnswer {
  const { index, term } = snapshot;
  if (index <= log.commit || !membership.accepts(snapshot)) return accepted(log.commit);
  if (log.matches(index, term)) {
    // The log reaches that far already: committing it is cheaper than starting over.
    log.commitTo(index);
    return accepted(index);
  }
  log.restore(snapshot);
  membership.restore(snapshot);
  return accepted(index);
}
