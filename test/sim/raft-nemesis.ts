import { changeConf, isVoter, members } from '../../manager/raft/conf-change.ts';
import type { ConfChange, ConfState, ConfTransition, RaftId } from '../../manager/raft/types.ts';
import type { RaftCluster } from './raft-cluster.ts';
import type { SimNode } from './raft-node.ts';

/** Everything that can go wrong at one moment; `raft-profile.ts` draws how often each is chosen. */
export const TROUBLES = [
  'crash',
  'crash-leader',
  'crash-several',
  'split',
  'cut-one-way',
  'isolate-leader',
  'hand-over-and-isolate',
  'swizzle',
  'mend',
  'mend-one-by-one',
  'bad-weather',
  'transfer',
  'campaign',
  'pause',
  'pause-leader',
  'drift',
  'jump',
  'slow-disk',
  'full-disk',
  'lose-disk',
  'members',
] as const;
export type Trouble = (typeof TROUBLES)[number];

export type NemesisOptions = Readonly<{
  minPauseMs: number;
  maxPauseMs: number;
  /** How often each is chosen, against the others; missing is never. */
  weights: Readonly<Partial<Record<Trouble, number>>>;
  /** A new leader falls within this time after its election, mostly; undefined to let it be. */
  leaderLifeMs: number | undefined;
  maxNodes: number;
}>;

const NO_CONTEXT = new Uint8Array(0);
/** Fewer voters than this never lose one for good: a majority must be left whatever is under way. */
const LEAST_VOTERS_TO_LOSE_ONE = 4;

/** Breaks things at random moments until it is stopped, and mends some of them again. */
export class RaftNemesis {
  readonly #cluster: RaftCluster;
  readonly #options: NemesisOptions;
  readonly #choices: Trouble[] = [];
  #stopped = false;

  constructor(cluster: RaftCluster, options: NemesisOptions) {
    this.#cluster = cluster;
    this.#options = options;
    for (const trouble of TROUBLES) {
      const weight = options.weights[trouble] ?? 0;
      for (let i = 0; i < weight; i++) this.#choices.push(trouble);
    }
    if (this.#choices.length > 0) this.#next();
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
    clock.later(random.between(minPauseMs, maxPauseMs), () => {
      if (this.#stopped) return;
      this.#act(random.pick(this.#choices));
      this.#next();
    });
  }

  /** What a leader leaves behind half done is what its successors stumble over (figures 7 and 8). */
  #fellSoonAfter(id: RaftId, leaderLifeMs: number): void {
    const { random, clock, nodes } = this.#cluster;
    if (this.#stopped || random.chance(0.2)) return;
    clock.later(random.between(0, leaderLifeMs), () => {
      const node = nodes.get(id);
      if (node !== undefined && !this.#stopped) this.#crash(node);
    });
  }

  readonly #troubles: Readonly<Record<Trouble, () => void>> = {
    crash: () => this.#crashOne(this.#cluster.up()),
    'crash-leader': () => this.#crashOne(this.#cluster.leaders().slice(0, 1)),
    'crash-several': () => this.#crashSeveral(),
    split: () => this.#splitInTwo(),
    'cut-one-way': () => this.#cutOneWay(),
    'isolate-leader': () => this.#isolateLeader(),
    'hand-over-and-isolate': () => this.#handOverAndIsolate(),
    swizzle: () => this.#swizzle(),
    mend: () => this.#cluster.network.mendAll(),
    'mend-one-by-one': () => this.#mendOneByOne(0),
    'bad-weather': () => this.#badWeather(),
    transfer: () => this.#transfer(),
    campaign: () => this.#campaign(),
    pause: () => this.#pause(this.#cluster.up()),
    'pause-leader': () => this.#pause(this.#cluster.leaders()),
    drift: () => this.#drift(),
    jump: () => this.#jump(),
    'slow-disk': () => this.#slowDisk(),
    'full-disk': () => this.#fullDisk(),
    'lose-disk': () => this.#loseDisk(),
    members: () => this.#changeMembers(),
  };

  #act(trouble: Trouble): void {
    this.#cluster.note('trouble:', trouble);
    this.#troubles[trouble]();
  }

  /** Runs `fn` after a random time, unless all is healed by then. */
  #soon(minMs: number, maxMs: number, fn: () => void): void {
    const { random, clock } = this.#cluster;
    clock.later(random.between(minMs, maxMs), () => {
      if (!this.#stopped) fn();
    });
  }

  // ----------------------------------------------------------------------------------- processes

  #crash(node: SimNode): void {
    node.crash();
    this.#cluster.restartLater(node, this.#cluster.random.between(30, 1_500));
  }

