import { hasCaughtUp } from './caught-up.ts';
import { changeConf, changesOf, isJoint, isMove } from './conf-change.ts';
import { encodeConfChange } from './conf-codec.ts';
import { Feeder } from './feeder.ts';
import { Handover } from './handover.ts';
import { broken } from './invariant.ts';
import { LeaderLease } from './lease.ts';
import type { RaftLog } from './log.ts';
import type { Output } from './output.ts';
import { type Progress, SEND_ALWAYS, SEND_NEWS } from './progress.ts';
import { quorumReached } from './quorum.ts';
import { type ConfirmedRead, ReadQueue } from './read-index.ts';
import { Tracker } from './tracker.ts';
import type {
  AppendReply,
  ConfChange,
  ConfState,
  ConfTransition,
  DropReason,
  Entry,
  EntryType,
  HeartbeatReply,
  ProgressView,
  ProposeResult,
  RaftId,
  RaftOptions,
  TransferResult,
} from './types.ts';
import { UncommittedBytes } from './uncommitted.ts';

const NO_DATA = new Uint8Array(0);
const LEAVE_JOINT = encodeConfChange({ kind: 'leave-joint' });

/**
 * One node's leadership of one term: it begins with the election and is thrown away with the role,
 * so that nothing of an old term can leak into a new one. It takes in proposals and answers, and
 * sends at `flush` only, once per `Ready`: all that came in between travels in one append per member.
 */
export class Leadership {
  readonly #options: RaftOptions;
  readonly #term: number;
  readonly #log: RaftLog;
  readonly #output: Output;
  readonly #progress: Tracker;
  readonly #reads: ReadQueue;
  readonly #lease: LeaderLease;
  readonly #feeder: Feeder;
  readonly #uncommitted: UncommittedBytes;
  // Made once: it is asked at every answer.
  readonly #readAckOf = (id: RaftId): number =>
    id === this.#options.id ? this.#reads.seq : (this.#progress.get(id)?.readAck ?? 0);
  #conf: ConfState;
  /** No second change before this index is applied. */
  #pendingConfIndex: number;
  readonly #handover: Handover;
  #heartbeatTicks = 0;
  #quorumTicks = 0;

  constructor(options: RaftOptions, term: number, log: RaftLog, conf: ConfState, output: Output) {
    this.#options = options;
    this.#term = term;
    this.#log = log;
    this.#conf = conf;
    this.#output = output;
    this.#progress = new Tracker(options, log);
    this.#reads = new ReadQueue(options.maxPendingReads);
    this.#lease = new LeaderLease(options);
    this.#handover = new Handover(options);
    this.#feeder = new Feeder(options, term, log, output);
    this.#uncommitted = new UncommittedBytes(options.maxUncommittedBytes, term);
    // Changes of earlier leaders may be anywhere in the log that is not applied yet.
    this.#pendingConfIndex = log.lastIndex();
    this.#progress.sync(this.#conf);
    this.#own().match = log.stableIndex();
    // Figure 8: entries of earlier terms become committed only by one of this term after them.
    this.#append([NO_DATA], 'normal');
  }

  get transferee(): RaftId | undefined {
    return this.#handover.to;
  }

  // ---------------------------------------------------------------------------------------- time

