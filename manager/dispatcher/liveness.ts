import {
  type Node,
  type NodeDescription,
  NodeState,
  type NodeStatus,
} from '../../shared/gen/shoal/v1/objects.ts';
import type { LivenessDigest, NodeSession } from '../../shared/gen/shoal/v1/peer.ts';
import { sameValue } from '../../shared/model/equal.ts';
import type { ReadView } from '../store/types.ts';
import { MISSED_HEARTBEATS } from './heartbeat.ts';

/** What shall stand in a node's object, because it differs from what does. */
export type NodeChange = Readonly<{
  nodeId: string;
  status: NodeStatus;
  /** Undefined: as it is. */
  description: NodeDescription | undefined;
}>;

export type LivenessDecision = Readonly<{
  changes: readonly NodeChange[];
  /** Monotonic time at which the next node may go down if nothing is heard until then. */
  nextCheckMs: number | undefined;
}>;

type Seen = {
  /** Monotonic: silence counts from here on at the earliest. */
  grantedAtMs: number;
  /** The last sign of the node; undefined: no digest has named it. */
  heard: { atMs: number; managerId: string; session: NodeSession } | undefined;
  /** It said goodbye then: what was heard before does not count any more. */
  departedAtMs: number | undefined;
  description: NodeDescription | undefined;
};

/** A manager that has left out two digests counts as gone. */
const MANAGER_SILENT_MS = 1_250;

/**
 * Who is alive, as the leader concludes from the managers' digests.
 *
 * - A node is heard of when a digest names it, `silentMs` before the digest came.
 * - It is down when nothing was heard for three periods. A node whose manager fell silent has time from
 *   that manager's last digest on, and one period more to find another. Not so the manager's own
 *   host: that one fell silent itself.
 * - A leader that has just begun knows nothing, so every node has the full time from then on. Nodes that
 *   are down stay so until they are heard.
 * - Who says goodbye is down at once.
 *
 * Times are monotonic milliseconds of this leader.
 */
export class Liveness {
  readonly #nodes = new Map<string, Seen>();
  readonly #digestAtMs = new Map<string, number>();

  /** True when `decide` may have something to say that it did not before. */
  digest(digest: LivenessDigest, view: ReadView, nowMs: number): boolean {
    this.#digestAtMs.set(digest.managerId, nowMs);
    let isNews = false;
    for (const session of digest.sessions) {
      if (this.#named(session, digest.managerId, view.get('node', session.nodeId), nowMs)) {
        isNews = true;
      }
    }
    for (const nodeId of digest.departed) {
      this.#seen(nodeId, nowMs).departedAtMs = nowMs;
      isNews = true;
    }
    return isNews;
  }

  /** Looks at every node of the store. */
  decide(view: ReadView, periodMs: number, nowMs: number): LivenessDecision {
    const changes: NodeChange[] = [];
    let nextCheckMs: number | undefined;
    for (const node of view.all('node')) {
      const seen = this.#seen(node.id, nowMs);
      const deadlineMs = this.#deadlineMs(node.id, seen, periodMs, nowMs);
      const change = judge(node, seen, { deadlineMs, periodMs, nowMs });
      if (change !== undefined) changes.push(change);
      if (deadlineMs <= nowMs || seen.departedAtMs !== undefined) continue;
      if (nextCheckMs === undefined || deadlineMs < nextCheckMs) nextCheckMs = deadlineMs;
    }
    for (const nodeId of this.#nodes.keys()) {
      if (view.get('node', nodeId) === undefined) this.#nodes.delete(nodeId);
    }
    return { changes, nextCheckMs };
  }

  /** Store index that the node's kernel is known to be at; undefined when nothing was heard of it. */
  appliedRevision(nodeId: string): number | undefined {
    return this.#nodes.get(nodeId)?.heard?.session.appliedRevision;
  }

  #named(session: NodeSession, managerId: string, node: Node | undefined, nowMs: number): boolean {
    const atMs = nowMs - Math.max(0, session.silentMs);
    const seen = this.#seen(session.nodeId, nowMs);
    const known = seen.heard;
    // Two managers name a node for a while, when it changed sides and its old stream is not known dead.
    if (known !== undefined && known.managerId !== managerId) {
      // A session counts for more than the word of a manager that has lost it, however new that is.
      if (session.vouched) return false;
      if (!known.session.vouched && atMs <= known.atMs) return false;
    }
    if (seen.departedAtMs !== undefined && atMs <= seen.departedAtMs) return false;
    seen.departedAtMs = undefined;
    seen.heard = { atMs: Math.max(atMs, known?.atMs ?? atMs), managerId, session };
    seen.description = session.description ?? seen.description;
    if (node === undefined) return false;
    return (
      node.status?.state !== NodeState.READY ||
      node.status.address !== session.address ||
      session.description !== undefined
    );
  }

  #deadlineMs(nodeId: string, seen: Seen, periodMs: number, nowMs: number): number {
    const windowMs = MISSED_HEARTBEATS * periodMs;
    const ownMs = Math.max(seen.grantedAtMs, seen.heard?.atMs ?? seen.grantedAtMs) + windowMs;
    if (seen.heard === undefined || seen.heard.managerId === nodeId) return ownMs;
    const digestAtMs = this.#digestAtMs.get(seen.heard.managerId) ?? nowMs;
    if (nowMs - digestAtMs <= MANAGER_SILENT_MS) return ownMs;
    return Math.max(ownMs, digestAtMs + windowMs + periodMs);
  }

  #seen(nodeId: string, nowMs: number): Seen {
    const present = this.#nodes.get(nodeId);
    if (present !== undefined) return present;
    const made: Seen = {
      grantedAtMs: nowMs,
      heard: undefined,
      departedAtMs: undefined,
      description: undefined,
    };
    this.#nodes.set(nodeId, made);
    return made;
  }
}

function judge(
  node: Node,
  seen: Seen,
  at: { deadlineMs: number; periodMs: number; nowMs: number },
): NodeChange | undefined {
  const isDown = node.status?.state === NodeState.DOWN;
  if (seen.departedAtMs !== undefined) {
    return isDown ? undefined : down(node, 'the node said goodbye');
  }
  if (at.nowMs >= at.deadlineMs) {
    if (isDown) return undefined;
    const silentMs = Math.round(at.nowMs - (seen.heard?.atMs ?? seen.grantedAtMs));
    const name = node.description?.hostname || node.id;
    return down(node, `heartbeat failure for node ${name}: not heard for ${silentMs} ms`);
  }
  if (seen.heard === undefined) return undefined;
  // A leader that has just begun gives every node time; that alone brings no node back to life.
  if (isDown && at.nowMs - seen.heard.atMs >= MISSED_HEARTBEATS * at.periodMs) return undefined;
  const address = seen.heard.session.address;
  const status: NodeStatus = { state: NodeState.READY, message: '', address };
  const isNews = seen.description !== undefined && !sameValue(seen.description, node.description);
  if (!isNews && sameValue(status, node.status)) return undefined;
  return { nodeId: node.id, status, description: isNews ? seen.description : undefined };
}

function down(node: Node, message: string): NodeChange {
  const address = node.status?.address ?? '';
  const status = { state: NodeState.DOWN, message, address };
  return { nodeId: node.id, status, description: undefined };
}
