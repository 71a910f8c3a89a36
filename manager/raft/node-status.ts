import { idOf, type MemberBook } from './members.ts';
import type { NodeStatus } from './protocol.ts';
import type { RaftId, RaftStatus } from './types.ts';

export type StatusInput = Readonly<{
  raft: RaftStatus;
  book: MemberBook;
  /** Heard from within an election timeout; known to the leader of everyone. */
  isActive: (id: RaftId) => boolean;
  leaderFromIndex: number | undefined;
  tickMs: number;
  removed: boolean;
  /** Stands still for want of room: it leads nobody, and follows nobody. */
  parked: boolean;
}>;

/** What the client is told of this member, and of the others as far as it knows. */
export function statusOf({ raft, book, isActive, ...rest }: StatusInput): NodeStatus {
  const progress = new Map(raft.progress.map((view) => [view.id, view]));
  const leads = raft.role === 'leader' && !rest.parked;
  return {
    raftId: raft.id,
    role: rest.parked ? 'follower' : raft.role,
    term: raft.term,
    leader: rest.parked ? undefined : raft.leader,
    leaderFromIndex: leads ? rest.leaderFromIndex : undefined,
    commitIndex: raft.commit,
    leaderSilentMs: raft.leader === undefined ? undefined : raft.ticksSinceLeader * rest.tickMs,
    members: book.of(raft.confState).map((member) => {
      const id = idOf(member);
      const own = id === raft.id;
      return {
        member,
        learner: raft.confState.learners.includes(id),
        active: own || (leads ? isActive(id) : id === raft.leader),
        matchIndex: own ? raft.lastIndex : (progress.get(id)?.match ?? 0),
      };
    }),
    removed: rest.removed,
    ...(rest.parked ? { withoutRoom: true as const } : {}),
  };
}
