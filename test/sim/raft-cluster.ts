import { bootstrapState } from '../../manager/raft/bootstrap.ts';
import { RaftCore, type RaftStart } from '../../manager/raft/core.ts';
import type { Raft, RaftId } from '../../manager/raft/types.ts';
import { newId } from '../../shared/ids.ts';
import { VirtualClock } from './clock.ts';
import { type LinkFaults, SimNetwork } from './network.ts';
import { RaftChecks, Violation } from './raft-checks.ts';
import {
  type NodeDelays,
  type NodeSettings,
  type Packet,
  SimNode,
  type World,
} from './raft-node.ts';
import { SeededRandom } from './random.ts';

const CALM: LinkFaults = {
  ordered: true,
  minDelayMs: 0.2,
  maxDelayMs: 2,
  lossRatio: 0,
  duplicateRatio: 0,
};

export type ClusterOptions = Readonly<{
  seed: number;
  voters: number;
  settings: NodeSettings;
  delays: NodeDelays;
  faults: LinkFaults;
  /** Chance of a crash at each boundary between two effects. */
  crashRatio: number;
  createCore?: (start: RaftStart) => Raft;
}>;

/** Managers of one cluster on one virtual clock, one network, and under one pair of eyes. */
export class RaftCluster {
  readonly clock = new VirtualClock();
  readonly random: SeededRandom;
  readonly network: SimNetwork<Packet>;
  readonly checks: RaftChecks;
  readonly nodes = new Map<RaftId, SimNode>();
  readonly #world: World;
  #crashRatio: number;
  #delays: NodeDelays;
  #writes = 0;

  constructor(options: ClusterOptions) {
    this.random = new SeededRandom(options.seed);
    this.network = new SimNetwork(this.clock, this.random.fork(), options.faults);
    this.checks = new RaftChecks(
      (id, index, term) => this.nodes.get(id)?.disk.holds(index, term) ?? false,
    );
    this.#crashRatio = options.crashRatio;
    this.#delays = options.delays;
    this.#world = {
      clock: this.clock,
      network: this.network,
      checks: this.checks,
      settings: options.settings,
      delays: () => this.#delays,
      createCore: options.createCore ?? ((start) => new RaftCore(start)),
      failsHere: (node) => this.#failsHere(node),
      history: new Map(),
    };
    const founders = Array.from({ length: options.voters }, () => this.addNode());
    const { hardState, snapshot } = bootstrapState(founders.map(({ id }) => id));
    for (const { disk } of founders) {
      const body = [new TextEncoder().encode('0')];
      disk.append({ hardState, snapshot: { meta: snapshot, body }, entries: [] });
    }
    for (const node of founders) node.start();
  }

  /** A node without any state, not started. */
  addNode(): SimNode {
    const id = newId(this.random) as RaftId;
    const node = new SimNode(id, this.#world, this.random.fork());
    this.nodes.set(id, node);
    return node;
  }

  up(): SimNode[] {
    return [...this.nodes.values()].filter((node) => node.isUp && !node.isPaused);
  }

  /** Whoever believes to lead, the newest term first; there can be several. */
  leaders(): SimNode[] {
    const leaders = this.up().filter((node) => node.leads());
    return leaders.sort((a, b) => b.status().term - a.status().term);
  }

  /** A batch of new writes at a node, which drops them unless it leads. */
  write(node: SimNode, count: number): void {
    node.write(
      Array.from({ length: count }, () =>
        `w${++this.#writes}`.padEnd(this.random.between(4, 80), '.'),
      ),
    );
  }

  restartLater(node: SimNode, delayMs: number): void {
    this.clock.after(delayMs, () => node.start());
  }

  #failsHere(node: SimNode): boolean {
    if (this.#crashRatio === 0 || !this.random.chance(this.#crashRatio)) return false;
    this.restartLater(node, this.random.between(50, 2_000));
    return true;
  }

  /**
   * Ends all faults, and demands what Raft promises then: one leader, a write that gets through, and
   * all members with the same history. Then what clients were told is held against that history.
   */
  healAndConverge(limitMs: number): void {
    this.#crashRatio = 0;
    this.#delays = { syncMaxMs: 0, applyMaxMs: 0 };
    this.network.faults = CALM;
    this.network.mendAll();
    for (const node of this.nodes.values()) {
      node.resume();
      node.start();
    }
    const before = this.checks.acknowledgedCount;
    let writing = true;
    const writer = () => {
      const [leader] = this.leaders();
      if (leader !== undefined) this.write(leader, 1);
      if (writing) this.clock.after(500, writer);
    };
    writer();
    const acknowledged = () => this.checks.acknowledgedCount > before;
    const wrote = this.clock.runUntil(acknowledged, limitMs);
    writing = false;
    const settled = this.clock.runUntil(() => this.#agreed(), limitMs);
    if (!wrote || !settled) {
      throw new Violation('convergence', `${wrote ? '' : 'no write, '}${this.describe()}`);
    }
    this.checks.finish((index) => this.#world.history.get(index));
  }

  #agreed(): boolean {
    const [leader, other] = this.leaders();
    if (leader === undefined || other !== undefined) return false;
    const { confState, lastIndex, term } = leader.status();
    return [...confState.voters, ...confState.learners].every((id) => {
      const node = this.nodes.get(id);
      if (node?.machineIndex !== lastIndex) return false;
      const status = node.status();
      return status.term === term && status.confState.voters.join() === confState.voters.join();
    });
  }

  describe(): string {
    const lines = [...this.nodes.values()].map((node) => {
      if (!node.isUp) return `${node.id.slice(0, 4)} down`;
      const { role, term, commit, applied, firstIndex, lastIndex, confState, progress } =
        node.status();
      const voters = confState.voters.map((id) => id.slice(0, 4)).join();
      const learners = confState.learners.map((id) => id.slice(0, 4)).join();
      const sent = progress
        .map((p) => `${p.id.slice(0, 4)}:${p.state}:${p.match}/${p.next}`)
        .join(' ');
      return `${node.id.slice(0, 4)} ${role} t${term} c${commit} a${applied} log ${firstIndex}-${lastIndex} (${voters}|${learners}) ${sent}`;
    });
    return `at ${this.clock.monotonicMs()} ms: ${lines.join('; ')}`;
  }
}
