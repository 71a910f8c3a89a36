import type { Clock, Timer } from '../../shared/clock.ts';
import { messageOf, NotLeaderError } from '../../shared/errors.ts';
import type { RaftMember } from '../../shared/gen/shoal/v1/peer.ts';
import type { Log } from '../../shared/log.ts';
import type { Random } from '../../shared/random.ts';
import { unreachable } from '../../shared/unreachable.ts';
import { EMPTY_CONF, isMember } from './conf-change.ts';
import { RaftCore } from './core.ts';
import { refusedForRoom } from './full-disk.ts';
import { broken } from './invariant.ts';
import { decodeDirectory, idOf, MemberBook, reachable } from './members.ts';
import { MemoryLog } from './memory-log.ts';
import { NodeAdmin } from './node-admin.ts';
import { NodeProposals } from './node-proposals.ts';
import { NodeSnapshots } from './node-snapshots.ts';
import { type NodeConfig, noteRemoved, prepare } from './node-start.ts';
import { statusOf } from './node-status.ts';
import { DiskFullError, type NodeStorage, type PeerTransport, type SnapshotSink } from './ports.ts';
import { type FromNode, type PlainError, pack, type ToNode, toPlain, unpack } from './protocol.ts';
import {
  type Entry,
  type LoadedState,
  type Message,
  parseRaftId,
  type RaftId,
  type RaftOptions,
  type Ready,
  type SnapshotBody,
  type SnapshotRequest,
} from './types.ts';

export type NodePorts = Readonly<{
  storage: NodeStorage;
  transport: PeerTransport;
  clock: Clock;
  random: Random;
  log: Log;
  /** Runs `fn` after what is waiting to be read has been read: all of that becomes one batch. */
  defer: (fn: () => void) => void;
  post: (batch: readonly FromNode[]) => void;
}>;

/** Status goes out at changes, and every so many ticks for what moves all the time. */
const STATUS_TICKS = 3;
/**
 * How long a message that nobody's answer waits for may lie, so that it travels with the next one: of
 * one write after another every member then hears once, not twice. Below the 5 ms by which the loops
 * of a manager collect changes.
 */
const LINGER_MS = 4;
/**
 * A tick this much later than it should be, as a part of a tick: a lease counts ticks, and has a tick
 * to spare for each of phase and drift. Later than that, it is not relied on.
 */
const LATE_TICK = 0.25;
/** A leader whose state machine takes nothing for so long hands over: it serves nobody. */
const STUCK_TICKS = 150;

const LIMITS = {
  preVote: true,
  checkQuorum: true,
  maxMessageBytes: 512 << 10,
  maxInflightMessages: 256,
  maxInflightBytes: 8 << 20,
  maxUncommittedBytes: 32 << 20,
  maxApplyingBytes: 2 << 20,
  maxPendingReads: 4_096,
} as const satisfies Partial<RaftOptions>;

/**
 * One member at work: drives the core, the disk and the links, one turn of the event loop at a time.
 * Whatever came in before a turn (proposals, messages, ticks) becomes one append, one sync, one
 * message per member and one batch for the state machine.
 */
export class RaftNode {
  readonly #config: NodeConfig;
  readonly #ports: NodePorts;
  readonly #id: RaftId;
  readonly #view: MemoryLog;
  readonly #raft: RaftCore;
  readonly #book = new MemberBook();
  readonly #joinedWith: readonly RaftMember[];
  readonly #proposals: NodeProposals;
  readonly #admin: NodeAdmin;
  readonly #snapshots: NodeSnapshots;
  readonly #heardTick = new Map<RaftId, number>();
  #outbox: FromNode[] = [];
  #ticks = 0;
  #timer: Timer | undefined;
  #nextTickMs = Number.POSITIVE_INFINITY;
  #lingering: Timer | undefined;
  #turnDue = false;
  #stopped = false;
  #removed = false;
  #leaderFromIndex: number | undefined;
  #statusDue = true;
  #handedOut: number;
  #acknowledged: number;
  #stuckTicks = 0;
  /** Waits for room on the disk, and everything else with it. */
  #parked: Ready | undefined;

