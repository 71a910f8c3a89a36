import type { Clock, Timer } from '../../shared/clock.ts';
import { messageOf, NotLeaderError, ShoalError } from '../../shared/errors.ts';
import type { RaftMember } from '../../shared/gen/shoal/v1/peer.ts';
import { unreachable } from '../../shared/unreachable.ts';
import type { CompactionPolicy } from './compaction.ts';
import type { Consensus, ConsensusStatus, StateMachine } from './consensus.ts';
import { PendingCalls } from './pending-calls.ts';
import {
  type FromNode,
  fromPlain,
  type Link,
  type NodeStatus,
  pack,
  type ToNode,
  unpack,
} from './protocol.ts';
import { ReadBarriers } from './read-barriers.ts';
import { StateWriter } from './state-writer.ts';

/** One transaction: Swarm's 1.5 MiB, for the same reason: a log entry must not hold up heartbeats. */
const LARGEST_PROPOSAL_BYTES = 1_536 << 10;
const MAX_PROPOSALS = 8_192;
const MAX_PROPOSAL_BYTES = 16 << 20;
const MAX_ORDERS = 256;
/**
 * The node is told what is applied with the next batch that goes there, and without one after so long:
 * it needs to know for its window and for snapshots, and nobody's answer waits for it.
 */
const TELL_APPLIED_MS = 20;
/** Well within the window of what the node hands out, so that this never waits for the time above. */
const TELL_APPLIED_BYTES = 256 << 10;

export type ClientPorts = Readonly<{
  stateMachine: StateMachine;
  clock: Clock;
  /** Runs `fn` once the present turn of the event loop is over. */
  defer: (fn: () => void) => void;
  /** The node cannot go on, or the state machine threw: state and log part ways. End the program. */
  fatal: (error: Error) => void;
  readTimeoutMs?: number;
}>;

/**
 * Consensus as the rest of the manager sees it, beside its state machine; the node is at the other
 * end of a link. All calls of one turn leave as one batch.
 */
export class ConsensusClient implements Consensus {
  readonly #ports: ClientPorts;
  readonly #link: Link<ToNode>;
  readonly #reads: ReadBarriers;
  readonly #writes = new PendingCalls();
  readonly #orders = new PendingCalls();
  readonly #listeners = new Set<(status: ConsensusStatus) => void>();
  #outbox: ToNode[] = [];
  #proposals: { firstId: number; data: Uint8Array[] } | undefined;
  #flushDue = false;
  #nextId = 1; // 0 is the node's own
  #appliedIndex = 0;
  #toldApplied = 0;
  #untoldBytes = 0;
  #tellTimer: Timer | undefined;
  #node: NodeStatus | undefined;
  #heardAtMs = 0;
  #told: ConsensusStatus | undefined;
  #closed: Promise<void> | undefined;
  readonly #ended = Promise.withResolvers<void>();
  readonly #started = Promise.withResolvers<string>();
  readonly #stateWriter: StateWriter;

