import { bootstrapState } from '../../manager/raft/bootstrap.ts';
import { members } from '../../manager/raft/conf-change.ts';
import { RaftCore } from '../../manager/raft/core.ts';
import { Sessions } from '../../manager/raft/sessions.ts';
import type { RaftId } from '../../manager/raft/types.ts';
import { newId } from '../../shared/ids.ts';
import { type ClientOptions, History, SimClient } from './clients.ts';
import { VirtualClock } from './clock.ts';
import { EventLog } from './events.ts';
import { Commands, KvMachine } from './kv.ts';
import { checkHistory } from './linearizability/checker.ts';
import { describeOperation, tightened, UNIQUE_REGISTERS } from './linearizability/register.ts';
import { type LinkFaults, SimNetwork } from './network.ts';
import { RaftChecks, Violation } from './raft-checks.ts';
import { encodeState, SimNode } from './raft-node.ts';
import type { NodeDelays, NodeSettings, Packet, Place, Production, World } from './raft-world.ts';
import { SeededRandom } from './random.ts';

const CALM: LinkFaults = {
  ordered: true,
  minDelayMs: 0.2,
  maxDelayMs: 2,
  lossRatio: 0,
  duplicateRatio: 0,
};
const SOUND: Production = { createCore: (start) => new RaftCore(start), Sessions };
/** Twice what the busiest of a million runs needed. */
const MOST_EVENTS = 300_000;
const NO_DELAYS: NodeDelays = { syncMaxMs: 0, applyMaxMs: 0 };
/** Whoever died of a failure of power or of its disk is started again within this time. */
const RESTART_MAX_MS = 1_000;
/** Steps of the search for an order, each key: enough for all but the most tangled histories. */
const MAX_CHECK_STEPS = 200_000;

export type ClusterOptions = Readonly<{
  seed: number;
  voters: number;
  settings: NodeSettings;
  delays: NodeDelays;
  faults: LinkFaults;
  clients: number;
  client: ClientOptions;
  /** Chance of a crash at each boundary between two effects; at `place` it may be higher. */
  crashRatio: number;
  crashAt: Readonly<{ place: Place; ratio: number }> | undefined;
  /** Chance of an error at each sync. */
  syncErrorRatio: number;
  /** Ticks of the nodes differ by up to this share, both ways. */
  driftRatio: number;
  production?: Production;
}>;

/** Managers of one cluster on one virtual clock, one network, and under one pair of eyes. */
export class RaftCluster {
  readonly clock = new VirtualClock(MOST_EVENTS);
  readonly random: SeededRandom;
  readonly network: SimNetwork<Packet>;
  readonly checks: RaftChecks;
  readonly events = new EventLog();
  readonly nodes = new Map<RaftId, SimNode>();
  readonly history = new History();
  readonly #commands = new Commands();
  readonly #options: ClusterOptions;
  readonly #world: World<SimNode>;
  readonly #clients: SimClient[] = [];
  readonly #slow = new Map<SimNode, NodeDelays>();
  /** Not before all have begun, nor once all is healed. */
  #faulty = false;
  #undecided = false;

  constructor(options: ClusterOptions) {
    this.#options = options;
    this.random = new SeededRandom(options.seed);
    this.network = new SimNetwork(this.clock, this.random.fork(), options.faults);
    this.checks = new RaftChecks(
      (id, index, term) => this.nodes.get(id)?.disk.holds(index, term) ?? false,
    );
    this.#world = {
      clock: this.clock,
      network: this.network,
      checks: this.checks,
      events: this.events,
      commands: this.#commands,
      settings: options.settings,
      delays: (node) => (this.#faulty ? (this.#slow.get(node) ?? options.delays) : NO_DELAYS),
      production: options.production ?? SOUND,
      failsHere: (place) => this.#failsHere(place),
      syncFails: () => this.#chance(options.syncErrorRatio),
      died: (node) => this.restartLater(node, this.random.between(30, RESTART_MAX_MS)),
      history: new Map(),
    };
    const founders = Array.from({ length: options.voters }, () => this.addNode());
    const { hardState, snapshot } = bootstrapState(founders.map(({ id }) => id));
    for (const { disk } of founders) {
      const body = encodeState(0, new KvMachine(new Sessions(options.settings.sessions)));
      disk.append({ hardState, snapshot: { meta: snapshot, body }, entries: [] });
    }
    this.#faulty = true;
    for (const node of founders) node.start();
    for (let id = 1; id <= options.clients; id++) this.#addClient(id, options.client);
  }

