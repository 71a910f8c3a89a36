import type { Random } from '../../shared/random.ts';
import { unreachable } from '../../shared/unreachable.ts';
import { Election } from './election.ts';
import { Follower, OLD_TERM } from './follower.ts';
import { broken } from './invariant.ts';
import { Leadership } from './leadership.ts';
import type { RaftLog } from './log.ts';
import type { Membership } from './membership.ts';
import { comesFromLeader, isGrantedPreVote, isVoteRequest, Messenger } from './messenger.ts';
import type { Output } from './output.ts';
import { Requests } from './requests.ts';
import type {
  ForwardResult,
  HardState,
  Message,
  RaftId,
  RaftOptions,
  Role,
  VoteReply,
  VoteRequest,
} from './types.ts';
import { judgeVote } from './vote.ts';

/**
 * Terms, roles and elections of one member, and what each message does to them. What only a leader
 * has is in `Leadership`; that object exists exactly while the role is `leader`.
 */
export class Roles {
  readonly #id: RaftId;
  readonly #options: RaftOptions;
  readonly #log: RaftLog;
  readonly #membership: Membership;
  readonly #output: Output;
  readonly #election: Election;
  readonly #requests: Requests;
  readonly #messenger: Messenger;
  readonly #follower: Follower;
  #term: number;
  #vote: RaftId | undefined;
  #role: Role = 'follower';
  #leader: RaftId | undefined;
  #leadership: Leadership | undefined;
  /** Set by a campaign until this node's own vote is on its way to the disk. */
  #ownVoteTerm: number | undefined;
  /** With leases: after a start nobody knows whom this node promised what, so it grants nothing so long. */
  #silentTicks: number;

  constructor(
    options: RaftOptions,
    random: Random,
    { term, vote }: HardState,
    log: RaftLog,
    membership: Membership,
    output: Output,
  ) {
    this.#id = options.id;
    this.#options = options;
    this.#log = log;
    this.#membership = membership;
    this.#output = output;
    this.#election = new Election(options.electionTicks, random);
    this.#messenger = new Messenger(options.id, log, output);
    this.#follower = new Follower(log, membership, this.#messenger);
    this.#requests = new Requests(options, random, output, this.#messenger);
    this.#term = term;
    this.#vote = vote;
    this.#silentTicks = options.readMode === 'lease' ? options.electionTicks : 0;
  }

  get term(): number {
    return this.#term;
  }
  get vote(): RaftId | undefined {
    return this.#vote;
  }
  get role(): Role {
    return this.#role;
  }
  get leader(): RaftId | undefined {
    return this.#leader;
  }
  get leadership(): Leadership | undefined {
    return this.#leadership;
  }
  get ticksSinceLeader(): number {
    return this.#leadership === undefined ? this.#election.elapsed : 0;
  }

  // ---------------------------------------------------------------------------------------- time

