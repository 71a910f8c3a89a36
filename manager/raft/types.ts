/**
 * The consensus core's vocabulary: what enters it (messages, entries, configuration), what leaves it
 * (`Ready`), and its face. The ports around it are in durable-log.ts. No code but ids.
 *
 * Terms and indexes are safe integers. Term 0 and index 0 mean "none". Byte limits count payloads and
 * a fixed overhead per entry, see `entryBytes` in log.ts.
 */
import { isId } from '../../shared/ids.ts';

declare const raftIdBrand: unique symbol;
/** One member's identity for consensus: 25 of [0-9a-z], random, never used again after its removal. */
export type RaftId = string & { readonly [raftIdBrand]: 'RaftId' };

/** Checked once, where ids enter; inside the program they are trusted. */
export function parseRaftId(raw: string): RaftId {
  if (!isId(raw)) throw new RangeError(`Cannot parse raft id "${raw}": 25 of [0-9a-z] expected`);
  return raw as RaftId;
}

// ---------------------------------------------------------------------------------- log and state

/** A `normal` entry without data is the no-op that a new leader writes; it is applied as nothing. */
export type EntryType = 'normal' | 'conf-change';
export type Entry = Readonly<{
  term: number;
  index: number;
  type: EntryType;
  data: Uint8Array;
}>;

/**
 * What must survive a crash besides the log. `vote` is who got this node's vote in `term`. `commit`
 * is a hint: it may lag after a crash, but one that points past the log means that the log was lost.
 */
export type HardState = Readonly<{ term: number; vote: RaftId | undefined; commit: number }>;

/**
 * Who takes part. Learners receive the log and count for nothing; no member is both voter (of either
 * half) and learner.
 *
 * The last three say something only while a joint configuration is in force (dissertation 4.3), and
 * are empty otherwise: `votersOutgoing` is its old half, without whose majority nothing is committed
 * and nobody elected; `learnersNext` are old voters that become learners when it is left;
 * `autoLeave` tells the leader to leave it as soon as it is applied.
 */
export type ConfState = Readonly<{
  voters: readonly RaftId[];
  learners: readonly RaftId[];
  votersOutgoing: readonly RaftId[];
  learnersNext: readonly RaftId[];
  autoLeave: boolean;
}>;

/**
 * One member at a time. `add-voter` on a learner promotes it, `add-learner` on a voter demotes it.
 * `context` is the caller's (an address, say) and travels with the entry, never read by the core.
 */
export type ConfChange = Readonly<{
  kind: 'add-voter' | 'add-learner' | 'remove';
  id: RaftId;
  context: Uint8Array;
}>;
/** Several members at once, each named once, by way of a joint configuration. */
export type EnterJoint = Readonly<{
  kind: 'enter-joint';
  changes: readonly ConfChange[];
  /** The leader proposes `leave-joint` by itself; otherwise the caller must. */
  autoLeave: boolean;
}>;
export type LeaveJoint = Readonly<{ kind: 'leave-joint' }>;
/** What a `conf-change` entry says. */
export type ConfTransition = ConfChange | EnterJoint | LeaveJoint;

/**
 * A snapshot as the core sees it: up to where it reaches and who was a member then. Its body never
 * passes through the core: the transport streams it beside the `snapshot` message, and hands that
 * message to `step` only when the whole body has arrived and is verified.
 */
export type SnapshotMeta = Readonly<{ index: number; term: number; confState: ConfState }>;

// --------------------------------------------------------------------------------------- messages

type Envelope = Readonly<{ from: RaftId; to: RaftId; term: number }>;

/** `transfer` marks a campaign that the leader itself asked for: it ignores the lease of that leader. */
export type VoteRequest = Envelope &
  Readonly<{ type: 'pre-vote' | 'vote'; lastIndex: number; lastTerm: number; transfer: boolean }>;
/**
 * A granted pre-vote carries the term asked for (the candidate's next), a refusal the voter's own.
 * (commit, commitTerm) is what the voter knows to be committed. A candidate that holds that entry
 * may take it as committed, too: it may be the very change of members that the voter has applied and
 * refuses to vote without, see Membership.
 */