  #crashOne(among: readonly SimNode[]): void {
    if (among.length > 0) this.#crash(this.#cluster.random.pick(among));
  }

  #crashSeveral(): void {
    for (const node of this.#cluster.up()) {
      if (this.#cluster.random.chance(0.4)) this.#crash(node);
    }
  }

  #pause(among: readonly SimNode[]): void {
    if (among.length === 0) return;
    const { random, clock } = this.#cluster;
    const node = random.pick(among);
    node.pause();
    // What its own clients ask first comes before anything that arrived meanwhile.
    const read = () => node.request({ kind: 'read', key: 0 }, () => undefined);
    clock.later(random.between(200, 4_000), () => node.resume(read));
  }

  #drift(): void {
    for (const node of this.#cluster.nodes.values()) this.#cluster.drift(node);
  }

  #jump(): void {
    const up = this.#cluster.up();
    if (up.length > 0) this.#cluster.random.pick(up).jump(this.#cluster.random.between(2, 25));
  }

  // ------------------------------------------------------------------------------------- network

  #ids(): RaftId[] {
    return [...this.#cluster.nodes.values()].filter((node) => !node.isLost).map(({ id }) => id);
  }

  #splitInTwo(): void {
    const ids = this.#cluster.random.shuffled(this.#ids());
    if (ids.length < 2) return;
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

  /** The old leader hears nothing of its successor, and of nobody else. */
  #handOverAndIsolate(): void {
    const { network } = this.#cluster;
    const [leader] = this.#cluster.leaders();
    if (leader === undefined) return;
    this.#transfer();
    for (const id of this.#ids()) if (id !== leader.id) network.cut(id, leader.id);
    this.#soon(500, 1_500, () => network.mendAll());
  }

  /** Links stop one after the other, and come back in any other order. */
  #swizzle(): void {
    const { network, random } = this.#cluster;
    const ids = this.#ids();
    const links = ids.flatMap((from) => ids.filter((to) => to !== from).map((to) => [from, to]));
    for (const [from, to] of random.shuffled(links)) {
      if (from === undefined || to === undefined || random.chance(0.4)) continue;
      this.#soon(0, 800, () => network.cut(from, to));
    }
    this.#soon(900, 900, () => this.#mendOneByOne(400));
  }

  #mendOneByOne(firstAfterMs: number): void {
    const { network, random, clock } = this.#cluster;
    let delayMs = firstAfterMs;
    for (const [from, to] of random.shuffled(network.cutLinks())) {
      delayMs += random.between(20, 400);
      clock.later(delayMs, () => network.mend(from, to));
    }
  }

  /** For a while the links lose, repeat and delay more than usual. */
  #badWeather(): void {
    const { network, random } = this.#cluster;
    const usual = network.faults;
    network.faults = {
      ordered: usual.ordered,
      minDelayMs: usual.minDelayMs,
      maxDelayMs: random.pick([50, 400, 1_500]),
      lossRatio: random.pick([0, 0.1, 0.4]),
      duplicateRatio: random.pick([0, 0.3]),
    };
    this.#soon(300, 2_000, () => {
      network.faults = usual;
    });
  }

  // ----------------------------------------------------------------------------------------- disks

  #slowDisk(): void {
    const up = this.#cluster.up();
    if (up.length === 0) return;
    const node = this.#cluster.random.pick(up);
    this.#cluster.slow(node, { syncMaxMs: this.#cluster.random.pick([50, 500]), applyMaxMs: 300 });
    this.#soon(500, 3_000, () => this.#cluster.slow(node, undefined));
  }

  #fullDisk(): void {
    const up = this.#cluster.up();
    if (up.length === 0) return;
    const node = this.#cluster.random.pick(up);
    node.disk.full = true;
    this.#soon(300, 3_000, () => {
      node.disk.full = false;
    });
  }

  /**
   * One voter loses all it had, for good: it must be removed, and comes back under a new id only.
   * Never while any log anywhere holds a change that might make the rest smaller still.
   */
  #loseDisk(): void {
    const { random, nodes } = this.#cluster;
    const [leader] = this.#cluster.leaders();
    if (leader === undefined) return;
    const { confState, applied } = leader.status();
    const { voters, votersOutgoing } = confState;
    if (voters.length < LEAST_VOTERS_TO_LOSE_ONE || votersOutgoing.length > 0) return;
    if (members(confState).some((id) => nodes.get(id)?.isLost !== false)) return;
    if ([...nodes.values()].some(({ disk }) => disk.holdsChangeAfter(applied))) return;
    nodes.get(random.pick(voters))?.lose();
  }

  // --------------------------------------------------------------------------------------- members

  #transfer(): void {
    const [leader] = this.#cluster.leaders();
    const to = this.#cluster.random.pick(this.#ids());
    leader?.control((core) => core.transferLeadership(to));
  }

  #campaign(): void {
    const up = this.#cluster.up();
    if (up.length > 0) this.#cluster.random.pick(up).control((core) => core.campaign());
  }

  #changeMembers(): void {
    const { random } = this.#cluster;
    const [leader] = this.#cluster.leaders();
    if (leader === undefined) return;
    const { confState } = leader.status();
    if (confState.votersOutgoing.length > 0) {
      leader.control((core) => core.proposeConfChange({ kind: 'leave-joint' }));
      return;
    }
    const single = this.#singleChanges(leader);
    if (single.length === 0) return;
    const transition = random.chance(0.4) ? this.#jointChange(confState) : random.pick(single);
    if (!this.#leavesMajority(changeConf(confState, transition))) return;
    leader.control((core) => core.proposeConfChange(transition));
  }

  /** Some go, some come, all at once: new and old majorities need not overlap. */
  #jointChange({ voters, learners }: ConfState): ConfTransition {
    const { random } = this.#cluster;
    const leave = random.shuffled([...voters, ...learners]).slice(0, random.between(1, 3));
    const room = this.#options.maxNodes - voters.length - learners.length + leave.length;
    const come = Array.from({ length: random.between(0, Math.min(2, room)) }, () => this.#fresh());
    const changes = [
      ...leave.map((id) => change(random.chance(0.8) ? 'remove' : 'add-learner', id)),
      ...come.map((id) => change('add-voter', id)),
    ];
    return { kind: 'enter-joint', changes, autoLeave: random.chance(0.7) };
  }

  #singleChanges(leader: SimNode): ConfChange[] {
    const { random, nodes } = this.#cluster;
    const { confState, progress, lastIndex } = leader.status();
    const all = members(confState);
    const lost = all.filter((id) => nodes.get(id)?.isLost === true);
    if (lost.length > 0) return lost.map((id) => change('remove', id));
    const caughtUp = progress.filter(({ learner, match }) => learner && match + 20 >= lastIndex);
    const changes: ConfChange[] = caughtUp.map(({ id }) => change('add-voter', id));
    if (all.length < this.#options.maxNodes) {
      changes.push(change(random.chance(0.8) ? 'add-learner' : 'add-voter', this.#newcomer()));
    }
    if (confState.voters.length > 1) {
      const victim = random.pick(all);
      const demotes = isVoter(confState, victim) && random.chance(0.3);
      changes.push(change(demotes ? 'add-learner' : 'remove', victim));
    }
    return changes;
  }

  /** Of those whose disks are not gone, in each half. */
  #leavesMajority(conf: ConfState): boolean {
    return [conf.voters, conf.votersOutgoing].every((voters) => {
      const alive = voters.filter((id) => this.#cluster.nodes.get(id)?.isLost === false);
      return voters.length === 0 || alive.length * 2 > voters.length;
    });
  }

  /** A node that was started and never became a member, or a new one. Ids are never used again. */
  #newcomer(): RaftId {
    for (const node of this.#cluster.up()) {
      if (node.machineIndex === 0) return node.id;
    }
    return this.#fresh();
  }

  #fresh(): RaftId {
    const node = this.#cluster.addNode();
    node.start();
    return node.id;
  }
}

function change(kind: ConfChange['kind'], id: RaftId): ConfChange {
  return { kind, id, context: NO_CONTEXT };
}