  tick(): void {
    if (this.#silentTicks > 0) this.#silentTicks--;
    if (this.#leadership !== undefined) {
      if (!this.#leadership.tick()) this.#becomeFollower(this.#term, undefined);
      return;
    }
    this.#requests.asked.tick();
    this.#election.tick();
    if (this.#election.isDue()) {
      this.#election.restart();
      // Also when this node may not stand: a leader that it no longer hears must not make it refuse
      // those who may, and the restarted timer would say that it was heard just now.
      this.#setLeader(undefined);
      this.#stand();
    }
  }

  forgetLeader(): void {
    if (this.#role !== 'follower' || this.#options.readMode === 'lease') return;
    this.#setLeader(undefined); // the timer runs on: nobody was heard
  }

  campaign(): void {
    const { readMode } = this.#options;
    // Another leader may be answering reads on the strength of this node's promise.
    if (readMode === 'lease' && (this.#inLease() || this.#silentTicks > 0)) return;
    this.#stand();
  }

  // ----------------------------------------------------------------------------------- elections

  /** Stands for election, if this node may. */
  #stand(): void {
    if (this.#role === 'leader' || !this.#mayStand()) return;
    if (this.#options.preVote) this.#askPreVotes();
    else this.#askVotes(false);
  }

  #mayStand(): boolean {
    return (
      this.#membership.isVoter() &&
      this.#log.unstableSnapshot() === undefined &&
      this.#membership.isCurrent(this.#log)
    );
  }

  #askPreVotes(): void {
    this.#role = 'pre-candidate';
    this.#setLeader(undefined);
    this.#beginCampaign();
    if (this.#election.record(this.#id, true, this.#membership.conf) === 'won')
      this.#askVotes(false);
    else this.#messenger.requestVotes('pre-vote', this.#term + 1, false, this.#membership.conf);
  }

  #askVotes(transfer: boolean): void {
    this.#role = 'candidate';
    this.#setTerm(this.#term + 1);
    this.#setLeader(undefined);
    this.#vote = this.#id;
    // Counted by advance(), when it is on disk. The requests also wait for that.
    this.#ownVoteTerm = this.#term;
    this.#beginCampaign();
    this.#messenger.requestVotes('vote', this.#term, transfer, this.#membership.conf);
  }

  #beginCampaign(): void {
    this.#election.restart();
    this.#election.redraw();
    this.#election.clearVotes();
  }

  #countVote(from: RaftId, granted: boolean): void {
    switch (this.#election.record(from, granted, this.#membership.conf)) {
      case 'pending':
        break;
      case 'lost':
        // Keeps the term: it may be a refusal by one that is merely ahead of an election.
        this.#becomeFollower(this.#term, undefined);
        break;
      case 'won':
        if (this.#role === 'pre-candidate') this.#askVotes(false);
        else this.#becomeLeader();
        break;
    }
  }

  #becomeLeader(): void {
    this.#role = 'leader';
    this.#setLeader(this.#id);
    this.#leadership = new Leadership(
      this.#options,
      this.#term,
      this.#log,
      this.#membership.conf,
      this.#output,
    );
  }

  /** Does not restart the election timer, unless a campaign or leadership ends: see the callers. */
  #becomeFollower(term: number, leader: RaftId | undefined): void {
    const leadership = this.#leadership;
    if (leadership !== undefined) {
      this.#requests.leadershipEnded(leadership);
      this.#leadership = undefined;
      this.#election.restart();
    }
    this.#role = 'follower';
    this.#setTerm(term);
    this.#setLeader(leader);
  }