  constructor(link: Link<ToNode>, ports: ClientPorts) {
    this.#ports = ports;
    this.#link = link;
    this.#started.promise.catch(() => undefined);
    this.#stateWriter = new StateWriter({
      stateMachine: ports.stateMachine,
      clock: ports.clock,
      send: (message) => this.#send(message),
      fatal: ports.fatal,
    });
    this.#reads = new ReadBarriers({
      clock: ports.clock,
      timeoutMs: ports.readTimeoutMs ?? 3_000,
      ask: (context) => this.#send({ kind: 'read', context }),
      hasRoom: () => this.#node?.withoutRoom !== true,
    });
  }

  /** Resolves with the raft id when the log is loaded and the state restored from its snapshot. */
  get started(): Promise<string> {
    return this.#started.promise;
  }

  /** Takes what the node posted. */
  take(batch: readonly FromNode[]): void {
    try {
      for (const event of batch) this.#takeOne(event);
    } catch (error) {
      const failure = error instanceof Error ? error : new Error(messageOf(error));
      this.ended(failure); // nobody is to be answered from a state that is not the log's
      this.#ports.fatal(failure);
      return;
    }
    this.#tellIfChanged();
  }

  // -------------------------------------------------------------------------------- the public face

  status(): ConsensusStatus {
    const node = this.#node;
    const nowMs = this.#ports.clock.monotonicMs();
    const leads = this.#leads();
    return {
      raftId: node?.raftId ?? '',
      term: node?.term ?? 0,
      isLeader: leads,
      leaderRaftId: node?.leader,
      members: node?.members ?? [],
      appliedIndex: this.#appliedIndex,
      commitIndex: Math.max(node?.commitIndex ?? 0, this.#appliedIndex),
      leaderHeardAtMs: leads ? nowMs : this.#heardAtMs,
      ...(node?.removed === true ? { removed: true as const } : {}),
      ...(node?.withoutRoom === true ? { withoutRoom: true as const } : {}),
    };
  }

  async propose(data: Uint8Array, signal?: AbortSignal): Promise<number> {
    throwIfAborted(signal);
    this.#checkOpen();
    if (data.length === 0 || data.length > LARGEST_PROPOSAL_BYTES) {
      throw new ShoalError(
        'resource-exhausted',
        `a write has ${data.length} bytes, 1 to ${LARGEST_PROPOSAL_BYTES} are allowed: split it`,
      );
    }
    // What is known already need not travel; the node knows better than this, but later.
    if (this.#node?.role !== 'leader') throw new NotLeaderError(this.#leaderNodeId());
    const tooMany = this.#writes.size >= MAX_PROPOSALS;
    if (tooMany || this.#writes.bytes + data.length > MAX_PROPOSAL_BYTES) {
      throw new ShoalError(
        'resource-exhausted',
        `${this.#writes.size} writes are waiting for a majority of the managers: try again later`,
      );
    }
    const id = this.#nextId++;
    const outcome = this.#writes.wait(id, data.length, signal);
    this.#proposals ??= { firstId: id, data: [] };
    this.#proposals.data.push(data);
    this.#scheduleFlush();
    return outcome;
  }

  async readBarrier(signal?: AbortSignal): Promise<number> {
    throwIfAborted(signal);
    this.#checkOpen();
    return this.#reads.wait(signal);
  }

  addMember(member: RaftMember, signal?: AbortSignal): Promise<void> {
    return this.#order((id) => ({ kind: 'add-member', id, member }), signal);
  }

  removeMember(raftId: string, signal?: AbortSignal): Promise<void> {
    return this.#order((id) => ({ kind: 'remove-member', id, raftId }), signal);
  }

  transferLeadership(raftId?: string, signal?: AbortSignal): Promise<void> {
    return this.#order((id) => ({ kind: 'transfer', id, to: raftId }), signal);
  }

  onStatus(listener: (status: ConsensusStatus) => void): () => void {
    this.#listeners.add(listener);
    listener(this.status());
    return () => this.#listeners.delete(listener);
  }

  /** From now on: how often to take snapshots, as the cluster's spec says. */
  setCompaction(policy: CompactionPolicy): void {
    this.#send({ kind: 'compaction', policy });
  }

  /**
   * The key that opens the log from now on; undefined for one that lies beside it. Another key takes its place in
   * two steps: with the first order both open the log, with the same again the one before does not any more.
   */
  setKek(kek: Uint8Array | undefined): void {
    this.#send({ kind: 'set-kek', kek });
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#send({ kind: 'close' });
    this.#flush();
    await this.#ended.promise;
  }

  /** The other end is gone: nothing more will come. `error`: why, when it was not asked to. */
  ended(error?: Error): void {
    const why = error ?? new ShoalError('unavailable', 'this manager is stopping');
    this.#stateWriter.stop();
    this.#tellTimer?.cancel();
    this.#started.reject(why);
    this.#writes.rejectAll(
      new ShoalError('unknown-outcome', `consensus ended before the write did: ${why.message}`),
    );
    this.#orders.rejectAll(why);
    this.#reads.fail(why);
    if (this.#node !== undefined) {
      this.#node = { ...this.#node, role: 'follower', leader: undefined };
      this.#tellIfChanged();
    }
    this.#closed ??= Promise.resolve();
    this.#ended.resolve();
  }

  // ----------------------------------------------------------------------------------------- events

  #takeOne(event: FromNode): void {
    switch (event.kind) {
      case 'started':
        this.#started.resolve(event.raftId);
        break;
      case 'restore':
        this.#ports.stateMachine.restore(event.index, event.chunks);
        this.#setApplied(event.index);
        break;
      case 'entries':
        this.#apply(event);
        break;
      case 'failed':
        for (let id = event.firstId; id < event.firstId + event.count; id++) {
          const error = fromPlain(event.error);
          this.#writes.reject(id, error);
          this.#orders.reject(id, error);
        }
        break;
      case 'done':
        this.#orders.resolve(event.id, 0);
        break;
      case 'read-ready':
        this.#reads.ready(event.context, event.index, this.#appliedIndex);
        break;
      case 'read-dropped':
        this.#reads.dropped(event.context);
        break;
      case 'status':
        this.#takeStatus(event.status);
        break;
      case 'take-snapshot':
        this.#stateWriter.begin(this.#appliedIndex);
        break;
      case 'closed':
        this.ended();
        break;
      case 'fatal': {
        const error = fromPlain(event.error);
        this.ended(error);
        this.#ports.fatal(error);
        break;
      }
      default:
        unreachable(event);
    }
  }

  #apply(event: FromNode & { kind: 'entries' }): void {
    const { stateMachine } = this.#ports;
    const parts = unpack(event.lengths, event.bytes);
    for (const [i, data] of parts.entries()) {
      if (data.length > 0) stateMachine.apply(event.first + i, data);
    }
    this.#untoldBytes += event.bytes.length;
    this.#setApplied(event.first + parts.length - 1);
    for (let i = 0; i < event.done.length; i += 2) {
      const index = event.done[i + 1];
      if (index !== undefined) this.#writes.resolve(event.done[i] ?? 0, index);
    }
  }

  #setApplied(index: number): void {
    this.#appliedIndex = index;
    if (this.#untoldBytes >= TELL_APPLIED_BYTES) this.#scheduleFlush();
    else this.#tellTimer ??= this.#ports.clock.after(TELL_APPLIED_MS, () => this.#flush());
    this.#reads.applied(index);
  }

  #takeStatus(status: NodeStatus): void {
    this.#node = status;
    if (status.leaderSilentMs === undefined) return;
    const heardAtMs = this.#ports.clock.monotonicMs() - status.leaderSilentMs;
    this.#heardAtMs = Math.max(this.#heardAtMs, heardAtMs);
  }

  // ---------------------------------------------------------------------------------------- helpers

  #leads(): boolean {
    const from = this.#node?.role === 'leader' ? this.#node.leaderFromIndex : undefined;
    return from !== undefined && this.#appliedIndex >= from;
  }

  #leaderNodeId(): string | undefined {
    const leader = this.#node?.leader;
    const member = this.#node?.members.find((one) => one.member.raftId === leader)?.member;
    return member === undefined || member.nodeId === '' ? undefined : member.nodeId;
  }

  /** Indexes and times move always and are not news. */
  #tellIfChanged(): void {
    const status = this.status();
    if (this.#told !== undefined && sameNews(this.#told, status)) return;
    this.#told = status;
    for (const listener of [...this.#listeners]) listener(status);
  }

  async #order(message: (id: number) => ToNode, signal?: AbortSignal): Promise<void> {
    throwIfAborted(signal);
    this.#checkOpen();
    if (this.#orders.size >= MAX_ORDERS) {
      throw new ShoalError('resource-exhausted', 'too many changes of members are waiting');
    }
    const id = this.#nextId++;
    this.#send(message(id));
    await this.#orders.wait(id, 0, signal);
  }

  #checkOpen(): void {
    if (this.#closed !== undefined) {
      throw new ShoalError('unavailable', 'this manager is stopping');
    }
  }

  #send(message: ToNode): void {
    this.#endProposals();
    this.#outbox.push(message);
    this.#scheduleFlush();
  }

  #endProposals(): void {
    if (this.#proposals === undefined) return;
    const { firstId, data } = this.#proposals;
    this.#proposals = undefined;
    this.#outbox.push({ kind: 'propose', firstId, ...pack(data) });
  }

  #scheduleFlush(): void {
    if (this.#flushDue) return;
    this.#flushDue = true;
    this.#ports.defer(() => this.#flush());
  }

  #flush(): void {
    this.#flushDue = false;
    this.#endProposals();
    this.#reads.sent();
    const batch = this.#outbox;
    this.#outbox = [];
    if (this.#appliedIndex > this.#toldApplied) {
      // First: what follows, a snapshot say, may be of this index.
      batch.unshift({ kind: 'applied', index: this.#appliedIndex });
      this.#toldApplied = this.#appliedIndex;
      this.#untoldBytes = 0;
      this.#tellTimer?.cancel();
      this.#tellTimer = undefined;
    }
    if (batch.length > 0) this.#link.post(batch);
  }
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) {
    throw new ShoalError('cancelled', messageOf(signal.reason), { cause: signal.reason });
  }
}

function sameNews(a: ConsensusStatus, b: ConsensusStatus): boolean {
  return (
    a.term === b.term &&
    a.isLeader === b.isLeader &&
    a.leaderRaftId === b.leaderRaftId &&
    a.raftId === b.raftId &&
    a.removed === b.removed &&
    a.members.length === b.members.length &&
    a.members.every((one, i) => {
      const other = b.members[i];
      return (
        one.member.raftId === other?.member.raftId &&
        one.member.nodeId === other.member.nodeId &&
        one.member.address === other.member.address &&
        one.learner === other.learner &&
        one.active === other.active
      );
    })
  );
}
