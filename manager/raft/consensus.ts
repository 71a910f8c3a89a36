import type { RaftMember } from '../../shared/gen/shoal/v1/peer.ts';

/** What the rest of the manager sees of consensus. The core, log and peer links run in a worker. */
export interface Consensus {
  status(): ConsensusStatus;
  /**
   * Appends one entry. Resolves with its index after it is committed and handed to the state machine.
   * Throws NotLeaderError or ShoalError `resource-exhausted` when it was not appended, and
   * `unknown-outcome` when leadership was lost after it was.
   */
  propose(data: Uint8Array, signal?: AbortSignal): Promise<number>;
  /**
   * Resolves once this replica has applied everything that was committed when the call came: what is
   * read then is linearizable. Throws ShoalError `unavailable` when no leader answers in time.
   */
  readBarrier(signal?: AbortSignal): Promise<number>;
  /**
   * Leader only. The new member is a learner until it has caught up, then it is promoted by itself. One that is a
   * member already keeps its place; its addresses are those given.
   */
  addMember(member: RaftMember, signal?: AbortSignal): Promise<void>;
  /** Leader only. Refused (`failed-precondition`) when the members left could not form a quorum. */
  removeMember(raftId: string, signal?: AbortSignal): Promise<void>;
  /** Hands leadership to `raftId`, or to the member most up to date. */
  transferLeadership(raftId?: string, signal?: AbortSignal): Promise<void>;
  /** Called with the last state first, then at each change; no change is lost, the last is always told. */
  onStatus(listener: (status: ConsensusStatus) => void): () => void;
  close(): Promise<void>;
}

export type ConsensusStatus = Readonly<{
  raftId: string;
  term: number;
  /** True from the moment the first entry of this term is applied here: then the store is up to date. */
  isLeader: boolean;
  leaderRaftId: string | undefined;
  members: readonly MemberStatus[];
  appliedIndex: number;
  commitIndex: number;
  /** When the leader was heard last, monotonic milliseconds; now, on the leader. */
  leaderHeardAtMs: number;
  /** Set once this member was removed from the group: it must not come back under this raft id. */
  removed?: true;
  /** Set while the disk of this member is full: it takes no part, so that it knows of no leader. */
  withoutRoom?: true;
}>;

export type MemberStatus = Readonly<{
  member: RaftMember;
  learner: boolean;
  /** Known to the leader only; followers say true of the leader and of themselves. */
  active: boolean;
  matchIndex: number;
}>;

/** The state machine behind consensus. Calls come one at a time, in log order. */
export interface StateMachine {
  apply(index: number, data: Uint8Array): void;
  /** State as of the last applied entry, in chunks below 1 MiB; encoded lazily, must not see later changes. */
  snapshot(): Iterable<Uint8Array>;
  restore(index: number, chunks: readonly Uint8Array[]): void;
}
