import { isVoter, members } from '../../manager/raft/conf-change.ts';
import type { ConfChange, RaftId } from '../../manager/raft/types.ts';
import type { RaftCluster } from './raft-cluster.ts';
import type { SimNode } from './raft-node.ts';

export type NemesisOptions = Readonly<{
  minPauseMs: number;
  maxPauseMs: number;
  /** Members come and go: how often that is chosen, against 18 other kinds of trouble. */
  memberWeight: number;
  /** A new leader falls within this time after its election, mostly; undefined to let it be. */
  leaderLifeMs: number | undefined;
  /** Processes stand still and go on. Not with leases: they trust that none does so for long. */
  pausesProcesses: boolean;
  maxNodes: number;
}>;

const NO_CONTEXT = new Uint8Array(0);

/** Breaks things at random moments until it is stopped, and mends some of them again. */
export class RaftNemesis {
  readonly #cluster: RaftCluster;
  readonly #options: NemesisOptions;
  #stopped = false;

  constructor(cluster: RaftCluster, options: NemesisOptions) {
    this.#cluster = cluster;
    this.#options = options;
    this.#next();
    const { leaderLifeMs } = options;
    if (leaderLifeMs !== undefined) {
      cluster.checks.onElected = (id) => this.#fellSoonAfter(id, leaderLifeMs);
    }
  }

  stop(): void {
    this.#stopped = true;
  }

  #next(): void {
    const { random, clock } = this.#cluster;
    const { minPauseMs, maxPauseMs } = this.#options;
    clock.after(random.between(minPauseMs, maxPauseMs), () => {
      if (this.#stopped) return;
      this.#act();
      this.#next();
    });
  }

  /** What a leader leaves behind half done is what its successors stumble over (figures 7 and 8). */
  #fellSoonAfter(id: RaftId, leaderLifeMs: number): void {
    const { random, clock, nodes } = this.#cluster;
    if (this.#stopped || random.chance(0.2)) return;
    clock.after(random.between(0, leaderLifeMs), () => {
      const node = nodes.get(id);
      if (node !== undefined && !this.#stopped) this.#crash(node);
    });
  }

  #act(): void {
    const { random } = this.#cluster;
    const actions = [
      () => this.#crashOne(),
      () => this.#crashOne(),
      () => this.#crashLeader(),
      () => this.#crashSeveral(),
      () => this.#splitInTwo(),
      () => this.#cutOneWay(),
      () => this.#isolateLeader(),
      () => this.#cluster.network.mendAll(),
      () => this.#cluster.network.mendAll(),
      () => this.#cluster.network.mendAll(),
      () => this.#cluster.network.mendAll(),
      () => this.#mendOneByOne(),
      () => this.#transfer(),
      () => this.#campaign(),
    ];
    if (this.#options.pausesProcesses) {
      actions.push(
        () => this.#pause(this.#cluster.up()),
        () => this.#pause(this.#cluster.leaders()),
      );
    }
    for (let i = 0; i < this.#options.memberWeight; i++) actions.push(() => this.#changeMembers());
    random.pick(actions)();
  }

  #crash(node: SimNode): void {
    node.crash();
    this.#cluster.restartLater(node, this.#cluster.random.between(50, 2_000));
  }

  #crashOne(): void {
    const up = this.#cluster.up();
    if (up.length > 0) this.#crash(this.#cluster.random.pick(up));
  }

  #crashLeader(): void {
    const [leader] = this.#cluster.leaders();
    if (leader !== undefined) this.#crash(leader);
  }

  #crashSeveral(): void {
    for (const node of this.#cluster.up()) {
      if (this.#cluster.random.chance(0.4)) this.#crash(node);
    }
  }

  #ids(): RaftId[] {
    return [...this.#cluster.nodes.keys()];
  }

  #splitInTwo(): void {
    const ids = this.#cluster.random.shuffled(this.#ids());
    const at = this.#cluster.random.between(1, ids.length - 1);
    this.#cluster.network.partition(ids.slice(0, at), ids.slice(at));
  }

  #cutOneWay(): void {
    const [from, to] = this.#cluster.random.shuffled(this.#ids());
    if (from !== undefined && to !== undefined) this.#cluster.network.cut(from, to);
  }

  #isolateLeader(): void {
    const [leader] = this.#cluster.leaders();
    if (leader === undefined) return;
    const { network, random } = this.#cluster;
    const others = this.#ids().filter((id) => id !== leader.id);
    // With one companion at times: its entries then live on two nodes, and are still not committed.
    const companions = others.length > 2 && random.chance(0.5) ? [random.pick(others)] : [];
    network.partition(
      [leader.id, ...companions],
      others.filter((id) => !companions.includes(id)),
    );
  }

  /** Links come back one at a time, in any order. */
  #mendOneByOne(): void {
    const { network, random, clock } = this.#cluster;
    let delayMs = 0;
    for (const [from, to] of random.shuffled(network.cutLinks())) {
      delayMs += random.between(20, 600);
      clock.after(delayMs, () => network.mend(from, to));
    }
  }

  #transfer(): void {
    const [leader] = this.#cluster.leaders();
    const to = this.#cluster.random.pick(this.#ids());
    leader?.control((core) => core.transferLeadership(to));
  }

  #campaign(): void {
    const up = this.#cluster.up();
    if (up.length > 0) this.#cluster.random.pick(up).control((core) => core.campaign());
  }

  #pause(among: readonly SimNode[]): void {
    if (among.length === 0) return;
    const { random, clock } = this.#cluster;
    const node = random.pick(among);
    node.pause();
    clock.after(random.between(200, 6_000), () => node.resume(() => node.read()));
  }

  #changeMembers(): void {
    const { random } = this.#cluster;
    const [leader] = this.#cluster.leaders();
    if (leader === undefined) return;
    const { confState, progress, lastIndex } = leader.status();
    const all = members(confState);
    const caughtUp = progress.filter(({ learner, match }) => learner && match + 20 >= lastIndex);
    const changes: ConfChange[] = caughtUp.map(({ id }) => change('add-voter', id));
    if (all.length < this.#options.maxNodes) changes.push(change('add-learner', this.#newcomer()));
    if (confState.voters.length > 1) {
      const victim = random.pick(all);
      changes.push(change('remove', victim));
      if (random.chance(0.3) && isVoter(confState, victim)) {
        changes.push(change('add-learner', victim));
      }
    }
    if (changes.length > 0) leader.control((core) => core.proposeConfChange(random.pick(changes)));
  }

  /** A node that was started and never became a member, or a new one. Ids are never used again. */
  #newcomer(): RaftId {
    for (const node of this.#cluster.up()) {
      if (node.machineIndex === 0) return node.id;
    }
    const node = this.#cluster.addNode();
    node.start();
    return node.id;
  }
}

function change(kind: ConfChange['kind'], id: RaftId): ConfChange {
  return { kind, id, context: NO_CONTEXT };
}
