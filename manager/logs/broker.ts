import { Channel } from '../../shared/channel.ts';
import { type Clock, sleep, type Timer } from '../../shared/clock.ts';
import { messageOf, ShoalError } from '../../shared/errors.ts';
import type { LogSubscriptionChange } from '../../shared/gen/shoal/v1/dispatcher.ts';
import type {
  LogMessage,
  LogPublication,
  LogSubscription,
} from '../../shared/gen/shoal/v1/logs.ts';
import { newId } from '../../shared/ids.ts';
import type { Log } from '../../shared/log.ts';
import type { Random } from '../../shared/random.ts';
import { factsOf } from '../dispatcher/facts.ts';
import type { WatchableStore } from '../store/types.ts';
import { resolveSelector } from './select.ts';
import { LocalSubscription } from './subscription.ts';

/** The agents that this manager can speak to: its dispatcher. */
interface LogSessions {
  sendLogs(nodeId: string, change: LogSubscriptionChange): boolean;
  onSession(listener: (nodeId: string, isOpen: boolean) => void): () => void;
}

/** The way to another manager, by its address: its `local`. */
export interface PeerLogs {
  logs(
    address: string,
    subscription: LogSubscription,
    signal: AbortSignal,
  ): AsyncIterable<LogMessage>;
}

export type LogBrokerDeps = Readonly<{
  /** This manager's node. */
  nodeId: string;
  store: WatchableStore;
  sessions: LogSessions;
  peers: PeerLogs;
  clock: Clock;
  random: Random;
  log: Log;
}>;

/** Subscriptions served at a time; each holds some hundred messages at most. */
const SUBSCRIPTIONS_MAX = 256;
const MERGE_CAPACITY = 64;
const PATIENCE_CHECK_MS = 1_000;
const PEER_RETRY_MS = 1_000;

/**
 * Logs of tasks on any host. The manager that was asked spreads a subscription to all managers; each
 * asks the agents whose sessions it has, and these publish to it. A slow reader slows the agents down;
 * a host that does not answer is left out and noted, never waited for.
 */
export class LogBroker {
  readonly #deps: LogBrokerDeps;
  readonly #open = new Map<string, LocalSubscription>();

  constructor(deps: LogBrokerDeps) {
    this.#deps = deps;
    deps.sessions.onSession((nodeId, isOpen) => {
      for (const subscription of this.#open.values()) {
        if (isOpen) subscription.sessionOpened(nodeId);
        else subscription.sessionEnded(nodeId);
      }
    });
    deps.store.onCommit(({ changes }) => {
      if (this.#open.size === 0) return;
      for (const change of changes) {
        if (change.table !== 'task' || change.action === 'remove') continue;
        for (const subscription of this.#open.values()) subscription.taskChanged(change.object);
      }
    });
  }

  /**
   * For a client: messages from the whole cluster, each task's in order. Without `follow` it ends when
   * all have told what they have. Throws ShoalError `not-found`, `resource-exhausted`.
   */
  async *subscribe(request: LogSubscription, signal: AbortSignal): AsyncGenerator<LogMessage> {
    const { store, random, nodeId } = this.#deps;
    const selector = resolveSelector(store, request.selector);
    const subscription = { ...request, id: newId(random), selector };
    const stop = new AbortController();
    const anySignal = AbortSignal.any([signal, stop.signal]);
    const merged = new Channel<LogMessage>(MERGE_CAPACITY);
    const sources = [
      merged.take(this.local(subscription, anySignal)),
      ...factsOf(store)
        .managers.filter((manager) => manager.nodeId !== nodeId)
        .map(({ address }) => this.#drainPeer(address, subscription, merged, anySignal)),
    ];
    const all = Promise.all(sources);
    // A failure of this manager's own part is the client's to know; it comes out below.
    all.then(
      () => merged.close(),
      () => merged.close(),
    );
    const onAbort = () => merged.close();
    anySignal.addEventListener('abort', onAbort, { once: true });
    try {
      yield* merged;
      if (!signal.aborted) await all;
    } finally {
      anySignal.removeEventListener('abort', onAbort);
      stop.abort(new ShoalError('cancelled', 'the reader of the logs is gone'));
    }
  }

  /** This manager's part of a subscription: from the agents whose sessions it has. */
  async *local(request: LogSubscription, signal: AbortSignal): AsyncGenerator<LogMessage> {
    const { store, sessions, clock, log } = this.#deps;
    if (this.#open.size >= SUBSCRIPTIONS_MAX || this.#open.has(request.id)) {
      const why = `${this.#open.size} log subscriptions are open on this manager: close some`;
      throw new ShoalError('resource-exhausted', why);
    }
    const selector = request.selector ?? { serviceIds: [], taskIds: [] };
    const send = (nodeId: string, change: LogSubscriptionChange) =>
      sessions.sendLogs(nodeId, change);
    const subscription = new LocalSubscription(
      { view: store, clock, log, send },
      request,
      selector,
    );
    this.#open.set(request.id, subscription);
    const onAbort = () => subscription.close();
    signal.addEventListener('abort', onAbort, { once: true });
    let timer: Timer | undefined;
    const check = () => {
      subscription.checkPatience();
      timer = clock.after(PATIENCE_CHECK_MS, check);
    };
    try {
      if (signal.aborted) return;
      subscription.start();
      check();
      yield* subscription.messages;
    } finally {
      timer?.cancel();
      signal.removeEventListener('abort', onAbort);
      this.#open.delete(request.id);
      subscription.close();
    }
  }

  /** One agent's stream for one subscription; returns when the agent should stop, or has ended it. */
  async publish(nodeId: string, publications: AsyncIterable<LogPublication>): Promise<void> {
    let subscription: LocalSubscription | undefined;
    let error = 'its stream broke off';
    try {
      for await (const publication of publications) {
        if (subscription === undefined) {
          subscription = this.#open.get(publication.subscriptionId);
          if (subscription?.publishStarts(nodeId) !== true) {
            subscription = undefined; // nobody reads, or this node was not asked: it may stop
            return;
          }
        }
        if (!(await subscription.publish(nodeId, publication.messages))) return;
        if (publication.done) {
          error = publication.error;
          return;
        }
      }
      error = '';
    } finally {
      subscription?.publishEnds(nodeId, error);
    }
  }

  /** Another manager's part; one that cannot be reached has no sessions either. */
  async #drainPeer(
    address: string,
    subscription: LogSubscription,
    into: Channel<LogMessage>,
    signal: AbortSignal,
  ): Promise<void> {
    const { peers, clock, log } = this.#deps;
    let request = subscription;
    while (!signal.aborted) {
      try {
        await into.take(peers.logs(address, request, signal));
        return;
      } catch (error) {
        if (signal.aborted) return;
        log.warn('no logs from a manager', { manager: address, error: messageOf(error) });
        if (subscription.options?.follow !== true) return;
        // What it had was shown. From here on only what is new, or lines would come twice.
        request = { ...subscription, options: { ...subscription.options, tail: 0 } };
        await sleep(clock, PEER_RETRY_MS, signal).catch(() => undefined);
      }
    }
  }
}
