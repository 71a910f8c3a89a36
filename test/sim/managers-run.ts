import { RaftNode } from '../../manager/raft/node.ts';
import type { NodeStart } from '../../manager/raft/node-start.ts';
import { Sessions } from '../../manager/raft/sessions.ts';
import type { RaftId } from '../../manager/raft/types.ts';
import type { RaftMember } from '../../shared/gen/shoal/v1/peer.ts';
import { newId } from '../../shared/ids.ts';
import { History, SimClient } from './clients.ts';
import { VirtualClock } from './clock.ts';
import { EventLog } from './events.ts';
import { Commands, KvMachine } from './kv.ts';
import { checkHistory } from './linearizability/checker.ts';
import { describeOperation, tightened, UNIQUE_REGISTERS } from './linearizability/register.ts';
import { type ManagersWorld, type Parcel, SimManager } from './manager.ts';
import { type LinkFaults, SimNetwork } from './network.ts';
import { RaftChecks, Violation } from './raft-checks.ts';
import { RunFailure, type RunResult } from './raft-run.ts';
import { SeededRandom } from './random.ts';

const CALM: LinkFaults = {
  ordered: true,
  minDelayMs: 0.2,
  maxDelayMs: 2,
  lossRatio: 0,
  duplicateRatio: 0,
};
const SETTLE_MS = 60_000;
const MOST_EVENTS = 300_000;
const KEYS = 3;
const EVENTS_TOLD = 40;

type CreateNode = ManagersWorld['createNode'];
/**
 * A run of whole managers: the production node, its orders about members, its snapshots and its way
 * with full disks, under crashes at each call to disk or links. Throws RunFailure when a promise breaks.
 */
export function runManagers(
  seed: number,
  createNode: CreateNode = (config, ports) => new RaftNode(config, ports),
): RunResult {
  const run = new ManagersRun(seed, createNode);
  try {
    return run.go();
  } catch (error) {
    const nameOf = (id: string) => run.nameOf(id);
    const what = error instanceof Error ? error.message : String(error);
    const lines = run.events.last(EVENTS_TOLD, nameOf).map((line) => `  ${line}`);
    const named = what.replace(/\b[0-9a-z]{25}\b/g, nameOf);
    const again = `again: npm run sim -- --managers --from ${seed} --seeds 1`;
    const told = [named, run.describe(), 'last events:', ...lines, again];
    throw new RunFailure(seed, told.join('\n'), error);
  }
}

class ManagersRun {
  readonly events = new EventLog();
  readonly #clock = new VirtualClock(MOST_EVENTS);
  readonly #random: SeededRandom;
  readonly #network: SimNetwork<Parcel>;
  readonly #checks = new RaftChecks(() => true);
  readonly #commands = new Commands();
  readonly #history = new History();
  readonly #world: ManagersWorld;
  readonly #managers: SimManager[] = [];
  readonly #size: number;
  readonly #faults: LinkFaults;
  readonly #failRatio: number;
  readonly #chaosMs: number;
  #faulty = false;

