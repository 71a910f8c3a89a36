/** Somebody who waits for nodes to carry a revision into their kernels. */
export type AppliedWait = Readonly<{
  revision: number;
  /** Resolves when no node is missing any more; never rejects. */
  done: Promise<void>;
}>;

type Waiting = AppliedWait & { readonly missing: Set<string>; readonly resolve: () => void };

/**
 * The leader's list of who waits for which nodes. A node that let somebody wait in vain is not waited for again
 * until it is where it should have been: one broken host costs one time-out, not one for each step of an update.
 */
export class AppliedWaits {
  readonly #waits = new Set<Waiting>();
  /** The revision each of them failed to reach. */
  readonly #laggards = new Map<string, number>();

  /** Waits for those of the nodes that are not known to be there; `applied` says how far a node is. */
  open(
    revision: number,
    nodeIds: Iterable<string>,
    applied: (nodeId: string) => number | undefined,
  ): AppliedWait {
    const { promise: done, resolve } = Promise.withResolvers<void>();
    const missing = new Set<string>();
    for (const id of nodeIds) {
      if ((applied(id) ?? 0) < revision && !this.#laggards.has(id)) missing.add(id);
    }
    const wait: Waiting = { revision, done, missing, resolve };
    if (missing.size === 0) resolve();
    else this.#waits.add(wait);
    return wait;
  }

  /** The node's kernel shows the revision. */
  reached(nodeId: string, revision: number): void {
    const failed = this.#laggards.get(nodeId);
    if (failed !== undefined && failed <= revision) this.#laggards.delete(nodeId);
    for (const wait of this.#waits) if (wait.revision <= revision) this.#found(wait, nodeId);
  }

  /** The node is down or removed: nobody waits for it. */
  lost(nodeId: string): void {
    this.#laggards.delete(nodeId);
    for (const wait of this.#waits) this.#found(wait, nodeId);
  }

  /** Its time is over: gives the nodes that are still missing, and remembers them. */
  expire(wait: AppliedWait): readonly string[] {
    const missing = this.close(wait);
    for (const id of missing) this.#laggards.set(id, wait.revision);
    return missing;
  }

  /** Ends a wait, at whatever point it is; gives the nodes that are still missing. */
  close(wait: AppliedWait): readonly string[] {
    for (const known of this.#waits) {
      if (known !== wait) continue;
      this.#waits.delete(known);
      return [...known.missing];
    }
    return [];
  }

  #found(wait: Waiting, nodeId: string): void {
    if (!wait.missing.delete(nodeId) || wait.missing.size > 0) return;
    this.#waits.delete(wait);
    wait.resolve();
  }
}
