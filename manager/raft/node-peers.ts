import type { RaftMember } from '../../shared/gen/shoal/v1/peer.ts';
import { neededFrom } from './compaction.ts';
import { isMember } from './conf-change.ts';
import type { RaftCore } from './core.ts';
import { idOf, type MemberBook, reachable } from './members.ts';
import type { MemoryLog } from './memory-log.ts';
import type { PeerTransport } from './ports.ts';
import type { Entry, RaftId } from './types.ts';

export type PeersPorts = Readonly<{
  id: RaftId;
  raft: RaftCore;
  view: MemoryLog;
  book: MemberBook;
  transport: PeerTransport;
  /** Whom the leader named when this member was added. */
  joinedWith: readonly RaftMember[];
  electionTicks: number;
}>;

/** Whom this member has links to, and from whom it heard lately. */
export class NodePeers {
  readonly #ports: PeersPorts;
  readonly #heardTick = new Map<RaftId, number>();
  #ticks = 0;

  constructor(ports: PeersPorts) {
    this.#ports = ports;
  }

  tick(): void {
    this.#ticks++;
  }

  heard(from: RaftId): void {
    this.#heardTick.set(from, this.#ticks);
  }

  /** Heard from within an election timeout. */
  isActive(id: RaftId): boolean {
    const heard = this.#heardTick.get(id);
    return heard !== undefined && this.#ticks - heard <= this.#ports.electionTicks;
  }

  /** The first entry of the log that a member in reach is about to need; known to the leader only. */
  neededFrom(): number | undefined {
    const { id: self, raft, view } = this.#ports;
    const others = raft.status().progress.filter(({ id }) => id !== self);
    return neededFrom(others, (id) => this.isActive(id), view.firstIndex());
  }

  /** Links follow changes of members from when they are in the log, not from when they are applied. */
  update(): void {
    const { raft, view } = this.#ports;
    const { commit, lastIndex } = raft.status();
    const from = Math.max(commit + 1, view.firstIndex());
    const last = Math.min(lastIndex, view.lastIndex());
    this.link(from > last ? [] : view.entries(from, last + 1, Number.POSITIVE_INFINITY));
  }

  /** As `update`; `tail`: the entries that are not committed, for a member that is only starting. */
  link(tail: Iterable<Entry>): void {
    this.#ports.transport.setPeers(this.#reachable(tail));
  }

  /**
   * A newcomer also reaches those whom the leader named when it was added: the snapshot it is sent
   * first may be older than they are, and then its answers would find no way to them.
   */
  #reachable(tail: Iterable<Entry>): Map<RaftId, RaftMember> {
    const { id: self, raft, book, joinedWith } = this.#ports;
    const known = reachable(book, tail);
    if (isMember(raft.status().confState, self)) return known;
    for (const member of joinedWith) {
      const id = idOf(member);
      if (!known.has(id) && !book.wasRemoved(id)) known.set(id, member);
    }
    return known;
  }
}