export type VoteReply = Envelope &
  Readonly<{
    type: 'pre-vote-reply' | 'vote-reply';
    granted: boolean;
    commit: number;
    commitTerm: number;
  }>;
export type AppendRequest = Envelope &
  Readonly<{
    type: 'append';
    prevIndex: number;
    prevTerm: number;
    commit: number;
    entries: readonly Entry[];
  }>;
/**
 * Accepted: `index` is the highest index known to agree with the leader, durable on the sender.
 * Rejected: `index` is the `prevIndex` refused; (hintIndex, hintTerm) is the last place in the
 * sender's log that could agree, so that the leader skips whole terms (dissertation 5.3, page 8).
 */
export type AppendReply = Envelope &
  Readonly<{
    type: 'append-reply';
    index: number;
    rejected: boolean;
    hintIndex: number;
    hintTerm: number;
  }>;
/** `readSeq` is the leader's newest read position when this left; the reply echoes it. */
export type Heartbeat = Envelope & Readonly<{ type: 'heartbeat'; commit: number; readSeq: number }>;
export type HeartbeatReply = Envelope & Readonly<{ type: 'heartbeat-reply'; readSeq: number }>;
export type SnapshotRequest = Envelope & Readonly<{ type: 'snapshot'; snapshot: SnapshotMeta }>;
export type TimeoutNow = Envelope & Readonly<{ type: 'timeout-now' }>;
/** `requestId` is the asking node's own, fresh for each read and each retry. */
export type ReadIndexRequest = Envelope & Readonly<{ type: 'read-index'; requestId: number }>;
export type ReadIndexReply = Envelope &
  Readonly<{ type: 'read-index-reply'; requestId: number; index: number }>;
/** One batch, to be appended by the leader of `term` and by no other. `requestId` as for reads. */
export type ProposeRequest = Envelope &
  Readonly<{ type: 'propose'; requestId: number; data: readonly Uint8Array[] }>;
/** Says where it was put, not that it is committed. The term of what is accepted is the envelope's. */
export type ProposeReply = Envelope &
  Readonly<{ type: 'propose-reply'; requestId: number; result: ProposeResult }>;

export type Message =
  | VoteRequest
  | VoteReply
  | AppendRequest
  | AppendReply
  | Heartbeat
  | HeartbeatReply
  | SnapshotRequest
  | TimeoutNow
  | ReadIndexRequest
  | ReadIndexReply
  | ProposeRequest
  | ProposeReply;
export type MessageType = Message['type'];

// ----------------------------------------------------------------------------------------- output

export type Role = 'follower' | 'pre-candidate' | 'candidate' | 'leader';
/** Not kept on disk: who leads, as far as this node knows, and what this node is. */
export type SoftState = Readonly<{ role: Role; leader: RaftId | undefined; term: number }>;

/** A read may be served from local state once everything up to `index` is applied. */
export type ReadState = Readonly<{ context: number; index: number }>;
export type ReadDropReason =
  | 'no-leader' // none known when asked
  | 'leader-changed' // leadership moved while it waited; ask again
  | 'timed-out' // the leader did not answer within an election timeout
  | 'too-many'; // `maxPendingReads` are waiting already
export type DroppedRead = Readonly<{ context: number; reason: ReadDropReason }>;

/**
 * How a forwarded batch ended. `refused`: it is in no log and never will be. `unknown`: it may be
 * applied or not, now or later; a retry is safe only where the state machine tells repeats (Sessions).
 */
export type ForwardOutcome = Readonly<{ requestId: number }> &
  (
    | Readonly<{ outcome: 'committed'; first: number; last: number }>
    | Readonly<{ outcome: 'refused'; reason: DropReason | 'overwritten' }>
    | Readonly<{ outcome: 'unknown'; reason: 'leader-changed' | 'timed-out' }>
  );
