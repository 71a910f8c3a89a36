import { aborted } from '../../shared/abort.ts';
import { type Clock, sleep } from '../../shared/clock.ts';
import { messageOf } from '../../shared/errors.ts';
import type { AwaitAppliedRequest, AwaitAppliedResponse } from '../../shared/gen/shoal/v1/peer.ts';
import type { Log } from '../../shared/log.ts';
import type { ChangeBatch, ReadView } from '../store/types.ts';
import { Bell } from './bell.ts';
import { DRAIN_WAIT_MS, type DrainGroup, Drains } from './drains.ts';

export type DrainReleaseDeps = Readonly<{
  /** Whether this manager holds the node's session. */
  hasSession(nodeId: string): boolean;
  /** The task is not draining any more: its node is to be told. */
  released(nodeId: string, taskId: string): void;
  awaitApplied(request: AwaitAppliedRequest, signal: AbortSignal): Promise<AwaitAppliedResponse>;
  clock: Clock;
  log: Log;
}>;

/** Tasks that stop at about the same time are asked about together. */
const GATHER_MS = 10;
const RETRY_MS = 100;
/** The leader gives up sooner than who asks it, so that its answer still counts. */
const ANSWER_MS = 200;

/**
 * Holds back the stop of back-ends until the leader says that every host knows, for a bounded time. One call per
 * group of tasks and manager; nothing is written.
 */
export class DrainRelease {
  readonly #deps: DrainReleaseDeps;
  readonly #drains = new Drains();
  readonly #bell = new Bell();

  constructor(deps: DrainReleaseDeps) {
    this.#deps = deps;
  }

  committed(batch: ChangeBatch, view: ReadView): void {
    if (this.#drains.committed(batch, view)) this.#bell.ring();
  }

  /** At the start of this manager: what was in the midst of a drain goes on with it. */
  resume(view: ReadView): void {
    if (this.#drains.resume(view)) this.#bell.ring();
  }

  isDraining(taskId: string): boolean {
    return this.#drains.has(taskId);
  }

  /** True while hosts' progress matters to somebody, here or at another manager. */
  get isAnyDraining(): boolean {
    return this.#drains.isAnyOpen;
  }

  async run(signal: AbortSignal): Promise<void> {
    const waiting = new Set<Promise<void>>();
    while (!signal.aborted) {
      await this.#bell.heard(signal);
      await sleep(this.#deps.clock, GATHER_MS, signal).catch(() => undefined);
      const group = this.#drains.take();
      if (group === undefined) continue;
      const released = this.#release(group, signal);
      waiting.add(released);
      void released.finally(() => waiting.delete(released));
    }
    await Promise.all(waiting);
  }

  async #release(group: DrainGroup, signal: AbortSignal): Promise<void> {
    const { drains, revision, networkIds, isResumed } = group;
    const { clock, log, hasSession, released } = this.#deps;
    const over = new AbortController();
    const timer = clock.after(DRAIN_WAIT_MS, () => over.abort());
    const until = AbortSignal.any([signal, over.signal]);
    try {
      if (isResumed || drains.some(({ nodeId }) => hasSession(nodeId))) {
        const withinMs = DRAIN_WAIT_MS - ANSWER_MS;
        const request = { revision, networkIds: [...networkIds], withinMs };
        const behind = await this.#ask(request, until);
        if (behind.length > 0) {
          const nodes = behind.join(' ');
          log.warn('tasks stop though some hosts may still send them connections', { nodes });
        }
      } else {
        // Other managers ask. Here they end with the time: an agent may come over meanwhile.
        await aborted(until);
      }
    } finally {
      timer.cancel();
      over.abort();
      for (const { taskId, nodeId } of drains) {
        if (this.#drains.close(taskId)) released(nodeId, taskId);
      }
    }
  }

  /** Never longer than the signal; nodes that are behind, as far as the leader said. */
  async #ask(request: AwaitAppliedRequest, signal: AbortSignal): Promise<readonly string[]> {
    const { clock, log, awaitApplied } = this.#deps;
    while (!signal.aborted) {
      try {
        return (await awaitApplied(request, signal)).behind;
      } catch (error) {
        log.debug('the leader does not say who is up to date', { error: messageOf(error) });
        await sleep(clock, RETRY_MS, signal).catch(() => undefined);
      }
    }
    return [];
  }
}
