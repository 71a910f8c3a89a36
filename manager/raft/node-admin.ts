import type { RaftMember } from '../../shared/gen/shoal/v1/peer.ts';
import { hasCaughtUp } from './caught-up.ts';
import { isMember } from './conf-change.ts';
import { isAddress } from './frames.ts';
import { encodeMember, idOf, type MemberBook } from './members.ts';
import type { FromNode, PlainError } from './protocol.ts';
import type { ConfChange, Entry, Raft, RaftId, RaftStatus } from './types.ts';

/** An order that cannot be carried out yet (another change is under way) is tried this long. */
const PATIENCE_TICKS = 50;
const NO_CONTEXT = new Uint8Array(0);

type Order =
  | Readonly<{ kind: 'add'; id: number; raftId: RaftId; member: RaftMember }>
  | Readonly<{ kind: 'remove'; id: number; raftId: RaftId }>;
type Waiting = { order: Order; ticks: number };
type Proposed = Readonly<{ order: Order | undefined; index: number; term: number }>;
type Transfer = { id: number; ticks: number };

export type AdminPorts = Readonly<{
  raft: Raft;
  book: MemberBook;
  post: (event: FromNode) => void;
  notLeader: () => PlainError;
  isActive: (id: RaftId) => boolean;
  electionTicks: number;
}>;

/** Changes of members and of the leader, as operators order them, and promotion of learners. */
export class NodeAdmin {
  readonly #ports: AdminPorts;
  #waiting: Waiting[] = [];
  #proposed: Proposed | undefined;
  #transfers: Transfer[] = [];
  constructor(ports: AdminPorts) {
    this.#ports = ports;
  }

  add(id: number, member: RaftMember): void {
    this.#try({ order: { kind: 'add', id, raftId: idOf(member), member }, ticks: PATIENCE_TICKS });
  }

  remove(id: number, raftId: RaftId): void {
    this.#try({ order: { kind: 'remove', id, raftId }, ticks: PATIENCE_TICKS });
  }

  transfer(id: number, to: RaftId | undefined): void {
    const { raft, electionTicks } = this.#ports;
    const status = raft.status();
    if (status.role !== 'leader') {
      this.#fail(id, this.#ports.notLeader());
      return;
    }
    const target = to ?? this.#mostUpToDate(status);
    if (target === undefined) {
      this.#fail(id, refused('no other voting member can be reached'));
      return;
    }
    const result = raft.transferLeadership(target);
    if (result.kind === 'started' || result.reason === 'already') {
      this.#transfers.push({ id, ticks: 2 * electionTicks });
    } else if (result.reason === 'is-self') this.#ports.post({ kind: 'done', id });
    else this.#fail(id, refused(`${target} is not a voting member`));
  }

