import type { Random } from '../../shared/random.ts';

export type ManagerAddress = Readonly<{ nodeId: string; address: string }>;

/**
 * Where a session may be had. The manager of this host first, when there is one: it costs no network. The
 * others in an order of chance, so that the agents of a manager that died spread over those that live.
 */
export class ManagerDirectory {
  readonly #random: Random;
  readonly #nodeId: string;
  #local: string | undefined;
  #managers: readonly ManagerAddress[];

  constructor(nodeId: string, managers: readonly ManagerAddress[], random: Random) {
    this.#nodeId = nodeId;
    this.#managers = managers;
    this.#random = random;
  }

  /** `unix:///path` of this host's own manager; undefined when it has none. */
  setLocal(target: string | undefined): void {
    this.#local = target;
  }

  get hasLocal(): boolean {
    return this.#local !== undefined;
  }

  /** The newest list; an empty one is no news. */
  learn(managers: readonly ManagerAddress[]): void {
    if (managers.length > 0) this.#managers = managers;
  }

  all(): readonly ManagerAddress[] {
    return this.#managers;
  }

  /** Targets to try one after the other; the one that was just `lost` is the last of them. */
  targets(lost?: string, localOnly = false): string[] {
    if (localOnly && this.#local !== undefined) return [this.#local];
    const others = this.#managers
      .filter(({ nodeId }) => this.#local === undefined || nodeId !== this.#nodeId)
      .map(({ address }) => ({ address, key: this.#random.next() }))
      .sort((a, b) => a.key - b.key)
      .map(({ address }) => address);
    const all = this.#local === undefined ? others : [this.#local, ...others];
    return lost === undefined || !all.includes(lost)
      ? all
      : [...all.filter((target) => target !== lost), lost];
  }
}