  constructor(seed: number, createNode: CreateNode) {
    const random = new SeededRandom(seed);
    this.#random = random;
    this.#network = new SimNetwork(this.#clock, random.fork(), CALM);
    this.#size = random.pick([1, 2, 3, 3, 3, 3, 5]);
    this.#failRatio = random.pick([0, 0.0005, 0.003]);
    this.#chaosMs = random.pick([6_000, 10_000]);
    this.#faults = {
      ordered: true, // as the sockets are
      minDelayMs: 0.2,
      maxDelayMs: random.pick([2, 30, 100]),
      lossRatio: random.pick([0, 0.01, 0.1]),
      duplicateRatio: 0,
    };
    this.#world = {
      clock: this.#clock,
      network: this.#network,
      checks: this.#checks,
      events: this.events,
      commands: this.#commands,
      sessions: { maxSessions: 50, maxWritesAhead: 4 },
      timing: {
        tickMs: 100,
        electionTicks: random.pick([5, 10]),
        heartbeatTicks: 1,
        // Not drawn: seeds that have failed are tests, and must stay the runs that they were.
        readMode: seed % 3 === 0 ? 'lease' : 'quorum',
      },
      compaction: {
        snapshotEveryEntries: random.pick([5, 20, 100, 10_000]),
        trailingEntries: random.pick([0, 5, 20]),
      },
      createNode,
      fails: () => this.#faulty && this.#random.chance(this.#failRatio),
      died: (manager) => this.#restartLater(manager),
      history: new Map(),
    };
  }

  nameOf(id: string): string {
    const at = this.#managers.findIndex((manager) => manager.id === id);
    return at < 0 ? id : `N${at + 1}`;
  }

  describe(): string {
    const lines = this.#managers.map((manager) => {
      const { status } = manager;
      const name = this.nameOf(manager.id);
      if (status === undefined) return `  ${name} ${manager.isGone ? 'removed' : 'down'}`;
      const members = status.members.map(
        ({ member, learner, matchIndex }) =>
          `${this.nameOf(member.raftId)}${learner ? '*' : ''}:${matchIndex}`,
      );
      return `  ${name} ${status.role} t${status.term} c${status.commitIndex} a${manager.index} (${members.join(' ')})`;
    });
    return `at ${this.#clock.monotonicMs()} ms:\n${lines.join('\n')}`;
  }

  go(): RunResult {
    this.#found();
    const clients = Array.from({ length: 4 }, (_, i) => this.#client(i + 1));
    this.#network.faults = this.#faults;
    this.#faulty = true;
    this.#trouble();
    this.#clock.runFor(this.#chaosMs);
    this.#heal();
    const before = this.#checks.acknowledgedCount;
    this.#expect('a write', () => this.#checks.acknowledgedCount > before);
    for (const client of clients) client.stop();
    this.#expect('equal states', () => this.#agreed());
    this.#readEverywhere();
    this.#checks.finish((index) => this.#world.history.get(index));
    const { operations } = this.#history;
    const leader = this.#leader();
    return {
      profile: 'managers',
      acknowledged: this.#checks.acknowledgedCount,
      reads: this.#checks.readCount,
      calls: operations.length,
      unknown: operations.filter((one) => one.return === Number.POSITIVE_INFINITY).length,
      lastTerm: leader?.status?.term ?? 0,
      undecided: this.#judge(),
      events: this.#clock.count,
      fingerprint: ((leader?.digest ?? 0) ^ Math.imul(this.#clock.count, 0x9e3779b9)) >>> 0,
    };
  }

  #expect(what: string, done: () => boolean): void {
    if (this.#clock.runUntil(done, SETTLE_MS)) return;
    throw new Violation('convergence', `${what} did not come within ${SETTLE_MS} ms`);
  }

  // ------------------------------------------------------------------------------------ members

  /** The first one begins alone; the others are added one by one and promoted when they are ready. */
  #found(): void {
    const empty = new KvMachine(new Sessions(this.#world.sessions));
    const state = [new Uint8Array(4), ...empty.encode()];
    const first = this.#create();
    first.start({ kind: 'bootstrap', member: first.member, state });
    while (this.#managers.length < this.#size) {
      this.#expect('a leader', () => this.#leader() !== undefined);
      this.#join();
      const wanted = this.#managers.length;
      this.#expect('a new voter', () => {
        const members = this.#leader()?.status?.members ?? [];
        return members.length === wanted && members.every(({ learner }) => !learner);
      });
    }
  }

  #create(): SimManager {
    const raftId = newId(this.#random);
    const name = `n${this.#managers.length + 1}`;
    const member: RaftMember = {
      raftId,
      nodeId: name,
      address: `${name}:2377`,
      raftAddress: `${name}:7946`,
    };
    const manager = new SimManager(member, this.#world, this.#random.fork());
    this.#managers.push(manager);
    return manager;
  }

  #join(): void {
    const leader = this.#leader();
    if (leader === undefined) return;
    const manager = this.#create();
    const members = leader.status?.members.map(({ member }) => member) ?? [];
    manager.start({ kind: 'join', member: manager.member, members });
    leader.order({ kind: 'add-member', id: leader.orderId(), member: manager.member });
  }

  #leader(): SimManager | undefined {
    const leaders = this.#managers.filter(
      ({ isPaused, status }) => !isPaused && status?.role === 'leader',
    );
    return leaders.sort((a, b) => (b.status?.term ?? 0) - (a.status?.term ?? 0))[0];
  }

  #restartLater(manager: SimManager): void {
    const start: NodeStart = { kind: 'restart' };
    this.#clock.later(this.#random.between(30, 1_200), () => manager.start(start));
  }

  // ------------------------------------------------------------------------------------ trouble

  #trouble(): void {
    this.#clock.later(this.#random.between(50, 1_200), () => {
      if (!this.#faulty) return;
      this.#random.pick(this.#troubles)();
      this.#trouble();
    });
  }

  readonly #troubles: readonly (() => void)[] = [
    () => this.#crash(this.#anyone()),
    () => this.#crash(this.#leader()),
    () => this.#pause(this.#anyone()),
    () => this.#pause(this.#leader()),
    () => this.#cutOff(this.#anyone()),
    () => this.#cutOff(this.#leader()),
    () => this.#network.mendAll(),
    () => this.#network.mendAll(),
    () => this.#fillDisk(this.#anyone()),
    () => this.#fillDisk(this.#leader()),
    () => this.#transfer(),
    () => this.#changeMembers(),
    () => this.#changeMembers(),
  ];

  #anyone(): SimManager | undefined {
    const up = this.#managers.filter(({ isUp, isPaused }) => isUp && !isPaused);
    return up.length === 0 ? undefined : this.#random.pick(up);
  }

  #note(what: string, manager: SimManager): void {
    this.events.note(this.#clock.monotonicMs(), manager.id, what, undefined);
  }

  #crash(manager: SimManager | undefined): void {
    if (manager === undefined) return;
    manager.crash();
    this.#restartLater(manager);
  }

  #pause(manager: SimManager | undefined): void {
    if (manager === undefined) return;
    this.#note('stands still', manager);
    manager.pause();
    const read = () => manager.request({ kind: 'read', key: 0 }, () => undefined);
    this.#clock.later(this.#random.between(100, 3_000), () => manager.resume(read));
  }

  #cutOff(manager: SimManager | undefined): void {
    if (manager === undefined) return;
    this.#note('is cut off', manager);
    const ways = this.#random.pick(['both', 'in', 'out'] as const);
    for (const { id } of this.#managers) {
      if (id === manager.id) continue;
      if (ways !== 'in') this.#network.cut(manager.id, id);
      if (ways !== 'out') this.#network.cut(id, manager.id);
    }
  }

  #fillDisk(manager: SimManager | undefined): void {
    if (manager === undefined) return;
    this.#note('has no room on its disk', manager);
    manager.disk.log.full = true;
    this.#clock.later(this.#random.between(200, 2_500), () => {
      manager.disk.log.full = false;
    });
  }

  #transfer(): void {
    const leader = this.#leader();
    leader?.order({ kind: 'transfer', id: leader.orderId(), to: undefined });
  }

  #changeMembers(): void {
    const leader = this.#leader();
    const members = leader?.status?.members ?? [];
    if (leader === undefined || members.length === 0) return;
    if (members.length <= this.#size && this.#random.chance(0.5)) {
      this.#join();
      return;
    }
    const raftId = this.#random.pick(members).member.raftId;
    leader.order({ kind: 'remove-member', id: leader.orderId(), raftId });
  }

  // ------------------------------------------------------------------------------------ verdict

  #client(id: number): SimClient {
    return new SimClient(
      id,
      {
        clock: this.#clock,
        random: this.#random.fork(),
        commands: this.#commands,
        managers: () => this.#managers.filter(({ isGone }) => !isGone),
        history: this.#history,
      },
      { keys: KEYS, thinkMaxMs: 80, timeoutMs: 600, tries: 8 },
    );
  }

  #heal(): void {
    this.#faulty = false;
    this.#network.faults = CALM;
    this.#network.mendAll();
    for (const manager of this.#managers) {
      manager.disk.log.full = false;
      manager.resume();
      manager.start({ kind: 'restart' });
    }
  }

  #members(): SimManager[] {
    const ids = new Set(this.#leader()?.status?.members.map(({ member }) => member.raftId));
    return this.#managers.filter(({ id }) => ids.has(id as RaftId));
  }

  #agreed(): boolean {
    const leader = this.#leader();
    const members = this.#members();
    if (leader === undefined || members.length === 0) return false;
    return members.every(
      (manager) =>
        manager.isUp && manager.index === leader.index && manager.digest === leader.digest,
    );
  }

  #readEverywhere(): void {
    let open = 0;
    const read = (manager: SimManager, key: number, call: number) => {
      manager.request({ kind: 'read', key }, (answer) => {
        if (answer.kind !== 'ok') {
          this.#clock.later(50, () => read(manager, key, call));
          return;
        }
        const input = { kind: 'get', key } as const;
        const end = this.#history.now();
        const { output } = answer;
        this.#history.operations.push({ client: 0, input, output, call, return: end });
        open--;
      });
    };
    for (const manager of this.#members()) {
      for (let key = 0; key < KEYS; key++) {
        open++;
        read(manager, key, this.#history.now());
      }
    }
    this.#expect('answers to the last reads', () => open === 0);
  }

  /** True when the checker cannot tell. */
  #judge(): boolean {
    const verdict = checkHistory(tightened(this.#history.operations), UNIQUE_REGISTERS);
    if (verdict.kind !== 'illegal') return verdict.kind === 'undecided';
    const lines = [...verdict.longest.slice(-6), ...verdict.stuck].map(describeOperation);
    throw new Violation('linearizability', `key ${verdict.part}:\n  ${lines.join('\n  ')}`);
  }
}