  #setTerm(term: number): void {
    if (term === this.#term) return;
    if (term < this.#term) throw broken(`the term would go back from ${this.#term} to ${term}`);
    this.#term = term;
    this.#vote = undefined;
    this.#election.redraw();
    this.#requests.asked.leaderChanged();
  }

  #setLeader(leader: RaftId | undefined): void {
    if (leader === this.#leader) return;
    this.#leader = leader;
    this.#requests.asked.leaderChanged();
  }

  /** A leader was heard so lately that no other may be elected yet. */
  #inLease(): boolean {
    if (!this.#options.checkQuorum) return false;
    if (this.#leadership !== undefined) return true; // it checks its quorum itself
    return this.#leader !== undefined && this.#election.withinShortestTimeout();
  }

  // ------------------------------------------------------------------------------------ messages

  step(message: Message): void {
    if (message.to !== this.#id) return;
    // A request for a vote may be one that must not move the term: it is judged as a whole.
    if (isVoteRequest(message)) {
      this.#onVoteRequest(message);
      return;
    }
    if (message.term < this.#term) {
      this.#onOldTerm(message);
      return;
    }
    if (message.term > this.#term && !isGrantedPreVote(message)) {
      this.#becomeFollower(message.term, comesFromLeader(message) ? message.from : undefined);
    }
    this.#dispatch(message);
  }

  #onVoteRequest(request: VoteRequest): void {
    const { from, term } = request;
    const verdict = judgeVote(
      {
        term: this.#term,
        vote: this.#vote,
        leader: this.#leader,
        inLease: this.#inLease() || this.#silentTicks > 0,
        upToDate: this.#log.isUpToDate(request.lastIndex, request.lastTerm),
      },
      request,
    );
    if (verdict === 'ignore') return;
    const granted = verdict === 'grant';
    if (request.type === 'pre-vote') {
      // Nothing changes here, not even the term. A granted one speaks of the term asked for.
      this.#messenger.answerVote('pre-vote-reply', from, granted ? term : this.#term, granted);
      return;
    }
    if (term > this.#term) this.#becomeFollower(term, undefined);
    if (granted) {
      this.#vote = from;
      // Only a vote given buys the candidate time; one refused must not delay a better candidate.
      this.#election.restart();
    }
    this.#messenger.answerVote('vote-reply', from, this.#term, granted);
  }

  /**
   * An old leader, cut off until now, must learn of the new term or it would never stop. And what a
   * voter of an older term knows to be committed is committed in every term.
   */
  #onOldTerm(message: Message): void {
    if (message.type === 'vote-reply' || message.type === 'pre-vote-reply') {
      this.#learnCommit(message);
      return;
    }
    if (!comesFromLeader(message)) return;
    this.#messenger.answerAppend(message.from, this.#term, OLD_TERM);
  }

  #dispatch(message: Exclude<Message, VoteRequest>): void {
    switch (message.type) {
      case 'append':
        this.#hearLeader(message.from);
        this.#follower.onAppend(message);
        break;
      case 'heartbeat':
        this.#hearLeader(message.from);
        this.#follower.onHeartbeat(message);
        break;
      case 'snapshot':
        this.#hearLeader(message.from);
        this.#follower.onSnapshot(message);
        break;
      case 'vote-reply':
      case 'pre-vote-reply':
        this.#onVoteReply(message);
        break;
      case 'append-reply':
        this.#leadership?.onAppendReply(message);
        break;
      case 'heartbeat-reply':
        this.#leadership?.onHeartbeatReply(message);
        break;
      case 'timeout-now':
        this.#onTimeoutNow(message.from);
        break;
      case 'read-index':
        this.#requests.onRead(message, this.#leadership);
        break;
      case 'read-index-reply':
        this.#requests.asked.onReadReply(message);
        break;
      case 'propose':
        this.#requests.onPropose(message, this);
        break;
      case 'propose-reply':
        this.#requests.asked.onProposeReply(message);
        break;
      default:
        unreachable(message);
    }
  }

  /** A message that only the leader of this term sends. */
  #hearLeader(from: RaftId): void {
    if (this.#role === 'leader' || (this.#leader !== undefined && this.#leader !== from)) {
      throw broken(`two leaders in term ${this.#term}: ${this.#leader} and ${from}`);
    }
    if (this.#role !== 'follower' || this.#leader !== from) this.#becomeFollower(this.#term, from);
    this.#election.restart();
  }

  #onVoteReply(reply: VoteReply): void {
    const { from, granted, term, type } = reply;
    this.#learnCommit(reply);
    if (type === 'vote-reply') {
      if (this.#role === 'candidate') this.#countVote(from, granted);
    } else if (this.#role === 'pre-candidate' && (!granted || term === this.#term + 1)) {
      this.#countVote(from, granted);
    }
  }

  /**
   * Equal index and term mean equal logs up to there. Without this, members that have not heard that
   * a change was committed could wait for ever for the vote of one that was removed by it: it has
   * the longer log, and may no longer stand itself.
   */
  #learnCommit({ commit, commitTerm }: VoteReply): void {
    if (this.#leadership !== undefined || commit <= this.#log.commit) return;
    if (!this.#log.matches(commit, commitTerm)) return;
    this.#log.commitTo(commit);
    // Who votes may have changed: not in the midst of a campaign.
    if (!this.#membership.isCurrent(this.#log)) this.#becomeFollower(this.#term, this.#leader);
  }

  /** The leader hands over. It waits for nobody's lease: the leader itself gave it up. */
  #onTimeoutNow(from: RaftId): void {
    if (this.#role === 'leader' || this.#leader !== from || !this.#mayStand()) return;
    this.#askVotes(true);
  }

  // ------------------------------------------------------------------------- reads and proposals

  readIndex(context: number): void {
    this.#requests.read(context, this);
  }

  forwardProposal(data: readonly Uint8Array[]): ForwardResult {
    return this.#requests.forward(data, this);
  }

  handedOut(index: number): void {
    this.#requests.asked.handedOut(index, this.#log);
  }

  // ------------------------------------------------------------------------------ told by RaftCore

  /** The term in which this node voted for itself since the last call: that vote goes to disk now. */
  takeOwnVote(): number | undefined {
    const term = this.#ownVoteTerm;
    this.#ownVoteTerm = undefined;
    return term;
  }

  ownVotePersisted(term: number): void {
    if (term === this.#term && this.#role === 'candidate') this.#countVote(this.#id, true);
  }

  /** A change of members has been applied. */
  membersChanged(): void {
    if (this.#membership.isVoter()) this.#leadership?.setConf(this.#membership.conf);
    // Removed or demoted: others must be able to elect one of them; this one counts for nothing.
    else if (this.#role !== 'follower') this.#becomeFollower(this.#term, undefined);
  }
}
