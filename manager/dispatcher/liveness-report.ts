import { type Clock, sleep } from '../../shared/clock.ts';
import { messageOf } from '../../shared/errors.ts';
import type { LivenessDigest, NodeSession } from '../../shared/gen/shoal/v1/peer.ts';
import type { Log } from '../../shared/log.ts';
import type { Consensus } from '../raft/consensus.ts';
import { Bell } from './bell.ts';
import type { DispatcherSession } from './session.ts';

/** How often the leader is told who lives. */
export const DIGEST_PERIOD_MS = 500;
/** A session that comes or goes is told sooner; several of them together. */
const DIGEST_SOON_MS = 20;
const DIGEST_RETRY_MS = 100;
/**
 * The agent of this very host that goes without a goodbye is being restarted, and its containers run on: while this
 * manager lives, so does the host. When the host dies, this manager's digests end with it.
 */
const AGENT_RESTART_MS = 15_000;

export type LivenessReportDeps = Readonly<{
  /** This manager's node. */
  nodeId: string;
  store: Readonly<{ index: number }>;
  consensus: Pick<Consensus, 'status'>;
  leader: Readonly<{
    reportLiveness(digest: LivenessDigest, signal: AbortSignal): Promise<void>;
  }>;
  sessions: () => Iterable<DispatcherSession>;
  hasSession: (nodeId: string) => boolean;
  clock: Clock;
  log: Log;
}>;

type DescribedTo = Readonly<{ leader: string; description: unknown }>;

/** Tells the leader which nodes have a session at this manager, and how they are. */
export class LivenessReport {
  readonly #deps: LivenessReportDeps;
  readonly #bell = new Bell();
  /** Said goodbye, and the leader was not told yet. */
  readonly #departed = new Set<string>();
  /** Have something to tell before the next digest of all. */
  readonly #news = new Set<DispatcherSession>();
  /** Descriptions the present leader has, by session. */
  readonly #described = new WeakMap<DispatcherSession, DescribedTo>();
  #ownAgent: { address: string; untilMs: number } | undefined;

  constructor(deps: LivenessReportDeps) {
    this.#deps = deps;
  }

  tellSoon(session: DispatcherSession): void {
    this.#news.add(session);
    this.#bell.ring();
  }

  /** The node said goodbye. */
  departed(nodeId: string): void {
    this.#departed.add(nodeId);
    if (nodeId === this.#deps.nodeId) this.#ownAgent = undefined;
    this.#bell.ring();
  }

  forget(session: DispatcherSession): void {
    this.#news.delete(session);
  }

  /** It was its node's session, and no other took its place. */
  ended(session: DispatcherSession): void {
    const { nodeId, clock } = this.#deps;
    if (session.nodeId !== nodeId || !session.hello || session.isDeparting) return;
    const untilMs = clock.monotonicMs() + AGENT_RESTART_MS;
    this.#ownAgent = { address: session.hello.address, untilMs };
  }

  /** Tells the leader, until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, leader, log } = this.#deps;
    let allAtMs = clock.monotonicMs() + DIGEST_PERIOD_MS;
    while (!signal.aborted) {
      const waitMs = Math.max(0, allAtMs - clock.monotonicMs() - DIGEST_SOON_MS);
      const timer = clock.after(waitMs, () => this.#bell.ring());
      await this.#bell.heard(signal);
      timer.cancel();
      await sleep(clock, DIGEST_SOON_MS, signal).catch(() => undefined);
      if (signal.aborted) return;
      this.#bell.hush();
      // Timers may come a little early.
      const isAll = clock.monotonicMs() >= allAtMs - DIGEST_SOON_MS / 2;
      const { digest, told } = this.#digest(isAll ? this.#deps.sessions() : this.#news);
      this.#news.clear();
      try {
        await leader.reportLiveness(digest, signal);
        told();
        if (isAll) allAtMs = clock.monotonicMs() + DIGEST_PERIOD_MS;
      } catch (error) {
        allAtMs = clock.monotonicMs() + DIGEST_RETRY_MS;
        log.debug('the leader is not told who lives', { error: messageOf(error) });
      }
    }
  }

  #digest(of: Iterable<DispatcherSession>): { digest: LivenessDigest; told: () => void } {
    const { clock, store, consensus, nodeId } = this.#deps;
    const { term, leaderRaftId } = consensus.status();
    const leader = `${term}/${leaderRaftId ?? ''}`;
    const departed = [...this.#departed];
    const sessions: NodeSession[] = [];
    const descriptions: [DispatcherSession, DescribedTo][] = [];
    for (const session of of) {
      if (session.hello === undefined || session.isClosed || session.isDeparting) continue;
      const { address, description } = session.hello;
      const known = this.#described.get(session);
      const isNews = known?.leader !== leader || known.description !== description;
      if (isNews) descriptions.push([session, { leader, description }]);
      sessions.push({
        nodeId: session.nodeId,
        address,
        description: isNews ? description : undefined,
        silentMs: Math.round(clock.monotonicMs() - session.lastHeardMs),
        appliedRevision: session.appliedRevision(store.index),
        vouched: false,
      });
    }
    const own = this.#ownAgent;
    if (own && clock.monotonicMs() < own.untilMs && !this.#deps.hasSession(nodeId)) {
      const { address } = own;
      const vouched = { silentMs: 0, appliedRevision: 0, vouched: true };
      sessions.push({ nodeId, address, description: undefined, ...vouched });
    }
    const told = () => {
      for (const id of departed) this.#departed.delete(id);
      for (const [session, to] of descriptions) this.#described.set(session, to);
    };
    return { digest: { managerId: nodeId, sessions, departed }, told };
  }
}