  /** False when a quorum has not been heard from for an election timeout: step down. */
  tick(): boolean {
    this.#lease.tick();
    this.#handover.tick();
    if (++this.#quorumTicks >= this.#options.electionTicks) {
      this.#quorumTicks = 0;
      if (this.#options.checkQuorum && !this.#progress.heardFromQuorum(this.#conf)) return false;
    }
    if (++this.#heartbeatTicks >= this.#options.heartbeatTicks) this.#sendHeartbeats();
    return true;
  }

  #sendHeartbeats(): void {
    this.#heartbeatTicks = 0;
    if (this.#options.readMode === 'lease') this.#reads.skipPosition(); // one for each round
    this.#lease.sent(this.#reads.seq);
    for (const [id, progress] of this.#progress.all) {
      if (id === this.#options.id) continue;
      progress.setbacks = 0;
      this.#output.send({
        type: 'heartbeat',
        from: this.#options.id,
        to: id,
        term: this.#term,
        // Not beyond what is known to be there: the log after that may still be another one.
        commit: Math.min(progress.match, this.#log.commit),
        readSeq: this.#reads.seq,
      });
    }
  }

  // ----------------------------------------------------------------------------------- proposals

  propose(data: readonly Uint8Array[]): ProposeResult {
    if (this.transferee !== undefined) return { kind: 'dropped', reason: 'transferring' };
    if (!this.#uncommitted.admit(data)) return { kind: 'dropped', reason: 'uncommitted-limit' };
    return this.#append(data, 'normal');
  }

  /** A batch that another member forwards, for the first time. */
  proposeFor(from: RaftId, data: readonly Uint8Array[]): ProposeResult {
    if (!this.#progress.all.has(from)) return { kind: 'dropped', reason: 'not-a-member' };
    return this.propose(data);
  }

  proposeConfChange(change: ConfTransition): ProposeResult {
    const reason = this.#whyNot(change);
    if (reason !== undefined) return { kind: 'dropped', reason };
    const data = encodeConfChange(change);
    if (!this.#uncommitted.admit([data])) return { kind: 'dropped', reason: 'uncommitted-limit' };
    return this.#appendChange(data);
  }

  #whyNot(change: ConfTransition): DropReason | undefined {
    if (this.transferee !== undefined) return 'transferring';
    // Without this, changes of two leaders that know nothing of each other could both take effect
    // with majorities that do not overlap (Ongaro, raft-dev, 2015).
    if (!this.#committedInTerm()) return 'not-committed-in-term';
    if (this.#pendingConfIndex > this.#log.applied) {
      return 'conf-change-pending';
    }
    if (isJoint(this.#conf) && change.kind !== 'leave-joint') return 'in-joint';
    if (isMove(this.#conf, change)) return undefined;
    if (changeConf(this.#conf, change) === this.#conf) return 'invalid-conf-change';
    return changesOf(change).some((each) => this.#promotesTooEarly(each))
      ? 'learner-behind'
      : undefined;
  }

  /** A voter far behind holds up every commit that needs it. */
  #promotesTooEarly({ kind, id }: ConfChange): boolean {
    if (kind !== 'add-voter' || !this.#conf.learners.includes(id)) return false;
    return !hasCaughtUp(this.#progress.matchOf(id), this.#log.lastIndex());
  }

  #appendChange(data: Uint8Array): ProposeResult {
    this.#pendingConfIndex = this.#log.lastIndex() + 1;
    return this.#append([data], 'conf-change');
  }

  /**
   * A joint configuration to be left by itself, applied, and nobody is leaving it yet: a second
   * `leave-joint` would have nothing to leave. Asked before each `Ready`, so that what is in the way
   * now (a transfer) only delays it, and a new leader goes on where its predecessor fell.
   */
  #owesLeave(): boolean {
    return (
      this.#conf.autoLeave &&
      this.transferee === undefined &&
      this.#pendingConfIndex <= this.#log.applied &&
      this.#committedInTerm()
    );
  }

  #leaveJoint(): void {
    if (!this.#owesLeave()) return;
    this.#uncommitted.force(LEAVE_JOINT);
    this.#appendChange(LEAVE_JOINT);
  }

  #append(data: readonly Uint8Array[], type: EntryType): ProposeResult {
    const first = this.#log.lastIndex() + 1;
    const term = this.#term;
    this.#log.append(
      data.map((payload, i): Entry => ({ term, index: first + i, type, data: payload })),
    );
    this.#progress.wantAll(SEND_NEWS);
    return { kind: 'accepted', term, first, last: first + data.length - 1 };
  }

  handedOut(entries: readonly Entry[]): void {
    this.#uncommitted.handedOut(entries);
  }

  // ------------------------------------------------------------------------------------- answers

  /** This node's own log is durable up to `RaftLog.stableIndex`: only now does its copy count. */
  persisted(): void {
    if (this.#own().update(this.#log.stableIndex())) this.#commitByCounting();
  }

  onAppendReply(reply: AppendReply): void {
    const progress = this.#progress.get(reply.from);
    if (progress === undefined || reply.index > this.#log.lastIndex()) return;
    progress.recentActive = true;
    if (reply.rejected) this.#onRejected(progress, reply);
    else this.#onAccepted(progress, reply);
  }

  #onRejected(progress: Progress, reply: AppendReply): void {
    // Entries above the hint's term differ; below it, those of a higher term than the hint's do.
    const hint =
      reply.hintTerm > 0
        ? this.#log.findConflict(reply.hintIndex, reply.hintTerm).index
        : reply.hintIndex;
    if (!progress.decrease(reply.index, hint)) return;
    if (progress.state === 'replicate') progress.becomeProbe();
    progress.want(SEND_ALWAYS);
  }

  #onAccepted(progress: Progress, reply: AppendReply): void {
    const news = progress.update(reply.index);
    if (!news && !(progress.match === reply.index && progress.state === 'probe')) return;
    switch (progress.state) {
      case 'probe':
        if (progress.mayReplicate()) progress.becomeReplicate();
        break;
      case 'snapshot':
        // Any snapshot that lets the log take over will do, not only the one that was sent.
        if (progress.match + 1 >= this.#log.firstIndex()) progress.becomeReplicate();
        break;
      case 'replicate':
        progress.inflights.freeTo(reply.index);
        progress.paused = false;
        break;
    }
    this.#commitByCounting();
    progress.want(SEND_NEWS);
    if (reply.from === this.transferee) this.#maybeHandOver();
  }

  onHeartbeatReply(reply: HeartbeatReply): void {
    const progress = this.#progress.get(reply.from);
    if (progress === undefined) return;
    progress.recentActive = true;
    progress.paused = false;
    // If a whole window was lost nobody will ever answer it. An append, empty if need be, asks.
    if (progress.match < this.#log.lastIndex() || progress.state === 'probe') {
      progress.want(SEND_ALWAYS);
    }
    if (reply.readSeq > progress.readAck) {
      progress.readAck = reply.readSeq;
      this.#confirmReads();
    }
    // The order to stand may have been lost, or have come before the target had applied a change of
    // members that is committed, and may not stand yet.
    if (reply.from === this.transferee) this.#maybeHandOver();
  }

  reportUnreachable(id: RaftId): void {
    const progress = this.#progress.get(id);
    if (progress?.state === 'replicate') progress.becomeProbe();
  }

  reportSnapshot(id: RaftId, ok: boolean): void {
    const progress = this.#progress.get(id);
    if (progress?.state !== 'snapshot') return;
    if (!ok) progress.pendingSnapshot = 0;
    progress.becomeProbe();
    // Arrived: its acknowledgement starts the log. Failed: try again after the next heartbeat.
    progress.paused = true;
  }

  /** Figure 2, rules for leaders: a majority has it, and it is of this term (figure 8 is why). */
  #commitByCounting(): void {
    const index = quorumReached(this.#conf, this.#progress.matchOf);
    if (index <= this.#log.commit || !this.#log.matches(index, this.#term)) return;
    this.#log.commitTo(index);
    this.#progress.wantAll(SEND_NEWS);
  }

  #committedInTerm(): boolean {
    return this.#log.matches(this.#log.commit, this.#term);
  }

  // --------------------------------------------------------------------------------------- reads

  /** Time passed that no tick counted: the members that acknowledged may have counted it. */
  stalled(): void {
    this.#lease.lapse();
  }

  /** False when too many are pending. */
  read(from: RaftId, key: number): boolean {
    return this.#reads.add({ from, key });
  }

  /** Contexts of this node's own reads, when leadership ends. Other nodes drop theirs themselves. */
  drainReads(): number[] {
    const reads = this.#reads.drain();
    return reads.filter(({ from }) => from === this.#options.id).map(({ key }) => key);
  }

  /** Reads wait for the first commit of the term: until then the commit index may be an old one. */
  #canRead(): boolean {
    return this.#reads.hasWaiting() && this.#committedInTerm();
  }

  #serveReads(): void {
    if (!this.#canRead()) return;
    if (this.#lease.held()) {
      for (const read of this.#reads.takeWaiting(this.#log.commit)) this.#answer(read);
      return;
    }
    this.#reads.startRound(this.#log.commit);
    this.#sendHeartbeats();
    this.#confirmReads(); // at once when this node is a quorum by itself
  }

  #confirmReads(): void {
    const seq = quorumReached(this.#conf, this.#readAckOf);
    this.#lease.confirmed(seq);
    for (const read of this.#reads.takeConfirmed(seq)) this.#answer(read);
  }

  #answer({ from, key, index }: ConfirmedRead): void {
    if (from === this.#options.id) {
      this.#output.answerRead(key, index);
      return;
    }
    const envelope = { from: this.#options.id, to: from, term: this.#term };
    this.#output.send({ type: 'read-index-reply', ...envelope, requestId: key, index });
  }

  // ------------------------------------------------------------------------- members and transfer

  /** A change of members has been applied. */
  setConf(conf: ConfState): void {
    this.#conf = conf;
    this.#progress.sync(this.#conf);
    this.#handover.setConf(conf);
    // A smaller quorum may have been reached already, for entries and for reads.
    this.#commitByCounting();
    this.#confirmReads();
  }

  transfer(to: RaftId): TransferResult {
    const result = this.#handover.start(to, this.#conf);
    if (result.kind === 'started') {
      this.#progress.get(to)?.want(SEND_ALWAYS);
      this.#maybeHandOver();
    }
    return result;
  }

  /** The target has the whole log, and no proposal can make it longer: it may stand at once. */
  #maybeHandOver(): void {
    const to = this.transferee;
    if (to === undefined || this.#progress.get(to)?.match !== this.#log.lastIndex()) return;
    // It may arrive at any later time of this term and overrides every voter's lease.
    this.#lease.giveUp();
    this.#output.send({ type: 'timeout-now', from: this.#options.id, to, term: this.#term });
  }

  // ------------------------------------------------------------------------------------- sending

  needsFlush(): boolean {
    if (this.#canRead() || this.#owesLeave()) return true;
    for (const progress of this.#progress.all.values())
      if (this.#feeder.owes(progress)) return true;
    return false;
  }

  /** Composes what is due to each member. Called once per `Ready`, before entries are taken from the log. */
  flush(): void {
    this.#leaveJoint();
    this.#serveReads();
    for (const [id, progress] of this.#progress.all) this.#feeder.feed(id, progress);
  }

  /** Kept for this node also when it is no voter (any more): the log's owner is always in step. */
  #own(): Progress {
    const progress = this.#progress.get(this.#options.id);
    if (progress === undefined) throw broken('a leader is not among its own members');
    return progress;
  }

  view(): readonly ProgressView[] {
    return this.#progress.view(this.#conf);
  }
}
