import type { Entry, RaftId, RaftStatus } from '../../manager/raft/types.ts';

export type Invariant =
  | 'election safety' // at most one leader a term
  | 'log matching' // same index and term: same entry, same entry before it
  | 'leader completeness' // a leader has every entry committed before
  | 'commit is durable' // on the disks of a majority of the voters
  | 'commit is final' // nobody ever commits another entry at that index
  | 'commit never regresses' // on one node, while it runs
  | 'state machine safety' // all apply the same entries in the same order, none twice
  | 'equal state' // at equal index
  | 'applied once' // a command that was tried again takes effect once
  | 'no acknowledged write lost'
  | 'reads are never stale'
  | 'linearizability' // of what the clients saw
  | 'convergence'; // liveness, once everything is healed

export class Violation extends Error {
  readonly invariant: Invariant;
  constructor(invariant: Invariant, what: string) {
    super(`${invariant}: ${what}`);
    this.invariant = invariant;
  }
}

/** What the checks look at in a node. */
export interface ObservedNode {
  readonly id: RaftId;
  status(): RaftStatus;
  /** Term of an entry handed to the disk or already there. */
  termAt(index: number): number | undefined;
  /** Nothing is on its way to the disk: `termAt` tells the whole log. */
  isSettled(): boolean;
}

/** More terms than a run has. */
const TERM_RANGE = 2 ** 20;
const HASH_RANGE = 2 ** 32;

type Seen = { leaderOf: number; commit: number; checkedCommit: number };

/**
 * The all-knowing observer of a run: told of each thing that happens at any node, it throws at the
 * first one that Raft forbids. The list follows figure 3 of the paper and the invariants of etcd's
 * TLA+ model, plus what clients were told.
 */
export class RaftChecks {
  /** For `commit is durable`: whether that voter's disk holds the entry. */
  readonly #onDisk: (id: RaftId, index: number, term: number) => boolean;
  readonly #leaders = new Map<number, RaftId>();
  /** By index and term: what that entry is, and the term before it. By induction this is log matching. */
  readonly #entries = new Map<number, number>();
  /** Term of each committed entry, and the term in which it was committed. */
  readonly #committed: (Readonly<{ term: number; inTerm: number }> | undefined)[] = [];
  /** What was applied at each index, as a chain: equal links mean equal histories up to there. */
  readonly #applied: (number | undefined)[] = [];
  readonly #states: (number | undefined)[] = [];
  /** Commands that took effect, and where. */
  readonly #executed = new Map<number, number>();
  /** By index: the command that a client was told of. */
  readonly #acknowledged = new Map<number, number>();
  readonly #seen = new Map<RaftId, Seen>();
  /** No read that begins now may answer from before this index. */
  #visibleIndex = 0;
  /** Told of each election; for those who wish to spoil it. */
  onElected: (id: RaftId) => void = () => undefined;
  acknowledgedCount = 0;
  readCount = 0;

  constructor(onDisk: (id: RaftId, index: number, term: number) => boolean) {
    this.#onDisk = onDisk;
  }

  get visibleIndex(): number {
    return this.#visibleIndex;
  }

