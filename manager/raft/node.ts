import type { Clock } from '../../shared/clock.ts';
import { messageOf, NotLeaderError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { Random } from '../../shared/random.ts';
import { EMPTY_CONF } from './conf-change.ts';
import { RaftCore } from './core.ts';
import { Fitness } from './fitness.ts';
import { keep } from './keep.ts';
import { MemberBook } from './members.ts';
import { MemoryLog } from './memory-log.ts';
import { NodeAdmin } from './node-admin.ts';
import { NodeApplying } from './node-applying.ts';
import { NodeInbox } from './node-inbox.ts';
import { NodePeers } from './node-peers.ts';
import { NodeProposals } from './node-proposals.ts';
import { NodeSender } from './node-sender.ts';
import { NodeSnapshots } from './node-snapshots.ts';
import { type NodeConfig, noteRemoved, optionsOf, prepare } from './node-start.ts';
import { statusOf } from './node-status.ts';
import { NodeTurns } from './node-turns.ts';
import type { NodeStorage, PeerTransport, SnapshotSink } from './ports.ts';
import { type FromNode, type PlainError, type ToNode, toPlain } from './protocol.ts';
import { TickTimer } from './tick-timer.ts';
import type { Entry, Message, RaftId, Ready, SnapshotRequest } from './types.ts';

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
  readonly #peers: NodePeers;
  readonly #sender: NodeSender;
  readonly #applying: NodeApplying;
  readonly #fitness: Fitness;
  readonly #inbox: NodeInbox;
  readonly #ticking: TickTimer;
  readonly #turns: NodeTurns;
  readonly #proposals: NodeProposals;
  readonly #admin: NodeAdmin;
  readonly #snapshots: NodeSnapshots;
  #outbox: FromNode[] = [];
  #ticks = 0;
  #removed = false;
  #leaderFromIndex: number | undefined;
  #statusDue = true;
  /** Waits for room on the disk, and everything else with it. */
  #parked: Ready | undefined;

  /** Loads the log; throws `failed-precondition` when it cannot be trusted or is another member's. */
  constructor(config: NodeConfig, ports: NodePorts) {
    this.#config = config;
    this.#ports = ports;
    const { storage, transport, clock, random } = ports;
    const { electionTicks, tickMs } = config.timing;
    const loaded = prepare(config, storage);
    this.#id = loaded.id;
    this.#view = new MemoryLog(loaded.state);
    const { snapshot, hardState, entries } = loaded.state;
    this.#raft = new RaftCore({
      options: optionsOf(config, this.#id),
      random,
      log: this.#view,
      hardState,
      confState: snapshot?.confState ?? EMPTY_CONF,
      applied: snapshot?.index ?? 0,
    });
    this.#peers = new NodePeers({
      id: this.#id,
      raft: this.#raft,
      view: this.#view,
      book: this.#book,
      transport,
      joinedWith: loaded.directory.members,
      electionTicks,
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
      isActive: (id) => this.#peers.isActive(id),
      electionTicks,
    });
    this.#snapshots = new NodeSnapshots(
      {
        storage,
        view: this.#view,
        book: this.#book,
        neededFrom: () => this.#peers.neededFrom(),
        ask: () => this.#post({ kind: 'take-snapshot' }),
        fatal: (error) => this.#fail(error),
      },
      config.compaction,
    );
    this.#applying = new NodeApplying({
      storage,
      book: this.#book,
      proposals: this.#proposals,
      snapshots: this.#snapshots,
      post: (event) => this.#post(event),
      applyChange: (entry) => this.#applyChange(entry),
    });
    this.#sender = new NodeSender({
      clock,
      transport,
      storage,
      snapshotEnded: (to, ok) => this.#turns.guard(() => this.#raft.reportSnapshot(to, ok)),
      snapshotDamaged: ({ index }) => this.#turns.guard(() => this.#snapshots.renew(index)),
      // The next heartbeat's answer leads to the newer one.
      snapshotGone: (to) =>
        ports.defer(() => this.#turns.guard(() => this.#raft.reportSnapshot(to, false))),
    });
    this.#fitness = new Fitness(electionTicks);
    this.#inbox = new NodeInbox({
      raft: this.#raft,
      storage,
      proposals: this.#proposals,
      admin: this.#admin,
      snapshots: this.#snapshots,
      applying: this.#applying,
      isParked: () => this.#parked !== undefined,
      post: (event) => this.#post(event),
      close: () => void this.close().then(() => ports.post([{ kind: 'closed' }])),
    });
    this.#ticking = new TickTimer(clock, tickMs, {
      tick: () => this.#turns.guard(() => this.#tick()),
      stalled: () => this.#raft.stalled(),
    });
    this.#turns = new NodeTurns({
      defer: ports.defer,
      enter: () => this.#ticking.noteStall(),
      turn: () => this.#turn(),
      fail: (error) => this.#fail(error),
    });
    if (snapshot === undefined) this.#book.reset(0, EMPTY_CONF, loaded.directory);
    else this.#applying.restore(snapshot);
    // After the state: a start whose state cannot be restored has failed.
    this.#post({ kind: 'started', raftId: this.#id });
    this.#applying.acknowledge(snapshot?.index ?? 0);
    this.#peers.link(entries);
  }

  get raftId(): RaftId {
    return this.#id;
  }

  start(): void {
    const { transport } = this.#ports;
    transport.start(this.#id, {
      message: (message) => this.#step(message),
      unreachable: (id) => this.#turns.guard(() => this.#raft.reportUnreachable(id)),
      snapshotSent: (id, ok) => this.#sender.snapshotSent(id, ok),
      receiveSnapshot: (message) => this.#receiveSnapshot(message),
      removed: () => this.#turns.guard(() => this.#becomeRemoved('another member says so')),
      wasRemoved: (id) => this.#book.wasRemoved(id),
    });
    this.#ticking.start();
    const { voters } = this.#raft.status().confState;
    // Nobody else to wait for.
    if (voters.length === 1 && voters[0] === this.#id) this.#raft.campaign();
    this.#turns.schedule();
  }

  /** Takes what the client posted. */
  take(batch: readonly ToNode[]): void {
    this.#turns.guard(() => {
      for (const message of batch) this.#inbox.take(message);
    });
  }

  close(): Promise<void> {
    if (this.#turns.stopped) return Promise.resolve();
    this.#turns.stop();
    this.#ticking.stop();
    this.#sender.stop();
    this.#snapshots.close();
    this.#proposals.close();
    this.#ports.storage.close();
    this.#flushOutbox();
    return this.#ports.transport.close();
  }

  // ----------------------------------------------------------------------------------------- inputs

  #step(message: Message): void {
    this.#peers.heard(message.from);
    if (this.#parked !== undefined) return; // as if it had been lost on its way
    this.#turns.guard(() => this.#raft.step(message));
  }

  #receiveSnapshot(message: SnapshotRequest): SnapshotSink {
    this.#peers.heard(message.from);
    return this.#ports.storage.beginSnapshot(message.snapshot);
  }

  #tick(): void {
    this.#ticks++;
    this.#peers.tick();
    if (this.#ports.storage.idle()) this.#snapshots.replaceAll();
    if (this.#parked !== undefined) {
      this.#retryParked(this.#parked);
      return;
    }
    this.#raft.tick();
    this.#admin.tick();
    if (this.#ticks % STATUS_TICKS === 0) this.#statusDue = true;
    this.#checkFitness();
  }

  /** A leader that cannot serve hands over while it still can. */
  #checkFitness(): void {
    const { handedOut, applied } = this.#applying;
    const leads = this.#leaderFromIndex !== undefined;
    const diskFull = this.#ports.storage.full;
    const why = this.#fitness.tick({ leads, diskFull, handedOut, applied });
    if (why === undefined) return;
    this.#ports.log.error(`${why}: handing over leadership`, { handedOut, applied });
    this.#admin.transfer(0, undefined);
  }

  // ----------------------------------------------------------------------------------------- a turn

  #turn(): void {
    while (this.#parked === undefined && this.#raft.hasReady()) {
      const ready = this.#raft.ready();
      this.#sender.send(ready.messages);
      this.#handOutEarly(ready);
      if (keep(ready, this.#ports.storage, this.#applying)) this.#carryOut(ready);
      else this.#park(ready);
    }
    if (this.#statusDue) {
      this.#statusDue = false;
      const status = statusOf({
        raft: this.#raft.status(),
        book: this.#book,
        isActive: (id) => this.#peers.isActive(id),
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
    this.#applying.handOut(committedEntries);
    this.#flushOutbox();
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
    if (!keep(ready, this.#ports.storage, this.#applying)) return;
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
      this.#peers.update();
    }
    this.#sender.send(ready.messagesAfterSync);
    this.#raft.advance();
    if (snapshot !== undefined) {
      this.#applying.restore(snapshot);
      this.#statusDue = true;
      this.#peers.update();
    }
    if (ready.softState !== undefined) this.#noteRole(ready, entries);
    this.#applying.handOut(ready.committedEntries);
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

  /** A new leader's first entry is in the same Ready as its role: it appends at once. */
  #noteRole(ready: Ready, entries: readonly Entry[]): void {
    const soft = ready.softState;
    if (soft === undefined) return;
    this.#statusDue = true;
    if (soft.role !== 'leader') {
      this.#leaderFromIndex = undefined;
      this.#sender.unseated();
      return;
    }
    const first = entries.find(({ term }) => term === soft.term);
    this.#leaderFromIndex = first?.index ?? this.#leaderFromIndex ?? this.#view.lastIndex();
    this.#ports.log.info('this manager leads', { term: soft.term });
  }

  #applyChange(entry: Entry): void {
    const confState = this.#raft.applyConfChange(entry);
    const removed = this.#book.apply(entry, confState);
    this.#statusDue = true;
    for (const id of removed) {
      if (id === this.#id) this.#becomeRemoved('the change was committed');
      else this.#ports.transport.tellRemoved(id);
    }
    this.#peers.update();
    this.#admin.applied(entry);
  }

  #becomeRemoved(why: string): void {
    if (this.#removed) return;
    this.#removed = true;
    this.#statusDue = true;
    noteRemoved(this.#ports.storage, why);
    this.#ports.log.warn('this manager was removed from the Raft group', { why });
  }

  // ---------------------------------------------------------------------------------------- outputs

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
    if (this.#turns.stopped) return;
    this.#turns.stop();
    this.#ticking.stop();
    this.#sender.stop();
    this.#ports.log.error('consensus must stop', { error: messageOf(error) });
    this.#post({ kind: 'fatal', error: toPlain(error) });
    this.#flushOutbox();
    void this.#ports.transport.close();
  }
}