  /** Another member leads, or nobody; or this one does in a new term. */
  roleChanged(): void {
    const status = this.#ports.raft.status();
    const proposed = this.#proposed;
    if (proposed !== undefined && (status.role !== 'leader' || status.term !== proposed.term)) {
      this.#proposed = undefined;
      if (proposed.order !== undefined) {
        this.#fail(proposed.order.id, {
          code: 'unknown-outcome',
          message: 'leadership was lost before the change of members was committed',
          leader: undefined,
        });
      }
    }
    if (status.role === 'leader') return;
    for (const { order } of this.#waiting.splice(0)) {
      this.#fail(order.id, this.#ports.notLeader());
    }
    if (status.leader === undefined) return;
    for (const { id } of this.#transfers.splice(0)) this.#ports.post({ kind: 'done', id });
  }

  /** A change of members was applied. */
  applied(entry: Entry): void {
    const proposed = this.#proposed;
    if (proposed === undefined || proposed.index !== entry.index) return;
    this.#proposed = undefined;
    if (proposed.order !== undefined) this.#ports.post({ kind: 'done', id: proposed.order.id });
  }

  tick(): void {
    for (const waiting of this.#waiting.splice(0)) this.#try(waiting);
    for (const transfer of this.#transfers.splice(0)) {
      if (--transfer.ticks > 0) this.#transfers.push(transfer);
      else {
        this.#fail(transfer.id, {
          code: 'unavailable',
          message: 'the other member did not take over in time; this one may still lead: try again',
          leader: undefined,
        });
      }
    }
    this.#promote();
  }

  // ----------------------------------------------------------------------------------- members

  #try(waiting: Waiting): void {
    const { raft, notLeader } = this.#ports;
    const { order } = waiting;
    const status = raft.status();
    if (status.role !== 'leader') {
      this.#fail(order.id, notLeader());
      return;
    }
    const isThere = isMember(status.confState, order.raftId);
    if (order.kind === 'remove' ? !isThere : isThere && !this.#hasMoved(order)) {
      this.#ports.post({ kind: 'done', id: order.id }); // as it is already
      return;
    }
    const refusal = order.kind === 'add' ? this.#mayAdd(order) : this.#mayRemove(order, status);
    if (refusal !== undefined) {
      this.#fail(order.id, refused(refusal));
      return;
    }
    const isVoter = status.confState.voters.includes(order.raftId);
    const change: ConfChange =
      order.kind === 'add'
        ? {
            kind: isVoter ? 'add-voter' : 'add-learner',
            id: order.raftId,
            context: encodeMember(order.member),
          }
        : { kind: 'remove', id: order.raftId, context: NO_CONTEXT };
    const result = this.#proposed === undefined ? raft.proposeConfChange(change) : undefined;
    if (result?.kind === 'accepted') {
      this.#proposed = { order, index: result.first, term: result.term };
    } else if (result?.reason === 'invalid-conf-change') {
      this.#fail(order.id, refused('the change would leave no voting member'));
    } else if (--waiting.ticks > 0) this.#waiting.push(waiting);
    else {
      this.#fail(order.id, {
        code: 'unavailable',
        message: `another change is under way (${result?.reason ?? 'of members'}): try again`,
        leader: undefined,
      });
    }
  }

  #hasMoved({ raftId, member }: Order & { kind: 'add' }): boolean {
    const known = this.#ports.book.get(raftId);
    return known?.address !== member.address || known.raftAddress !== member.raftAddress;
  }

  #mayAdd(order: Order & { kind: 'add' }): string | undefined {
    if (this.#ports.book.wasRemoved(order.raftId)) {
      return `${order.raftId} was a member and has been removed: it must join under a new id`;
    }
    return isAddress(order.member.raftAddress)
      ? undefined
      : `raft_address: "${order.member.raftAddress}" is not host:port`;
  }

  /** Those who are left must be able to go on: a majority of them has been heard from lately. */
  #mayRemove(order: Order, status: RaftStatus): string | undefined {
    const { voters } = status.confState;
    if (!voters.includes(order.raftId)) return undefined;
    if (order.raftId === status.id) {
      return voters.length > 1
        ? 'the leader cannot be removed: hand over leadership first'
        : 'the last manager cannot be removed';
    }
    const left = voters.filter((id) => id !== order.raftId);
    const active = left.filter((id) => id === status.id || this.#ports.isActive(id));
    const quorum = Math.floor(left.length / 2) + 1;
    return active.length >= quorum
      ? undefined
      : `only ${active.length} of the ${left.length} managers left can be reached, ${quorum} are needed`;
  }

  #promote(): void {
    const { raft, book, isActive } = this.#ports;
    if (this.#proposed !== undefined) return;
    const status = raft.status();
    if (status.role !== 'leader' || status.confState.learners.length === 0) return;
    const ready = status.progress.find(
      ({ id, learner, state, match }) =>
        learner && state === 'replicate' && isActive(id) && hasCaughtUp(match, status.lastIndex),
    );
    const member = ready === undefined ? undefined : book.get(ready.id);
    if (ready === undefined || member === undefined) return;
    const context = encodeMember(member);
    const result = raft.proposeConfChange({ kind: 'add-voter', id: ready.id, context });
    // Dropped: there will be another tick.
    if (result.kind !== 'accepted') return;
    this.#proposed = { order: undefined, index: result.first, term: result.term };
  }

  #mostUpToDate(status: RaftStatus): RaftId | undefined {
    const candidates = status.progress.filter(
      ({ id, learner }) => id !== status.id && !learner && this.#ports.isActive(id),
    );
    return candidates.sort((a, b) => b.match - a.match || (a.id < b.id ? -1 : 1))[0]?.id;
  }

  #fail(id: number, error: PlainError): void {
    this.#ports.post({ kind: 'failed', firstId: id, count: 1, error });
  }
}

function refused(message: string): PlainError {
  return { code: 'failed-precondition', message, leader: undefined };
}