  #addClient(id: number, options: ClientOptions): SimClient {
    const client = new SimClient(
      id,
      {
        clock: this.clock,
        random: this.random.fork(),
        commands: this.#commands,
        managers: () => this.#served(),
        history: this.history,
      },
      options,
    );
    this.#clients.push(client);
    return client;
  }

  #served(): SimNode[] {
    return [...this.nodes.values()].filter((node) => !node.isLost);
  }

  /** A node without any state, not started. */
  addNode(): SimNode {
    const id = newId(this.random) as RaftId;
    const node = new SimNode(id, this.#world, this.random.fork());
    this.drift(node);
    this.nodes.set(id, node);
    return node;
  }

  /** Gives a node's clock a speed of its own. */
  drift(node: SimNode): void {
    const { driftRatio, settings } = this.#options;
    if (driftRatio === 0) return;
    node.setTick(settings.tickMs * (1 + driftRatio * (2 * this.random.next() - 1)));
  }

  /** A node's disk and state machine get slower, or as usual again. */
  slow(node: SimNode, delays: NodeDelays | undefined): void {
    if (delays === undefined) this.#slow.delete(node);
    else this.#slow.set(node, delays);
  }

  up(): SimNode[] {
    return [...this.nodes.values()].filter((node) => node.isUp && !node.isPaused);
  }

  /** Whoever believes to lead, the newest term first; there can be several. */
  leaders(): SimNode[] {
    const leaders = this.up().filter((node) => node.leads());
    return leaders.sort((a, b) => b.status().term - a.status().term);
  }

  restartLater(node: SimNode, delayMs: number): void {
    this.clock.later(delayMs, () => node.start());
  }

  note(what: string, detail?: string | number): void {
    this.events.note(this.clock.monotonicMs(), '', what, detail);
  }

  #chance(ratio: number): boolean {
    return this.#faulty && ratio > 0 && this.random.chance(ratio);
  }

  #failsHere(place: Place): boolean {
    const { crashRatio, crashAt } = this.#options;
    return this.#chance(crashAt?.place === place ? crashAt.ratio : crashRatio);
  }

  /** The history had too many orders to try them all. */
  get undecided(): boolean {
    return this.#undecided;
  }

  /**
   * Ends all faults, and demands what Raft promises then: one leader, a write that gets through, and
   * all members with the same history and state. Then every manager is read once more, and what
   * clients were told is held against that history.
   */
  healAndConverge(limitMs: number): void {
    this.note('all is healed');
    this.#faulty = false;
    this.network.faults = CALM;
    this.network.mendAll();
    for (const node of this.nodes.values()) {
      node.disk.full = false;
      node.setTick(this.#options.settings.tickMs);
      node.resume();
      node.start();
    }
    const before = this.checks.acknowledgedCount;
    const acknowledged = () => this.checks.acknowledgedCount > before;
    const wrote = this.clock.runUntil(acknowledged, limitMs);
    for (const client of this.#clients) client.stop();
    this.#leaveJoint();
    const settled = this.clock.runUntil(() => this.#agreed(), limitMs);
    if (!wrote || !settled) {
      throw new Violation('convergence', `${wrote ? '' : 'no write, '}${this.describe()}`);
    }
    this.#readEverywhere(limitMs);
    this.checks.finish((index) => this.#world.history.get(index));
    this.#checkHistory();
  }

  #agreed(): boolean {
    const [leader, other] = this.leaders();
    if (leader === undefined || other !== undefined) return false;
    const { confState, lastIndex, term } = leader.status();
    if (confState.votersOutgoing.length > 0) return false;
    return members(confState).every((id) => {
      const node = this.nodes.get(id);
      if (node?.isLost === true) return true;
      if (node?.machineIndex !== lastIndex || node.digest !== leader.digest) return false;
      const status = node.status();
      return status.term === term && status.confState.voters.join() === confState.voters.join();
    });
  }

  /** Joint configurations that are not left by themselves are left by whoever entered them. */
  #leaveJoint(): void {
    const [leader] = this.leaders();
    const conf = leader?.status().confState;
    if (conf !== undefined && conf.votersOutgoing.length > 0 && !conf.autoLeave) {
      leader?.control((core) => core.proposeConfChange({ kind: 'leave-joint' }));
    }
    if (!this.#agreed()) this.clock.later(500, () => this.#leaveJoint());
  }

  /** Nobody writes any more: each manager must now answer with the last value of each key. */
  #readEverywhere(limitMs: number): void {
    const [leader] = this.leaders();
    if (leader === undefined) throw new Violation('convergence', 'the leader is gone again');
    const { keys } = this.#options.client;
    let open = 0;
    for (const id of members(leader.status().confState)) {
      const node = this.nodes.get(id);
      if (node === undefined || node.isLost) continue;
      for (let key = 0; key < keys; key++) {
        open++;
        this.#readUntilAnswered(node, key, this.history.now(), () => open--);
      }
    }
    if (!this.clock.runUntil(() => open === 0, limitMs)) {
      throw new Violation('convergence', `${open} reads got no answer; ${this.describe()}`);
    }
  }

  /** As a client would: what is refused is asked again. */
  #readUntilAnswered(node: SimNode, key: number, call: number, done: () => void): void {
    node.request({ kind: 'read', key }, (answer) => {
      if (answer.kind !== 'ok') {
        this.clock.later(50, () => this.#readUntilAnswered(node, key, call, done));
        return;
      }
      const input = { kind: 'get', key } as const;
      const end = this.history.now();
      this.history.operations.push({ client: 0, input, output: answer.output, call, return: end });
      done();
    });
  }

  #checkHistory(): void {
    const verdict = checkHistory(
      tightened(this.history.operations),
      UNIQUE_REGISTERS,
      MAX_CHECK_STEPS,
    );
    if (verdict.kind === 'undecided') this.#undecided = true;
    if (verdict.kind !== 'illegal') return;
    const lines = [...verdict.longest.slice(-6), ...verdict.stuck].map(describeOperation);
    throw new Violation(
      'linearizability',
      `key ${verdict.part}: ${verdict.longest.length} calls in order, then none of the last ` +
        `${verdict.stuck.length} of these can follow:\n  ${lines.join('\n  ')}`,
    );
  }

  /** Ids by letters, in the order the nodes came. */
  nameOf(id: string): string {
    if (id.length < 25) return id;
    const at = [...this.nodes.keys()].indexOf(id as RaftId);
    return id.replace(/^[0-9a-z]{25}$/, at < 0 ? '?' : `N${at + 1}`);
  }

  describe(): string {
    const names = (ids: readonly RaftId[]) => ids.map((id) => this.nameOf(id)).join();
    const lines = [...this.nodes.values()].map((node) => {
      const name = this.nameOf(node.id);
      if (!node.isUp) return `${name} ${node.isLost ? 'lost' : 'down'}`;
      const { role, term, commit, applied, firstIndex, lastIndex, confState, progress } =
        node.status();
      const sent = progress
        .map((p) => `${this.nameOf(p.id)}:${p.state}:${p.match}/${p.next}`)
        .join(' ');
      const { voters, votersOutgoing, learners } = confState;
      return `${name} ${role} t${term} c${commit} a${applied} log ${firstIndex}-${lastIndex} (${names(voters)}|${names(votersOutgoing)}|${names(learners)}) ${sent}`;
    });
    return `at ${this.clock.monotonicMs()} ms:\n  ${lines.join('\n  ')}`;
  }
}