export type ForwardResult =
  | Readonly<{ kind: 'sent'; requestId: number }>
  /**
   * Nothing was sent: refused at once. `is-leader`: use `propose`. `too-large`: over `maxMessageBytes`,
   * to be sent in parts; a single payload always goes.
   */
  | Readonly<{ kind: 'dropped'; reason: 'no-leader' | 'is-leader' | 'too-many' | 'too-large' }>;

/**
 * What the core wants done. One at a time: `ready()`, carry it out, `advance()`, and only then the
 * next. The order is a promise that acknowledged data rests on:
 *
 *  1. `messages` may leave at once, in parallel with step 2: a leader's own appends need no local
 *     sync first (dissertation 10.2.1). None of them vouches for anything not yet on disk.
 *  2. `hardState`, `snapshot` and `entries` go to the `DurableLog` in ONE `append`, durable when it
 *     returns, then into the `LogView`. `mustSync` is false when only `hardState.commit` moved: such
 *     a batch may be written lazily, with the next one at the latest. (Who has a change of members in
 *     its log must know that the one before is committed, also after a crash: by that its majorities
 *     are at most one change behind, and overlap those of the rest.)
 *  3. `messagesAfterSync` leave after step 2 and never before: they are votes, acknowledgements of
 *     entries, and candidacies that claim a log. A failed write means: send none of them, stop.
 *  4. `advance()` after step 2. It counts this node's own vote and own copy of the entries.
 *  5. `committedEntries` are all durable here already (the core gives out none that are not), so
 *     they may be applied any time after `ready()`, in order, after `snapshot` if there is one.
 *     Report with `applied(index)`; for each `conf-change` entry call `applyConfChange` first.
 *  6. `readStates` answer reads when `index` is applied; `droppedReads` are to be failed or retried.
 *     `forwarded` tells how proposals ended that were sent to the leader.
 *
 * The core checks each `Ready` against this before it gives it out (ReadyContract), and what its
 * owner says against what it gave out; what does not fit throws, and the node must stop.
 */
export type Ready = Readonly<{
  softState: SoftState | undefined;
  hardState: HardState | undefined;
  snapshot: SnapshotMeta | undefined;
  entries: readonly Entry[];
  mustSync: boolean;
  messages: readonly Message[];
  messagesAfterSync: readonly Message[];
  committedEntries: readonly Entry[];
  readStates: readonly ReadState[];
  droppedReads: readonly DroppedRead[];
  forwarded: readonly ForwardOutcome[];
}>;

export type DropReason =
  | 'not-leader' // ask the leader, or forward it to there
  | 'not-a-member' // of the leader's configuration: it forwards no proposals
  | 'transferring' // leadership is being handed over
  | 'uncommitted-limit' // `maxUncommittedBytes` are waiting for a quorum
  | 'conf-change-pending' // the change before it is not applied yet
  | 'not-committed-in-term' // a new leader must commit its no-op first
  | 'in-joint' // a joint configuration is in force: it must be left first
  | 'learner-behind' // a learner becomes a voter only when it has caught up
  | 'invalid-conf-change'; // it changes nothing or would leave no voter
/** Accepted entries have (term, indexes first..last); committed when an entry with both is applied. */
export type ProposeResult =
  | Readonly<{ kind: 'accepted'; term: number; first: number; last: number }>
  | Readonly<{ kind: 'dropped'; reason: DropReason }>;

export type TransferResult =
  | Readonly<{ kind: 'started' }>
  | Readonly<{ kind: 'refused'; reason: 'not-leader' | 'is-self' | 'not-a-voter' | 'already' }>;

export type ProgressState = 'probe' | 'replicate' | 'snapshot';
export type ProgressView = Readonly<{
  id: RaftId;
  learner: boolean;
  state: ProgressState;
  /** Highest index known to be on that member's disk. */
  match: number;
  next: number;
  /** Heard from since the last check of the quorum. */
  recentActive: boolean;
  inflight: number;
}>;
/** For operators, metrics and the layer above's guards (promotion, removal). `progress`: leader only. */
export type RaftStatus = Readonly<{
  id: RaftId;
  role: Role;
  term: number;
  vote: RaftId | undefined;
  leader: RaftId | undefined;
  /** Ticks since the leader was heard, while one is known; 0 on the leader. */
  ticksSinceLeader: number;
  commit: number;
  applied: number;
  firstIndex: number;
  lastIndex: number;
  confState: ConfState;
  transferringTo: RaftId | undefined;
  progress: readonly ProgressView[];
}>;

