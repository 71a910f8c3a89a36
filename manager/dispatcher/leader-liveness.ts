import { aborted } from '../../shared/abort.ts';
import type { Clock, Timer } from '../../shared/clock.ts';
import { messageOf, NotLeaderError } from '../../shared/errors.ts';
import { type Node, NodeState } from '../../shared/gen/shoal/v1/objects.ts';
import type { AwaitAppliedResponse, LivenessDigest } from '../../shared/gen/shoal/v1/peer.ts';
import type { StoreAction } from '../../shared/gen/shoal/v1/store.ts';
import type { Log } from '../../shared/log.ts';
import { updateAction } from '../store/tables.ts';
import type { ChangeBatch, ReadView, WatchableStore, Writer } from '../store/types.ts';
import { writeInBatches } from '../store/writer.ts';
import { AppliedWaits } from './applied-waits.ts';
import { Bell } from './bell.ts';
import { factsOf } from './facts.ts';
import { Liveness, type NodeChange } from './liveness.ts';

export type LeaderLivenessDeps = Readonly<{
  store: WatchableStore;
  writer: Writer;
  clock: Clock;
  log: Log;
}>;

/** Pause after a write that failed: another writer was quicker, or there is no quorum. */
const RETRY_MS = 50;
/** Whatever a caller asks for: nobody waits here longer for nodes. */
const WAIT_MOST_MS = 10_000;

/**
 * The leader's part: takes the digests of all managers and keeps the nodes' status and description in
 * the store. Digests are taken only while `run` is under way.
 */
export class LeaderLiveness {
  readonly #deps: LeaderLivenessDeps;
  readonly #bell = new Bell();
  #liveness: Liveness | undefined;
  #waits = new AppliedWaits();
  #ended = new AbortController();
  #alarm: Timer | undefined;

  constructor(deps: LeaderLivenessDeps) {
    this.#deps = deps;
  }

  /** Throws NotLeaderError while this manager is not at it: then the digest counts for nothing. */
  report(digest: LivenessDigest): void {
    const liveness = this.#liveness;
    if (liveness === undefined) throw new NotLeaderError(undefined);
    const { store, clock } = this.#deps;
    if (liveness.digest(digest, store, clock.monotonicMs())) this.#bell.ring();
    for (const { nodeId } of digest.sessions) {
      this.#waits.reached(nodeId, liveness.appliedRevision(nodeId) ?? 0);
    }
  }

  /**
   * Resolves when the kernels of all nodes named by `nodeIds` that are up are known to show the revision, or after
   * `withinMs` at the latest, with those that are behind. `nodeIds` is asked when this replica is at the revision.
   * Throws NotLeaderError as `report` does.
   */
  async awaitApplied(
    revision: number,
    nodeIds: () => Iterable<string>,
    withinMs: number,
    signal: AbortSignal,
  ): Promise<AwaitAppliedResponse> {
    if (this.#liveness === undefined) throw new NotLeaderError(undefined);
    const { store, clock } = this.#deps;
    const over = new AbortController();
    const timer = clock.after(Math.min(withinMs, WAIT_MOST_MS), () => over.abort());
    const until = AbortSignal.any([signal, over.signal, this.#ended.signal]);
    try {
      await reached(store, revision, until);
      const up = [...nodeIds()].filter((id) => isUp(store.get('node', id)));
      const wait = this.#waits.open(revision, up, (id) => this.appliedRevision(id));
      await Promise.race([wait.done, aborted(until)]);
      if (this.#ended.signal.aborted) throw new NotLeaderError(undefined);
      const waits = this.#waits;
      return { behind: [...(over.signal.aborted ? waits.expire(wait) : waits.close(wait))] };
    } finally {
      timer.cancel();
      over.abort();
    }
  }

  /** Store index that the node's kernel is known to be at; undefined: not known. */
  appliedRevision(nodeId: string): number | undefined {
    return this.#liveness?.appliedRevision(nodeId);
  }

  /** A leader loop: from the beginning of leadership to its end. */
  async run(signal: AbortSignal): Promise<void> {
    const { store, clock, log } = this.#deps;
    const liveness = new Liveness();
    this.#liveness = liveness;
    this.#waits = new AppliedWaits();
    this.#ended = new AbortController();
    const unsubscribe = store.onCommit((batch) => {
      if (concernsNodes(batch)) this.#bell.ring();
      for (const change of batch.changes) {
        if (change.table !== 'node') continue;
        const isLost = change.action === 'remove' || !isUp(change.object);
        if (isLost) this.#waits.lost(change.object.id);
      }
    });
    this.#bell.ring();
    try {
      while (!signal.aborted) {
        await this.#bell.heard(signal);
        if (signal.aborted) return;
        const nowMs = clock.monotonicMs();
        const { heartbeatPeriodMs } = factsOf(store);
        const { changes, nextCheckMs } = liveness.decide(store, heartbeatPeriodMs, nowMs);
        const isWritten = await this.#write(changes, signal);
        const waitMs = isWritten ? nextCheckMs && Math.max(1, nextCheckMs - nowMs) : RETRY_MS;
        this.#alarm?.cancel();
        this.#alarm =
          waitMs === undefined ? undefined : clock.after(waitMs, () => this.#bell.ring());
      }
    } catch (error) {
      log.error('liveness ended', { error: messageOf(error) });
      throw error;
    } finally {
      unsubscribe();
      this.#alarm?.cancel();
      this.#liveness = undefined;
      this.#ended.abort();
    }
  }

  /** All nodes in one write. False: to be decided again. */
  async #write(changes: readonly NodeChange[], signal: AbortSignal): Promise<boolean> {
    const { store, writer, log } = this.#deps;
    const actions = changes.flatMap((change) => actionOf(store, change));
    if (actions.length === 0) return true;
    for (const { nodeId, status } of changes) {
      log.info('node state', { nodeId, state: status.state, reason: status.message });
    }
    try {
      await writeInBatches(writer, actions, signal);
      return true;
    } catch (error) {
      if (!signal.aborted) log.debug('node states are not written', { error: messageOf(error) });
      return false;
    }
  }
}

/** When the view is at the index, or the signal aborts. */
async function reached(
  store: Pick<WatchableStore, 'index' | 'onCommit'>,
  index: number,
  signal: AbortSignal,
): Promise<void> {
  const bell = new Bell();
  const unsubscribe = store.onCommit(() => bell.ring());
  while (store.index < index && !signal.aborted) await bell.heard(signal);
  unsubscribe();
}

function isUp(node: Node | undefined): boolean {
  return node?.status?.state === NodeState.READY;
}

function actionOf(view: ReadView, change: NodeChange): StoreAction[] {
  const node = view.get('node', change.nodeId);
  if (node === undefined) return [];
  const next: Node = {
    ...node,
    status: change.status,
    description: change.description ?? node.description,
  };
  return [updateAction('node', next)];
}

/** New and removed nodes, and periods that changed; what this loop wrote itself is of no interest. */
function concernsNodes(batch: ChangeBatch): boolean {
  return batch.changes.some(
    ({ table, action }) => table === 'cluster' || (table === 'node' && action !== 'update'),
  );
}
