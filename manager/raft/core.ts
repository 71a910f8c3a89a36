import type { Random } from '../../shared/random.ts';
import type { LogView } from './durable-log.ts';
import { broken } from './invariant.ts';
import { RaftLog } from './log.ts';
import { Membership } from './membership.ts';
import { Output } from './output.ts';
import { ReadyContract } from './ready-contract.ts';
import { Roles } from './roles.ts';
import type {
  ConfState,
  ConfTransition,
  Entry,
  ForwardResult,
  HardState,
  Message,
  ProposeResult,
  Raft,
  RaftId,
  RaftOptions,
  RaftStatus,
  Ready,
  SnapshotMeta,
  SoftState,
  TransferResult,
} from './types.ts';

export type RaftStart = Readonly<{
  options: RaftOptions;
  random: Random;
  /** Holds what `DurableLog.load` gave. */
  log: LogView;
  hardState: HardState;
  /** Configuration as of `applied`: that of the snapshot which the state was restored from. */
  confState: ConfState;
  /** Up to where the state machine is; 0 for a node without any state. */
  applied: number;
}>;

/** What the outstanding `Ready` carries to disk. */
type Outstanding = Readonly<{
  lastIndex: number;
  lastTerm: number;
  hasEntries: boolean;
  snapshot: SnapshotMeta | undefined;
  /** Term in which this node voted for itself, when that vote is in this `Ready`. */
  ownVoteTerm: number | undefined;
}>;

/**
 * One member's consensus: Raft with pre-vote, check of the quorum, learners, ReadIndex and leadership
 * transfer (Ongaro's dissertation, chapters 3, 4, 6 and 9). It decides and never does: what is to be
 * done comes out of `ready()`, whose documentation states the order that must be kept.
 *
 * Here are `Ready` and the order around it. Terms, roles and messages are in `Roles`, what only a
 * leader has in `Leadership`, the entries in `RaftLog`.
 */
export class RaftCore implements Raft {
  readonly #id: RaftId;
  readonly #options: RaftOptions;
  readonly #log: RaftLog;
  readonly #membership: Membership;
  readonly #output = new Output();
  readonly #roles: Roles;
  readonly #contract: ReadyContract;
  #outstanding: Outstanding | undefined;
  #lastSoft: SoftState;
  #lastHard: HardState;