  /** Loads the log; throws `failed-precondition` when it cannot be trusted or is another member's. */
  constructor(config: NodeConfig, ports: NodePorts) {
    this.#config = config;
    this.#ports = ports;
    const { storage, transport, random } = ports;
    const loaded = prepare(config, storage);
    this.#id = loaded.id;
    this.#joinedWith = loaded.directory.members;
    this.#view = new MemoryLog(loaded.state);
    const { snapshot, hardState, entries } = loaded.state;
    this.#handedOut = snapshot?.index ?? 0;
    this.#acknowledged = this.#handedOut;
    this.#raft = new RaftCore({
      options: {
        ...LIMITS,
        id: this.#id,
        electionTicks: config.timing.electionTicks,
        heartbeatTicks: config.timing.heartbeatTicks,
        readMode: config.timing.readMode ?? 'quorum',
      },
      random,
      log: this.#view,
      hardState,
      confState: snapshot?.confState ?? EMPTY_CONF,
      applied: this.#handedOut,
    });
    this.#proposals = new NodeProposals({
      raft: this.#raft,
      post: (event) => this.#post(event),
      notLeader: () => this.#notLeader(),
    });
    this.#admin = new NodeAdmin({
      raft: this.#raft,
      book: this.#book,
      post: (event) => this.#post(event),
      notLeader: () => this.#notLeader(),
      isActive: (id) => this.#isActive(id),
      electionTicks: config.timing.electionTicks,
    });
    this.#snapshots = new NodeSnapshots(
      {
        storage,
        view: this.#view,
        book: this.#book,
        ask: () => this.#post({ kind: 'take-snapshot' }),
        fatal: (error) => this.#fail(error),
      },
      config.compaction,
    );
    this.#post({ kind: 'started', raftId: this.#id });
    if (snapshot === undefined) this.#book.reset(0, EMPTY_CONF, loaded.directory);
    else this.#restore(snapshot.index, snapshot.term, snapshot.confState);
    transport.setPeers(this.#reachable(entries));
  }

  get raftId(): RaftId {
    return this.#id;
  }

  start(): void {
    const { transport } = this.#ports;
    transport.start(this.#id, {
      message: (message) => this.#step(message),
      unreachable: (id) => this.#guard(() => this.#raft.reportUnreachable(id)),
      snapshotSent: (id, ok) => this.#guard(() => this.#raft.reportSnapshot(id, ok)),
      receiveSnapshot: (message) => this.#receiveSnapshot(message),
      removed: () => this.#guard(() => this.#becomeRemoved('another member says so')),
      wasRemoved: (id) => this.#book.wasRemoved(id),
    });
    this.#armTick(this.#ports.clock.monotonicMs());
    const { voters } = this.#raft.status().confState;
    // Nobody else to wait for.
    if (voters.length === 1 && voters[0] === this.#id) this.#raft.campaign();
    this.#schedule();
  }

  /** Takes what the client posted. */
  take(batch: readonly ToNode[]): void {
    this.#guard(() => {
      for (const message of batch) this.#takeOne(message);
    });
  }

  close(): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    this.#stopped = true;
    this.#timer?.cancel();
    this.#lingering?.cancel();
    this.#snapshots.close();
    this.#proposals.close();
    this.#ports.storage.close();
    this.#flushOutbox();
    return this.#ports.transport.close();
  }

  // ----------------------------------------------------------------------------------------- inputs

  #takeOne(message: ToNode): void {
    const refused = this.#ports.storage.full ? refusedForRoom(message) : undefined;
    if (refused !== undefined) {
      this.#post(refused);
      return;
    }
    switch (message.kind) {
      case 'propose':
        this.#proposals.propose(message.firstId, unpack(message.lengths, message.bytes));
        break;
      case 'read':
        if (this.#parked === undefined) this.#raft.readIndex(message.context);
        else this.#post({ kind: 'read-dropped', context: message.context });
        break;
      case 'applied':
        this.#acknowledged = Math.max(this.#acknowledged, message.index);
        this.#raft.applied(message.index);
        this.#snapshots.applied(message.index);
        break;
      case 'add-member':
        this.#admin.add(message.id, message.member);
        break;
      case 'remove-member':
        this.#admin.remove(message.id, parseRaftId(message.raftId));
        break;
      case 'transfer':
        this.#admin.transfer(
          message.id,
          message.to === undefined ? undefined : parseRaftId(message.to),
        );
        break;
      case 'snapshot-begin':
        this.#snapshots.begin(message.index);
        break;
      case 'snapshot-chunk':
        this.#snapshots.chunk(message.chunk);
        break;
      case 'snapshot-end':
        this.#snapshots.end(message.ok);
        break;
      case 'compaction':
        this.#snapshots.policy = message.policy;
        break;
      case 'set-kek':
        if (this.#ports.storage.setKek(message.kek)) this.#snapshots.replaceAll();
        break;
      case 'close':
        void this.close().then(() => this.#ports.post([{ kind: 'closed' }]));
        break;
      default:
        unreachable(message);
    }
  }

  #step(message: Message): void {
    this.#heardTick.set(message.from, this.#ticks);
    if (this.#parked !== undefined) return; // as if it had been lost on its way
    this.#guard(() => this.#raft.step(message));
  }

  #receiveSnapshot(message: SnapshotRequest): SnapshotSink {
    this.#heardTick.set(message.from, this.#ticks);
    return this.#ports.storage.beginSnapshot(message.snapshot);
  }

  #armTick(lastMs: number): void {
    const { clock } = this.#ports;
    const { tickMs } = this.#config.timing;
    // On a grid, so that ticks do not drift; but after a stall the missed ones are not made up for:
    // time in which nothing was received must not count as silence of others.
    const nextMs = Math.max(lastMs + tickMs, clock.monotonicMs());
    this.#nextTickMs = nextMs;
    this.#timer = clock.after(Math.max(0, nextMs - clock.monotonicMs()), () => {
      if (this.#stopped) return;
      this.#noteStall();
      this.#armTick(nextMs);
      this.#guard(() => this.#tick());
    });
  }

  /** Before anything that came in is looked at: it may be a read, after a pause that no tick counted. */
  #noteStall(): void {
    const lateMs = this.#ports.clock.monotonicMs() - this.#nextTickMs;
    if (lateMs > this.#config.timing.tickMs * LATE_TICK) this.#raft.stalled();
  }

  #tick(): void {
    this.#ticks++;
    this.#ports.storage.idle();
    if (this.#parked !== undefined) {
      this.#retryParked(this.#parked);
      return;
    }
    this.#raft.tick();
    this.#admin.tick();
    this.#checkRoom();
    if (this.#ticks % STATUS_TICKS === 0) this.#statusDue = true;
    this.#checkStuck();
  }

  /** A leader whose disk is about to be full hands over while it still can. */
  #checkRoom(): void {
    const { electionTicks } = this.#config.timing;
    if (!this.#ports.storage.full || this.#ticks % electionTicks !== 0) return;
    if (this.#leaderFromIndex === undefined) return;
    this.#ports.log.error('the disk is full: handing over leadership');
    this.#admin.transfer(0, undefined);
  }

  #checkStuck(): void {
    const waits = this.#handedOut > this.#acknowledged && this.#leaderFromIndex !== undefined;
    this.#stuckTicks = waits ? this.#stuckTicks + 1 : 0;
    if (this.#stuckTicks < STUCK_TICKS) return;
    this.#stuckTicks = 0;
    this.#ports.log.error('the state machine takes no entries: handing over leadership', {
      handedOut: this.#handedOut,
      applied: this.#acknowledged,
    });
    this.#admin.transfer(0, undefined);
  }

  // ----------------------------------------------------------------------------------------- a turn

  /** Everything that enters goes through here: afterwards a turn is due; a failure ends the node. */
  #guard(work: () => void): void {
    if (this.#stopped) return;
    try {
      this.#noteStall();
      work();
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.#schedule();
  }

  #schedule(): void {
    if (this.#turnDue || this.#stopped) return;
    this.#turnDue = true;
    this.#ports.defer(() => {
      this.#turnDue = false;
      if (this.#stopped) return;
      try {
        this.#turn();
      } catch (error) {
        this.#fail(error);
      }
    });
  }

  #turn(): void {
    while (this.#parked === undefined && this.#raft.hasReady()) {
      const ready = this.#raft.ready();
      this.#sendAll(ready.messages);
      this.#handOutEarly(ready);
      if (this.#keep(ready)) this.#carryOut(ready);
      else this.#park(ready);
    }
    if (this.#statusDue) {
      this.#statusDue = false;
      const status = statusOf({
        raft: this.#raft.status(),
        book: this.#book,
        isActive: (id) => this.#isActive(id),
        leaderFromIndex: this.#leaderFromIndex,
        tickMs: this.#config.timing.tickMs,
        removed: this.#removed,
        parked: this.#parked !== undefined,
      });
      this.#post({ kind: 'status', status });
    }
    this.#flushOutbox();
  }

  /**
   * What is committed is durable already: the state machine takes it, and callers hear of it, while
   * this thread waits for the disk. What changes members or comes with a new role waits for its place.
   */
  #handOutEarly({ softState, snapshot, entries, committedEntries }: Ready): void {
    if (entries.length === 0 || committedEntries.length === 0) return;
    if (softState !== undefined || snapshot !== undefined) return;
    if (committedEntries.some(({ type }) => type === 'conf-change')) return;
    this.#handOut(committedEntries);
    this.#flushOutbox();
  }

  /** On disk when it returns true; false when there is no room for it. */
  #keep({ hardState, snapshot, entries, mustSync }: Ready): boolean {
    if (hardState === undefined && snapshot === undefined && entries.length === 0) return true;
    try {
      this.#ports.storage.append(
        {
          ...(hardState === undefined ? {} : { hardState }),
          ...(snapshot === undefined
            ? {}
            : { snapshot: { meta: snapshot, body: this.#bodyOf(snapshot) } }),
          entries,
        },
        { lazy: !mustSync },
      );
      return true;
    } catch (error) {
      if (error instanceof DiskFullError) return false;
      throw error;
    }
  }

  /**
   * Without room this member stands still, as if its process were paused: it hears nothing, says
   * nothing and no time passes, so that it breaks no promise. The others elect another leader.
   */
  #park(ready: Ready): void {
    this.#parked = ready;
    this.#statusDue = true;
    this.#ports.log.error('the disk is full: this manager takes no part until there is room');
    this.#proposals.close();
  }

  #retryParked(ready: Ready): void {
    if (!this.#keep(ready)) return;
    this.#parked = undefined;
    this.#ports.log.info('there is room on the disk again');
    this.#carryOut(ready);
    this.#statusDue = true;
  }

  /** What is durable counts. The order is Raft's promise: see `Ready`. */
  #carryOut(ready: Ready): void {
    const { snapshot, entries } = ready;
    if (snapshot !== undefined) this.#view.install(snapshot);
    this.#view.append(entries);
    if (entries.some(({ type }) => type === 'conf-change')) {
      this.#updatePeers();
    }
    this.#sendAll(ready.messagesAfterSync);
    this.#raft.advance();
    if (snapshot !== undefined) {
      this.#restore(snapshot.index, snapshot.term, snapshot.confState);
      this.#updatePeers();
    }
    if (ready.softState !== undefined) this.#noteRole(ready, entries);
    this.#handOut(ready.committedEntries);
    if (ready.softState !== undefined) {
      this.#proposals.roleChanged();
      this.#admin.roleChanged();
    }
    for (const { context, index } of ready.readStates) {
      this.#post({ kind: 'read-ready', context, index });
    }
    for (const { context, reason } of ready.droppedReads) {
      this.#ports.log.debug('a read was dropped', { reason });
      this.#post({ kind: 'read-dropped', context });
    }
  }

  #sendAll(messages: readonly Message[]): void {
    if (messages.length === 0) return;
    for (const message of messages) this.#send(message);
    const { clock, transport } = this.#ports;
    if (messages.every(canLinger)) {
      this.#lingering ??= clock.after(LINGER_MS, () => {
        this.#lingering = undefined;
        transport.flush();
      });
      return;
    }
    this.#lingering?.cancel();
    this.#lingering = undefined;
    transport.flush();
  }

  #send(message: Message): void {
    const { transport, storage } = this.#ports;
    if (message.type !== 'snapshot') {
      transport.send(message);
      return;
    }
    const body = storage.openSnapshot(message.snapshot);
    if (body !== undefined) transport.sendSnapshot(message, body);
    // A newer one has taken its place: the next heartbeat's answer leads to that.
    else this.#ports.defer(() => this.#guard(() => this.#raft.reportSnapshot(message.to, false)));
  }

  /** A new leader's first entry is in the same Ready as its role: it appends at once. */
  #noteRole(ready: Ready, entries: readonly Entry[]): void {
    const soft = ready.softState;
    if (soft === undefined) return;
    this.#statusDue = true;
    if (soft.role !== 'leader') {
      this.#leaderFromIndex = undefined;
      return;
    }
    const first = entries.find(({ term }) => term === soft.term);
    this.#leaderFromIndex = first?.index ?? this.#leaderFromIndex ?? this.#view.lastIndex();
    this.#ports.log.info('this manager leads', { term: soft.term });
  }

  #handOut(entries: readonly Entry[]): void {
    const [first] = entries;
    if (first === undefined || first.index <= this.#handedOut) return;
    const done: number[] = [];
    const parts: Uint8Array[] = [];
    for (const entry of entries) {
      if (entry.type === 'conf-change') {
        this.#applyChange(entry);
        parts.push(NOTHING);
        continue;
      }
      parts.push(entry.data);
      const id = this.#proposals.take(entry);
      if (id !== undefined) done.push(id, entry.index);
    }
    this.#handedOut = first.index + entries.length - 1;
    this.#snapshots.handedOut(entries);
    this.#post({ kind: 'entries', first: first.index, ...pack(parts), done });
  }

  #applyChange(entry: Entry): void {
    const confState = this.#raft.applyConfChange(entry);
    const removed = this.#book.apply(entry, confState);
    this.#statusDue = true;
    for (const id of removed) {
      if (id === this.#id) this.#becomeRemoved('the change was committed');
      else this.#ports.transport.tellRemoved(id);
    }
    this.#updatePeers();
    this.#admin.applied(entry);
  }

  #updatePeers(): void {
    const { commit, lastIndex } = this.#raft.status();
    const from = Math.max(commit + 1, this.#view.firstIndex());
    const last = Math.min(lastIndex, this.#view.lastIndex());
    const tail = from > last ? [] : this.#view.entries(from, last + 1, Number.POSITIVE_INFINITY);
    this.#ports.transport.setPeers(this.#reachable(tail));
  }

  /**
   * A newcomer also reaches those whom the leader named when it was added: the snapshot it is sent
   * first may be older than they are, and then its answers would find no way to them.
   */
  #reachable(tail: Iterable<Entry>): Map<RaftId, RaftMember> {
    const known = reachable(this.#book, tail);
    if (isMember(this.#raft.status().confState, this.#id)) return known;
    for (const member of this.#joinedWith) {
      const id = idOf(member);
      if (!known.has(id) && !this.#book.wasRemoved(id)) known.set(id, member);
    }
    return known;
  }

  /** The state machine starts over from a snapshot that is the newest on disk. */
  #restore(
    index: number,
    term: number,
    confState: NonNullable<LoadedState['snapshot']>['confState'],
  ) {
    const [directory, ...chunks] = this.#bodyOf({ index, term });
    if (directory === undefined) throw broken(`snapshot ${index} is empty`);
    this.#book.reset(index, confState, decodeDirectory(directory));
    this.#handedOut = index;
    this.#statusDue = true;
    this.#post({ kind: 'restore', index, chunks });
  }

  /** Of one that is on disk: receiveSnapshot() wrote it before its message was taken. */
  #bodyOf(name: Readonly<{ index: number; term: number }>): SnapshotBody {
    const body = this.#ports.storage.openSnapshot(name);
    if (body === undefined) throw broken(`the body of snapshot ${name.index} is gone`);
    return body;
  }

  #becomeRemoved(why: string): void {
    if (this.#removed) return;
    this.#removed = true;
    this.#statusDue = true;
    noteRemoved(this.#ports.storage, why);
    this.#ports.log.warn('this manager was removed from the Raft group', { why });
  }

  // ---------------------------------------------------------------------------------------- outputs

  #isActive(id: RaftId): boolean {
    const heard = this.#heardTick.get(id);
    return heard !== undefined && this.#ticks - heard <= this.#config.timing.electionTicks;
  }

  #notLeader(): PlainError {
    const { leader, transferringTo, role } = this.#raft.status();
    const id = role === 'leader' ? transferringTo : leader;
    const nodeId = id === undefined ? undefined : this.#book.get(id)?.nodeId;
    const error = new NotLeaderError(nodeId);
    return { code: 'not-leader', message: error.message, leader: nodeId };
  }

  #post(event: FromNode): void {
    this.#outbox.push(event);
  }

  #flushOutbox(): void {
    if (this.#outbox.length === 0) return;
    const batch = this.#outbox;
    this.#outbox = [];
    this.#ports.post(batch);
  }

  /** Raft's promises do not hold any more, or the disk does not: nothing is retried. */
  #fail(error: unknown): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#timer?.cancel();
    this.#lingering?.cancel();
    this.#ports.log.error('consensus must stop', { error: messageOf(error) });
    this.#post({ kind: 'fatal', error: toPlain(error) });
    this.#flushOutbox();
    void this.#ports.transport.close();
  }
}

const NOTHING = new Uint8Array(0);

/** An append without entries tells what is committed: nobody waits for it but the member itself. */
function canLinger(message: Message): boolean {
  return message.type === 'append' && message.entries.length === 0;
}
