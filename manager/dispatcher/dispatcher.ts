import { type Clock, sleep } from '../../shared/clock.ts';
import { isShoalError, messageOf, NodeRemovedError, ShoalError } from '../../shared/errors.ts';
import type { AgentMessage, LogSubscriptionChange } from '../../shared/gen/shoal/v1/dispatcher.ts';
import { type Node, NodeState } from '../../shared/gen/shoal/v1/objects.ts';
import type {
  AwaitAppliedRequest,
  AwaitAppliedResponse,
  LivenessDigest,
  SampleBatch,
  TaskStatusBatch,
} from '../../shared/gen/shoal/v1/peer.ts';
import { newId } from '../../shared/ids.ts';
import type { Log } from '../../shared/log.ts';
import { sameValue } from '../../shared/model/equal.ts';
import type { Random } from '../../shared/random.ts';
import { unreachable } from '../../shared/unreachable.ts';
import type { Consensus } from '../raft/consensus.ts';
import type { ChangeBatch, WatchableStore } from '../store/types.ts';
import { unknownNode } from '../unknown-node.ts';
import { AssignmentIndex } from './assignments.ts';
import { DrainRelease } from './drain-release.ts';
import { type ClusterFacts, factsOf, sameForAgent, touchesFacts, updateFor } from './facts.ts';
import { MISSED_HEARTBEATS } from './heartbeat.ts';
import { keyOf } from './items.ts';
import { DIGEST_PERIOD_MS, LivenessReport } from './liveness-report.ts';
import { SampleRelay } from './sample-relay.ts';
import { DispatcherSession } from './session.ts';
import { StatusRelay } from './status-relay.ts';

/** The way to whoever leads; this manager itself when it does. Bounded in time by its own deadlines. */
export interface LeaderLink {
  /** Resolves once committed. Repeating is safe: statuses only move forward. */
  reportTaskStatuses(batch: TaskStatusBatch, signal: AbortSignal): Promise<void>;
  reportLiveness(digest: LivenessDigest, signal: AbortSignal): Promise<void>;
  reportSamples(batch: SampleBatch, signal: AbortSignal): Promise<void>;
  /** Answered when all live nodes that follow the networks show the revision, or when its time is over. */
  awaitApplied(request: AwaitAppliedRequest, signal: AbortSignal): Promise<AwaitAppliedResponse>;
}

export type DispatcherDeps = Readonly<{
  /** This manager's node. */
  nodeId: string;
  store: WatchableStore;
  consensus: Pick<Consensus, 'status' | 'readBarrier'>;
  leader: LeaderLink;
  clock: Clock;
  random: Random;
  log: Log;
}>;

/** Without a leader for this long, this manager's agents are better off with another one. */
export const LEADER_LEASE_MS = 3_000;
const HELLO_WITHIN_MS = 5_000;
const BARRIER_RETRY_MS = 200;
/** Silent for so many times the window in which a node goes down: nobody will come back on this stream. */
const ABANDONED_WINDOWS = 3;

/**
 * The sessions of this manager: assignments out, from its own replica; statuses and signs of life in,
 * to the leader. One session per node: a new one ends the old.
 */
export class Dispatcher {
  readonly #deps: DispatcherDeps;
  readonly #index: AssignmentIndex;
  readonly #relay: StatusRelay;
  readonly #samples: SampleRelay;
  readonly #sessions = new Map<string, DispatcherSession>();
  readonly #sessionListeners = new Set<(nodeId: string, isOpen: boolean) => void>();
  readonly #liveness: LivenessReport;
  readonly #drains: DrainRelease;
  readonly #unsubscribe: () => void;
  #facts: ClusterFacts;
  #leaderSeenMs: number;

