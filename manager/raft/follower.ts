import type { RaftLog } from './log.ts';
import type { Membership } from './membership.ts';
import type { LogAnswer, Messenger } from './messenger.ts';
import type { AppendRequest, Heartbeat, SnapshotMeta, SnapshotRequest } from './types.ts';

/** To a leader of an older term: what counts is the newer term in the envelope. */
export const OLD_TERM: LogAnswer = { index: 0, rejected: true, hintIndex: 0, hintTerm: 0 };

function accepted(index: number): LogAnswer {
  return { index, rejected: false, hintIndex: 0, hintTerm: 0 };
}

/** What a follower does with its leader's messages. They are of the present term. */
export class Follower {
  readonly #log: RaftLog;
  readonly #membership: Membership;
  readonly #messenger: Messenger;

  constructor(log: RaftLog, membership: Membership, messenger: Messenger) {
    this.#log = log;
    this.#membership = membership;
    this.#messenger = messenger;
  }

  onAppend(request: AppendRequest): void {
    this.#messenger.answerAppend(request.from, request.term, takeAppend(this.#log, request));
  }

  onSnapshot({ from, term, snapshot }: SnapshotRequest): void {
    const answer = takeSnapshot(this.#log, this.#membership, snapshot);
    this.#messenger.answerAppend(from, term, answer);
  }

  onHeartbeat({ from, term, commit, readSeq }: Heartbeat): void {
    this.#log.commitTo(commit);
    this.#messenger.answerHeartbeat(from, term, readSeq);
  }
}

/** A follower's side of AppendEntries (figure 2). */
function takeAppend(log: RaftLog, request: AppendRequest): LogAnswer {
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
function takeSnapshot(log: RaftLog, membership: Membership, snapshot: SnapshotMeta): LogAnswer {
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
