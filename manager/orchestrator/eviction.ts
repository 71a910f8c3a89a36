/** More than this part of the nodes, and at least so many nodes in all: not a failure of hosts. */
const MASS_RATIO = 0.55; // where Kubernetes draws the line
const MASS_MIN_NODES = 4;
/** Nodes that went down further apart than this did not go down together. */
const TOGETHER_MS = 60_000;
/** Then one node's tasks are replaced per this time: Kubernetes' 0.1 nodes per second. */
const ONE_NODE_PER_MS = 10_000;

type DownNode = { readonly sinceMs: number; mayReplaceAtMs: number };

/**
 * When the tasks of nodes that are down may be replaced. At once, except when most of the cluster
 * went down together: then the network, or this manager, is likelier to be at fault than the hosts,
 * and starting everything again on what is left would only bring that down, too. Kept in the
 * leader's memory; another leader begins with what nodes say about when they changed.
 */
export class EvictionLimiter {
  readonly #down = new Map<string, DownNode>();
  #lastSlotMs = Number.NEGATIVE_INFINITY;

  /** Nodes that went down at the same time, of `total` nodes. */
  wentDown(nodeIds: readonly string[], sinceMs: number, total: number): void {
    const fresh = nodeIds.filter((id) => !this.#down.has(id)).sort();
    for (const id of fresh) this.#down.set(id, { sinceMs, mayReplaceAtMs: sinceMs });
    if (!this.#isMass(sinceMs, total)) return;
    for (const id of fresh) {
      this.#lastSlotMs = Math.max(sinceMs, this.#lastSlotMs + ONE_NODE_PER_MS);
      this.#down.set(id, { sinceMs, mayReplaceAtMs: this.#lastSlotMs });
    }
  }

  /**
   * The node is back or was removed. Returns nodes whose turn comes at once because not so many are
   * down any more.
   */
  cameBack(nodeId: string, nowMs: number, total: number): string[] {
    if (!this.#down.delete(nodeId) || this.#isMass(nowMs, total)) return [];
    const freed: string[] = [];
    for (const [id, node] of this.#down) {
      if (node.mayReplaceAtMs <= nowMs) continue;
      node.mayReplaceAtMs = nowMs;
      freed.push(id);
    }
    this.#lastSlotMs = Number.NEGATIVE_INFINITY;
    return freed;
  }

  downSinceMs(nodeId: string): number | undefined {
    return this.#down.get(nodeId)?.sinceMs;
  }

  /** A time in the past: now. */
  mayReplaceAtMs(nodeId: string): number {
    return this.#down.get(nodeId)?.mayReplaceAtMs ?? Number.NEGATIVE_INFINITY;
  }

  #isMass(nowMs: number, total: number): boolean {
    if (total < MASS_MIN_NODES) return false;
    let together = 0;
    for (const { sinceMs } of this.#down.values()) {
      if (sinceMs >= nowMs - TOGETHER_MS) together += 1;
    }
    return together > MASS_RATIO * total;
  }
}
