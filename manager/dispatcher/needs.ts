/**
 * Which nodes need which things (networks, secrets, configs), counted by the tasks that bring the
 * need: the last task that goes takes the need with it. Looked up from both sides.
 */
export class Needs {
  readonly #nodesOf = new Map<string, Map<string, number>>();
  readonly #thingsOf = new Map<string, Set<string>>();

  /** True when the node did not need it before. */
  add(nodeId: string, thing: string): boolean {
    const nodes = getOrMake(this.#nodesOf, thing, () => new Map<string, number>());
    const count = nodes.get(nodeId) ?? 0;
    nodes.set(nodeId, count + 1);
    if (count > 0) return false;
    getOrMake(this.#thingsOf, nodeId, () => new Set<string>()).add(thing);
    return true;
  }

  /** True when the node does not need it any more. */
  remove(nodeId: string, thing: string): boolean {
    const nodes = this.#nodesOf.get(thing);
    const count = nodes?.get(nodeId) ?? 0;
    if (nodes === undefined || count === 0) return false;
    if (count > 1) {
      nodes.set(nodeId, count - 1);
      return false;
    }
    nodes.delete(nodeId);
    if (nodes.size === 0) this.#nodesOf.delete(thing);
    const things = this.#thingsOf.get(nodeId);
    things?.delete(thing);
    if (things?.size === 0) this.#thingsOf.delete(nodeId);
    return true;
  }

  has(nodeId: string, thing: string): boolean {
    return this.#thingsOf.get(nodeId)?.has(thing) === true;
  }

  nodesOf(thing: string): Iterable<string> {
    return this.#nodesOf.get(thing)?.keys() ?? [];
  }

  thingsOf(nodeId: string): Iterable<string> {
    return this.#thingsOf.get(nodeId) ?? [];
  }

  /** Whether some thing is needed by both. */
  share(nodeId: string, otherId: string): boolean {
    const mine = this.#thingsOf.get(nodeId);
    const theirs = this.#thingsOf.get(otherId);
    if (mine === undefined || theirs === undefined) return false;
    const [few, many] = mine.size <= theirs.size ? [mine, theirs] : [theirs, mine];
    for (const thing of few) if (many.has(thing)) return true;
    return false;
  }
}

export function getOrMake<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const present = map.get(key);
  if (present !== undefined) return present;
  const made = make();
  map.set(key, made);
  return made;
}