  started(node: ObservedNode): void {
    this.#seen.set(node.id, {
      leaderOf: 0,
      commit: 0,
      checkedCommit: node.status().firstIndex - 1,
    });
  }

  appended(entries: readonly Entry[], prevTerm: number | undefined): void {
    let before = prevTerm ?? 0;
    for (const entry of entries) {
      const key = entry.index * TERM_RANGE + entry.term;
      const type = entry.type === 'normal' ? 0 : 1;
      const content = (before * 2 + type) * HASH_RANGE + hash(0, entry.data);
      const known = this.#entries.get(key);
      if (known === undefined) this.#entries.set(key, content);
      else if (known !== content) {
        const where = `entry ${entry.index} of term ${entry.term}`;
        throw new Violation('log matching', `${where} is two: ${known} and ${content}`);
      }
      before = entry.term;
    }
  }

  observe(node: ObservedNode): void {
    const seen = this.#seen.get(node.id);
    if (seen === undefined) throw new Error(`node ${node.id} was never started`);
    const status = node.status();
    if (status.role === 'leader' && seen.leaderOf !== status.term) {
      seen.leaderOf = status.term;
      this.#elected(node, status);
    }
    this.#commitMoved(node, status, seen);
  }

  /** A node says what only a leader says. */
  leads(id: RaftId, term: number): void {
    const other = this.#leaders.get(term);
    if (other !== undefined && other !== id) {
      throw new Violation('election safety', `${other} and ${id} both lead term ${term}`);
    }
    this.#leaders.set(term, id);
  }

  #elected(node: ObservedNode, { term, firstIndex }: RaftStatus): void {
    this.leads(node.id, term);
    this.onElected(node.id);
    for (let index = firstIndex; index < this.#committed.length; index++) {
      const committed = this.#committed[index];
      // A candidate may win its term late, when a newer one has its leader and commits already.
      if (committed === undefined || committed.inTerm >= term) continue;
      if (node.termAt(index) !== committed.term) {
        throw new Violation(
          'leader completeness',
          `${node.id} leads term ${term} without entry ${index}, committed in ${committed.inTerm}`,
        );
      }
    }
  }

  #commitMoved(node: ObservedNode, status: RaftStatus, seen: Seen): void {
    if (status.commit < seen.commit) {
      throw new Violation(
        'commit never regresses',
        `${node.id} went from ${seen.commit} to ${status.commit}`,
      );
    }
    const leads = status.role === 'leader';
    // One of an older term was learnt from a voter, just before: other members may have made it.
    const own = leads && node.termAt(status.commit) === status.term;
    if (own && status.commit > seen.commit) this.#checkDurable(node, status);
    seen.commit = status.commit;
    if (!leads && !node.isSettled()) return;
    const from = Math.max(seen.checkedCommit, status.firstIndex - 1) + 1;
    for (let index = from; index <= status.commit; index++) {
      const term = node.termAt(index);
      const known = this.#committed[index];
      if (term === undefined)
        throw new Error(`${node.id} commits ${index}, which it does not have`);
      if (known === undefined) this.#committed[index] = { term, inTerm: status.term };
      else if (known.term !== term) {
        throw new Violation(
          'commit is final',
          `${node.id} committed entry ${index} of term ${term}, it was of term ${known.term}`,
        );
      }
    }
    seen.checkedCommit = status.commit;
  }

  #checkDurable(node: ObservedNode, { commit, confState }: RaftStatus): void {
    const term = node.termAt(commit);
    for (const voters of [confState.voters, confState.votersOutgoing]) {
      const holders = voters.filter((id) => this.#onDisk(id, commit, term ?? 0));
      if (voters.length > 0 && holders.length * 2 <= voters.length) {
        throw new Violation(
          'commit is durable',
          `${commit} is on ${holders.length} of ${voters.length} voters`,
        );
      }
    }
  }

  /** `link` is the node's chain after the entry, from `chain`. */
  applied(id: RaftId, index: number, link: number): void {
    const known = this.#applied[index];
    if (known === undefined) this.#applied[index] = link;
    else if (known !== link) {
      throw new Violation('state machine safety', `${id} applied another history at ${index}`);
    }
  }

  state(id: RaftId, index: number, digest: number): void {
    const known = this.#states[index];
    if (known === undefined) this.#states[index] = digest;
    else if (known !== digest) {
      throw new Violation('equal state', `${id} has another state than others at ${index}`);
    }
  }

  /** A machine let a command take effect, and not for the second time as far as it knows. */
  executed(id: RaftId, index: number, command: number): void {
    const known = this.#executed.get(command);
    if (known === undefined) this.#executed.set(command, index);
    else if (known !== index) {
      throw new Violation(
        'applied once',
        `command ${command} took effect at ${known}, and at ${index} on ${id}`,
      );
    }
  }

  /** A client was told that its write took effect with the entry at `index`. */
  acknowledged(index: number, command: number): void {
    this.acknowledgedCount++;
    this.#acknowledged.set(index, command);
    this.#visibleIndex = Math.max(this.#visibleIndex, index);
  }

  /** A read that began when `floor` was the visible index was answered from state at `index`. */
  readAnswered(id: RaftId, floor: number, index: number): void {
    this.readCount++;
    if (index < floor) {
      throw new Violation(
        'reads are never stale',
        `${id} may answer from ${index}, but ${floor} was visible before the read began`,
      );
    }
  }

  /** What a client saw must stay visible. */
  observedByClient(index: number): void {
    this.#visibleIndex = Math.max(this.#visibleIndex, index);
  }

  /** At the end: `commandAt` is the history that all nodes have converged to. */
  finish(commandAt: (index: number) => number | undefined): void {
    for (const [index, command] of this.#acknowledged) {
      if (commandAt(index) !== command) {
        throw new Violation(
          'no acknowledged write lost',
          `command ${command} at ${index} became ${commandAt(index)}`,
        );
      }
    }
  }
}

/** FNV-1a over bytes, from a given state. */
export function hash(from: number, data: Uint8Array): number {
  let state = from ^ 0x811c9dc5;
  for (const byte of data) state = Math.imul(state ^ byte, 0x01000193);
  return state >>> 0;
}

/** The next link of a history: of what came before, and the entry. */
export function chain(before: number, entry: Entry): number {
  const state = Math.imul(before ^ entry.term, 0x01000193) ^ entry.index;
  return hash(state, entry.data);
}