  constructor(start: RaftStart) {
    const { options, hardState } = start;
    checkOptions(options);
    this.#id = options.id;
    this.#options = options;
    this.#log = new RaftLog(start.log, hardState.commit, start.applied);
    this.#membership = new Membership(options.id, start.confState, start.applied);
    this.#roles = new Roles(
      options,
      start.random,
      hardState,
      this.#log,
      this.#membership,
      this.#output,
    );
    this.#lastSoft = { role: 'follower', leader: undefined, term: hardState.term };
    this.#lastHard = hardState;
    this.#contract = new ReadyContract(this.#log, hardState, start.applied);
    if (this.#log.lastTerm() > hardState.term) {
      throw broken(
        `the log ends in term ${this.#log.lastTerm()}, after the stored term ${hardState.term}`,
      );
    }
  }

  tick(): void {
    this.#roles.tick();
  }

  campaign(): void {
    this.#roles.campaign();
  }

  step(message: Message): void {
    this.#roles.step(message);
  }

  readIndex(context: number): void {
    this.#roles.readIndex(context);
  }

  forgetLeader(): void {
    this.#roles.forgetLeader();
  }

  stalled(): void {
    this.#roles.leadership?.stalled();
  }

  // ------------------------------------------------------------------------- the leader's own face

  propose(data: readonly Uint8Array[]): ProposeResult {
    return this.#roles.leadership?.propose(data) ?? { kind: 'dropped', reason: 'not-leader' };
  }

  proposeConfChange(change: ConfTransition): ProposeResult {
    return (
      this.#roles.leadership?.proposeConfChange(change) ?? { kind: 'dropped', reason: 'not-leader' }
    );
  }

  forwardProposal(data: readonly Uint8Array[]): ForwardResult {
    return this.#roles.forwardProposal(data);
  }

  transferLeadership(to: RaftId): TransferResult {
    return this.#roles.leadership?.transfer(to) ?? { kind: 'refused', reason: 'not-leader' };
  }

  reportUnreachable(id: RaftId): void {
    this.#roles.leadership?.reportUnreachable(id);
  }

  reportSnapshot(id: RaftId, ok: boolean): void {
    this.#roles.leadership?.reportSnapshot(id, ok);
  }

  // -------------------------------------------------------------------------------------- applying

  applyConfChange(entry: Entry): ConfState {
    if (this.#membership.apply(entry)) this.#roles.membersChanged();
    return this.#membership.conf;
  }

  applied(index: number): void {
    this.#membership.checkApplied(index);
    this.#log.appliedTo(index);
  }

  // -------------------------------------------------------------------------------------- Ready

  hasReady(): boolean {
    if (this.#outstanding !== undefined) return false;
    return (
      !this.#output.isEmpty() ||
      this.#log.hasUnstable() ||
      this.#log.hasCommittedToHandOut(this.#options.maxApplyingBytes) ||
      this.#hardChanged() ||
      this.#softChanged() ||
      (this.#roles.leadership?.needsFlush() ?? false)
    );
  }

  ready(): Ready {
    if (this.#outstanding !== undefined) throw broken('ready() before advance() of the last one');
    this.#roles.leadership?.flush();
    const softState = this.#softChanged() ? this.#soft() : undefined;
    const votesMoved = this.#votesMoved();
    const hardState = this.#hardChanged() ? this.#hard() : undefined;
    if (softState !== undefined) this.#lastSoft = softState;
    if (hardState !== undefined) this.#lastHard = hardState;

    const entries = this.#log.unstableEntries();
    const snapshot = this.#log.unstableSnapshot();
    const committedEntries = this.#log.handOutCommitted(this.#options.maxApplyingBytes);
    this.#membership.handedOut(committedEntries);
    this.#roles.leadership?.handedOut(committedEntries);
    if (committedEntries.length > 0) this.#roles.handedOut(this.#log.applying);

    this.#outstanding = {
      lastIndex: this.#log.lastIndex(),
      lastTerm: this.#log.lastTerm(),
      hasEntries: entries.length > 0,
      snapshot,
      ownVoteTerm: this.#roles.takeOwnVote(),
    };
    const ready = {
      softState,
      hardState,
      snapshot,
      entries,
      mustSync: votesMoved || entries.length > 0 || snapshot !== undefined,
      committedEntries,
      ...this.#output.take(),
    };
    this.#contract.check(ready);
    return ready;
  }

  advance(): void {
    const done = this.#outstanding;
    if (done === undefined) throw broken('advance() without an outstanding ready()');
    this.#outstanding = undefined;
    if (done.snapshot !== undefined) this.#log.snapshotStable(done.snapshot);
    if (done.hasEntries) this.#log.stableTo(done.lastIndex, done.lastTerm);
    this.#roles.leadership?.persisted();
    if (done.ownVoteTerm !== undefined) this.#roles.ownVotePersisted(done.ownVoteTerm);
  }

  status(): RaftStatus {
    return {
      id: this.#id,
      role: this.#roles.role,
      term: this.#roles.term,
      vote: this.#roles.vote,
      leader: this.#roles.leader,
      ticksSinceLeader: this.#roles.ticksSinceLeader,
      commit: this.#log.commit,
      applied: this.#log.applied,
      firstIndex: this.#log.firstIndex(),
      lastIndex: this.#log.lastIndex(),
      confState: this.#membership.conf,
      transferringTo: this.#roles.leadership?.transferee,
      progress: this.#roles.leadership?.view() ?? [],
    };
  }

  #soft(): SoftState {
    const { role, leader, term } = this.#roles;
    return { role, leader, term };
  }

  #softChanged(): boolean {
    const { role, leader, term } = this.#lastSoft;
    const now = this.#roles;
    return role !== now.role || leader !== now.leader || term !== now.term;
  }

  #hard(): HardState {
    const { term, vote } = this.#roles;
    return { term, vote, commit: this.#log.commit };
  }

  #votesMoved(): boolean {
    return this.#roles.term !== this.#lastHard.term || this.#roles.vote !== this.#lastHard.vote;
  }

  #hardChanged(): boolean {
    return this.#votesMoved() || this.#lastHard.commit !== this.#log.commit;
  }
}

function checkOptions(options: RaftOptions): void {
  const { electionTicks, heartbeatTicks } = options;
  if (heartbeatTicks < 1 || electionTicks <= heartbeatTicks) {
    throw new RangeError(`electionTicks must be above heartbeatTicks, and that at least 1`);
  }
  if (options.readMode === 'lease' && !options.checkQuorum) {
    throw new RangeError(`readMode 'lease' needs checkQuorum: else no follower keeps the lease`);
  }
}