  constructor(deps: DispatcherDeps) {
    this.#deps = deps;
    const { store, clock } = deps;
    this.#leaderSeenMs = clock.monotonicMs();
    const sink = {
      touch: (nodeId: string, key: string) => this.#sessions.get(nodeId)?.touch(key),
      touchAll: (key: string) => {
        for (const session of this.#sessions.values()) session.touch(key);
      },
    };
    this.#index = new AssignmentIndex(store, sink, (taskId) => this.#drains.isDraining(taskId));
    this.#drains = new DrainRelease({
      hasSession: (nodeId) => this.#sessions.has(nodeId),
      released: (nodeId, taskId) => sink.touch(nodeId, keyOf.task(taskId)),
      awaitApplied: (request, signal) => deps.leader.awaitApplied(request, signal),
      clock,
      log: deps.log,
    });
    this.#drains.resume(store);
    this.#liveness = new LivenessReport({
      ...deps,
      sessions: () => this.#sessions.values(),
      hasSession: (nodeId) => this.#sessions.has(nodeId),
    });
    this.#facts = factsOf(store);
    this.#relay = new StatusRelay({
      view: store,
      barrier: (signal) => deps.consensus.readBarrier(signal),
      send: (batch, signal) => deps.leader.reportTaskStatuses(batch, signal),
      clock,
      random: deps.random,
      log: deps.log,
    });
    this.#samples = new SampleRelay({
      send: (batch, signal) => deps.leader.reportSamples(batch, signal),
      clock,
      log: deps.log,
    });
    this.#unsubscribe = store.onCommit((batch) => this.#committed(batch));
  }

  /**
   * Serves one agent; the caller has made sure who it is. Takes the stream's incoming messages and gives
   * the outgoing ones, encoded. Throws what the agent is to be told when the session does not end well.
   */
  async *session(
    nodeId: string,
    requests: AsyncIterable<AgentMessage>,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    if (!this.#hasLeader()) throw leaderless();
    await this.#mustKnow(nodeId, signal);
    const session = this.#open(nodeId);
    const onAbort = () => session.close();
    signal.addEventListener('abort', onAbort, { once: true });
    void this.#read(session, requests);
    void this.#feedWhenCurrent(session, signal);
    try {
      const heartbeatPeriodMs = () => this.#facts.heartbeatPeriodMs;
      yield* session.messages({ heartbeatPeriodMs });
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#ended(session);
    }
  }

  /** Hands a log subscription to the node's agent; false: the node has no session here. */
  sendLogs(nodeId: string, change: LogSubscriptionChange): boolean {
    const session = this.#sessions.get(nodeId);
    if (session?.hello === undefined) return false;
    session.sendLogs(change);
    return true;
  }

  /** Nodes with a session here. */
  nodes(): readonly string[] {
    return [...this.#sessions.keys()];
  }

  /** Told when a node's session begins (after its hello) and ends. Returns how to stop it. */
  onSession(listener: (nodeId: string, isOpen: boolean) => void): () => void {
    this.#sessionListeners.add(listener);
    return () => this.#sessionListeners.delete(listener);
  }

  /** Nodes that are shown the endpoints of one of the networks. */
  followers(networkIds: readonly string[]): ReadonlySet<string> {
    return this.#index.followers(networkIds);
  }

  /** Everything that goes on beside the sessions; ends with the signal and takes the sessions with it. */
  async run(signal: AbortSignal): Promise<void> {
    try {
      await Promise.all([
        this.#relay.run(signal),
        this.#samples.run(signal),
        this.#liveness.run(signal),
        this.#superviseSessions(signal),
        this.#drains.run(signal),
      ]);
    } finally {
      this.#unsubscribe();
      this.#closeAll(new ShoalError('unavailable', 'this manager stops: use another one'));
    }
  }

  // ---- one session ----

  /** A replica that is behind may not have the node yet; to be told that it was removed ends a node. */
  async #mustKnow(nodeId: string, signal: AbortSignal): Promise<void> {
    const { store, consensus } = this.#deps;
    if (store.get('node', nodeId) === undefined) await consensus.readBarrier(signal);
    if (store.get('node', nodeId) === undefined) throw unknownNode(store, nodeId);
  }

  #open(nodeId: string): DispatcherSession {
    const { clock, random, store, log } = this.#deps;
    const node = store.get('node', nodeId);
    if (node === undefined) throw unknownNode(store, nodeId);
    const session = new DispatcherSession({
      id: newId(random),
      nodeId,
      clock,
      update: () => updateFor(store.get('node', nodeId) ?? node, this.#facts),
    });
    const replaced = new ShoalError('cancelled', 'the node has opened another session');
    this.#sessions.get(nodeId)?.close(replaced);
    this.#sessions.set(nodeId, session);
    log.debug('session opened', { nodeId, session: session.id });
    return session;
  }

  #ended(session: DispatcherSession): void {
    session.close();
    this.#relay.forget(session);
    this.#liveness.forget(session);
    if (this.#sessions.get(session.nodeId) !== session) return;
    this.#sessions.delete(session.nodeId);
    this.#liveness.ended(session);
    this.#deps.log.debug('session ended', { nodeId: session.nodeId, session: session.id });
    this.#tellSession(session.nodeId, false);
  }

  async #read(session: DispatcherSession, requests: AsyncIterable<AgentMessage>): Promise<void> {
    const { clock } = this.#deps;
    const late = clock.after(HELLO_WITHIN_MS, () =>
      session.close(new ShoalError('deadline-exceeded', 'no hello came in time')),
    );
    try {
      for await (const { message } of requests) {
        session.lastHeardMs = clock.monotonicMs();
        if (message === undefined) continue; // of a later version: still a sign of life
        if (message.$case === 'hello') late.cancel();
        this.#received(session, message);
        if (session.isClosed) return;
      }
      session.close();
    } catch (error) {
      const known = isShoalError(error) ? error : undefined;
      session.close(known ?? new ShoalError('internal', messageOf(error), { cause: error }));
    } finally {
      late.cancel();
    }
  }

  #received(session: DispatcherSession, message: NonNullable<AgentMessage['message']>): void {
    if (session.hello === undefined && message.$case !== 'hello') {
      session.close(new ShoalError('failed-precondition', 'a session begins with a hello'));
      return;
    }
    switch (message.$case) {
      case 'hello':
        session.greeted(message.value.address, message.value.description);
        this.#tellSession(session.nodeId, true);
        this.#liveness.tellSoon(session);
        return;
      case 'heartbeat':
        // The leader may be waiting for this node, whoever holds the session of the task that stops.
        if (session.beat(message.value.appliedRevision) && this.#drains.isAnyDraining) {
          this.#liveness.tellSoon(session);
        }
        return;
      case 'report':
        this.#relay.add(session, message.value);
        return;
      case 'description':
        if (session.hello !== undefined) session.greeted(session.hello.address, message.value);
        this.#liveness.tellSoon(session);
        return;
      case 'samples':
        this.#samples.add(session.nodeId, message.value);
        return;
      case 'goodbye':
        this.#liveness.departed(session.nodeId);
        session.departs(isDown(this.#deps.store.get('node', session.nodeId)));
        return;
      default:
        unreachable(message);
    }
  }

  /**
   * A complete set is all that the agent goes by, so it must not come from a replica that is behind the
   * one that served the agent before: tasks would be stopped that run rightly.
   */
  async #feedWhenCurrent(session: DispatcherSession, signal: AbortSignal): Promise<void> {
    const { consensus, store, clock } = this.#deps;
    while (!session.isClosed) {
      try {
        await consensus.readBarrier(signal);
        break;
      } catch (error) {
        if (signal.aborted) return;
        this.#deps.log.debug('the replica is not current yet', { error: messageOf(error) });
        await sleep(clock, BARRIER_RETRY_MS, signal).catch(() => undefined);
      }
    }
    if (session.isClosed) return;
    const { nodeId } = session;
    session.feed({
      keys: () => this.#index.keysOf(nodeId),
      encodedChange: (key) => this.#index.encodedChange(nodeId, key),
      revision: () => store.index,
    });
  }

  // ---- all sessions ----

  #committed(batch: ChangeBatch): void {
    this.#index.apply(batch);
    this.#drains.committed(batch, this.#deps.store);
    for (const change of batch.changes) {
      if (change.table !== 'node') continue;
      const session = this.#sessions.get(change.object.id);
      if (change.action === 'remove') session?.close(new NodeRemovedError(change.object.id));
      else if (session?.isDeparting && isDown(change.object)) session.close();
      else if (!sameForAgent(change.previous, change.object)) session?.owesUpdate();
    }
    if (!touchesFacts(batch)) return;
    const facts = factsOf(this.#deps.store);
    if (sameValue(facts, this.#facts)) return;
    this.#facts = facts;
    for (const session of this.#sessions.values()) session.owesUpdate();
  }

  async #superviseSessions(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#deps;
    while (!signal.aborted) {
      await sleep(clock, DIGEST_PERIOD_MS, signal).catch(() => undefined);
      if (!this.#hasLeader() && this.#sessions.size > 0) {
        log.warn('no leader: sessions are closed', { sessions: this.#sessions.size });
        this.#closeAll(leaderless());
      }
      const silentMaxMs =
        ABANDONED_WINDOWS * MISSED_HEARTBEATS * Math.max(1_000, this.#facts.heartbeatPeriodMs);
      for (const session of this.#sessions.values()) {
        if (clock.monotonicMs() - session.lastHeardMs < silentMaxMs) continue;
        session.close(new ShoalError('deadline-exceeded', 'no heartbeat came'));
        this.#ended(session);
      }
    }
  }

  #hasLeader(): boolean {
    const nowMs = this.#deps.clock.monotonicMs();
    const status = this.#deps.consensus.status();
    if (status.isLeader) this.#leaderSeenMs = nowMs;
    else if (status.leaderRaftId !== undefined) {
      this.#leaderSeenMs = Math.max(this.#leaderSeenMs, status.leaderHeardAtMs);
    }
    return nowMs - this.#leaderSeenMs <= LEADER_LEASE_MS;
  }

  #closeAll(error: ShoalError): void {
    for (const session of [...this.#sessions.values()]) {
      session.close(error);
      this.#ended(session);
    }
  }

  #tellSession(nodeId: string, isOpen: boolean): void {
    for (const listener of this.#sessionListeners) listener(nodeId, isOpen);
  }
}

function isDown(node: Node | undefined): boolean {
  return node === undefined || node.status?.state === NodeState.DOWN;
}

function leaderless(): ShoalError {
  return new ShoalError(
    'unavailable',
    'this manager has lost the leader of the cluster: use another manager',
  );
}