// ---------------------------------------------------------------------------------------- options

export type RaftOptions = Readonly<{
  id: RaftId;
  /** Ticks without a leader before a campaign, drawn from [electionTicks, 2*electionTicks - 1]. */
  electionTicks: number;
  /** Ticks between heartbeats; below `electionTicks`, ten times below is usual. */
  heartbeatTicks: number;
  preVote: boolean;
  checkQuorum: boolean;
  /** Entries in one append, in bytes; always at least one entry. */
  maxMessageBytes: number;
  /** Appends, and bytes of them, sent to one member and not acknowledged. */
  maxInflightMessages: number;
  maxInflightBytes: number;
  /** Payload that a leader holds before a quorum has it; more is dropped. */
  maxUncommittedBytes: number;
  /** Committed entries handed out and not yet reported by `applied`. */
  maxApplyingBytes: number;
  maxPendingReads: number;
  /**
   * `quorum` confirms leadership by a round of heartbeats for each batch of reads. `lease` answers
   * at once while a quorum acknowledged a heartbeat sent less than an election timeout ago; that
   * trusts every member's tick to run at the same speed, and needs `checkQuorum`.
   */
  readMode: 'quorum' | 'lease';
}>;

// ----------------------------------------------------------------------------------- the core's face

/** What core.ts implements. Nothing here waits, does I/O, or reads a clock. */
export interface Raft {
  /** Time passes. All timeouts are counted in these. */
  tick(): void;
  /** Takes in a peer's message. Throws when it proves that this node or its peer lost data. */
  step(message: Message): void;
  /** Appends a batch at the leader, all or none. Elsewhere dropped: never forwarded unasked. */
  propose(data: readonly Uint8Array[]): ProposeResult;
  /** Sends a batch to the leader. How that ended is in `forwarded` of a later `Ready`, exactly once. */
  forwardProposal(data: readonly Uint8Array[]): ForwardResult;
  /** One change at a time: simple, or into a joint configuration, or out of it. Leader only. */
  proposeConfChange(change: ConfTransition): ProposeResult;
  /**
   * To be called with each committed `conf-change` entry, in order, before `applied` covers it.
   * Returns the configuration as of that entry. One that a restored snapshot includes is skipped.
   */
  applyConfChange(entry: Entry): ConfState;
  /** Asks for a linearizable read; the answer has the same `context` in a later `Ready`. */
  readIndex(context: number): void;
  transferLeadership(to: RaftId): TransferResult;
  /**
   * A follower or learner told from elsewhere that its leader is gone no longer refuses candidates in
   * that leader's name. No effect on others, nor with `readMode: 'lease'`: there it is a promise.
   */
  forgetLeader(): void;
  /**
   * This process stood still: time has passed that no `tick` counted. A lease held until then may
   * have run out; it must be earned anew.
   */
  stalled(): void;
  /** Stands for election now, by the usual rules (pre-vote first, voters only). */
  campaign(): void;
  /** The transport could not deliver to `id`: the optimistic pipeline falls back to probing. */
  reportUnreachable(id: RaftId): void;
  /** Must follow every `snapshot` message sent, or its receiver stays paused. */
  reportSnapshot(id: RaftId, ok: boolean): void;
  hasReady(): boolean;
  /** Throws when the one before has not been advanced. */
  ready(): Ready;
  /** The outstanding `Ready`'s state is durable and in the `LogView`. */
  advance(): void;
  /** Everything up to `index` is in the state machine (and in the next snapshot of it). */
  applied(index: number): void;
  status(): RaftStatus;
}
