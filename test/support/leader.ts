// A leader's loops over the in-memory store, with a fake host for each node: enough of a cluster to
// watch services converge under a clock that the test moves.

import { runAllocator } from '../../manager/allocator/runner.ts';
import type { LeaderDeps } from '../../manager/loop.ts';
import { runOrchestrator } from '../../manager/orchestrator/runner.ts';
import { runScheduler } from '../../manager/scheduler/runner.ts';
import { createAction, taskStatusAction, updateAction } from '../../manager/store/tables.ts';
import type { Writer } from '../../manager/store/types.ts';
import { ShoalError } from '../../shared/errors.ts';
import {
  type Node,
  NodeState,
  type Service,
  type ServiceSpec,
  type Task,
  TaskState,
} from '../../shared/gen/shoal/v1/objects.ts';
import type { StoreAction } from '../../shared/gen/shoal/v1/store.ts';
import { type Log, type LogFields, silentLog } from '../../shared/log.ts';
import { replacesTasks } from '../../shared/model/spec-change.ts';
import { isTerminal, isWanted } from '../../shared/model/task-state.ts';
import type { Random } from '../../shared/random.ts';
import { settle } from './manual-clock.ts';
import { clusterFixture, networkFixture, nodeFixture } from './objects.ts';
import { type StoreFixture, storeFixture } from './store.ts';

/** What becomes of a task on its host; milliseconds of the test's clock. */
export type Behaviour = Readonly<{
  startMs: number;
  stopMs: number;
  /** Ends it in this state so long after it runs; 0: before it runs. */
  end?: Readonly<{ state: TaskState; afterMs: number }> | undefined;
}>;

export type SimulatedClusterOptions = Readonly<{
  nodes?: number;
  seed?: number;
  behaviour?: (task: Task) => Partial<Behaviour>;
  /** Prefix length of the default subnets. */
  subnetSize?: number;
  /** Chance by which writes of the leader fail; none: they never do. */
  faults?: Random;
  /** Further loops of each leader. */
  loop?: (deps: LeaderDeps, signal: AbortSignal) => Promise<unknown>;
}>;

const STEP_MS = 10;

export class SimulatedCluster {
  readonly fixture: StoreFixture;
  readonly nodes: Node[];
  /** Called after each step of the clock: for invariants. */
  onStep: () => void = () => undefined;
  behaviour: (task: Task) => Partial<Behaviour>;
  readonly log: Log;
  readonly #errors: string[] = [];
  readonly #faulty: FaultyWriter | undefined;
  readonly #loop: SimulatedClusterOptions['loop'];
  #leader: { stop: AbortController; ended: Promise<unknown> } | undefined;
  /** When a host does the next thing about a task. */
  readonly #dueMs = new Map<string, number>();
  readonly #silent = new Set<string>();

  private constructor(fixture: StoreFixture, nodes: Node[], options: SimulatedClusterOptions) {
    this.fixture = fixture;
    this.nodes = nodes;
    this.behaviour = options.behaviour ?? (() => ({}));
    this.#loop = options.loop;
    this.#faulty = options.faults && new FaultyWriter(fixture.writer, options.faults);
    const error = (message: string, fields?: LogFields) => {
      this.#errors.push(`${message} ${JSON.stringify(fields)}`);
    };
    const log: Log = { ...silentLog, error, with: () => log };
    this.log = log;
  }

  /** With an ingress network and a leader. */
  static async start(options: SimulatedClusterOptions = {}): Promise<SimulatedCluster> {
    const nodes = Array.from({ length: options.nodes ?? 3 }, (_, i) =>
      nodeFixture({ id: `node${String(i).padStart(21, '0')}` }),
    );
    const ingress = networkFixture({ spec: { name: 'ingress', driver: 'overlay', ingress: true } });
    const fixture = await storeFixture(
      {
        cluster: [clusterFixture({ subnetSize: options.subnetSize ?? 24 })],
        node: nodes,
        network: [ingress],
      },
      { seed: options.seed ?? 1 },
    );
    const cluster = new SimulatedCluster(fixture, nodes, options);
    cluster.lead();
    await settle();
    return cluster;
  }

  get nowMs(): number {
    return this.fixture.clock.now();
  }

  /** Loops over the same store, as a new leader starts them. */
  lead(): void {
    const { store, clock, random } = this.fixture;
    const writer = this.#faulty ?? this.fixture.writer;
    const deps: LeaderDeps = { store, writer, clock, random, log: this.log };
    const stop = new AbortController();
    const ended = Promise.all([
      runAllocator(deps, stop.signal),
      runOrchestrator(deps, stop.signal),
      runScheduler(deps, stop.signal),
      this.#loop?.(deps, stop.signal),
    ]);
    this.#leader = { stop, ended };
  }

  /** Throws when a loop logged an error. */
  async stopLeading(): Promise<void> {
    this.#leader?.stop.abort(new Error('no longer the leader'));
    await this.#leader?.ended;
    this.#leader = undefined;
    if (this.#errors.length > 0) throw new Error(this.#errors.join('\n'));
  }

  // ---- what an operator does -----------------------------------------------------------------

  async create(service: Service): Promise<string> {
    await this.fixture.writer.write([createAction('service', { ...service, specVersion: 1 })]);
    return service.id;
  }

  /** As the control API writes an update. */
  async update(id: string, change: (spec: ServiceSpec) => ServiceSpec): Promise<void> {
    await settle();
    const service = this.service(id);
    const before = service.spec as ServiceSpec;
    const spec = change(before);
    const replaces = replacesTasks(before, spec);
    await this.fixture.writer.write([
      updateAction('service', {
        ...service,
        spec,
        previousSpec: before,
        specVersion: replaces ? service.specVersion + 1 : service.specVersion,
        updateStatus: replaces
          ? {
              state: 'updating',
              startedAtMs: this.nowMs,
              completedAtMs: 0,
              message: 'update in progress',
            }
          : undefined,
      }),
    ]);
  }

  async changeNode(id: string, change: (node: Node) => Node): Promise<void> {
    const node = this.fixture.store.get('node', id) as Node;
    await this.fixture.writer.write([updateAction('node', change(node))]);
  }

  /** The host is silent and the managers have noticed; `up` undoes both. */
  async down(id: string): Promise<void> {
    this.#silent.add(id);
    await this.changeNode(id, (node) => withState(node, NodeState.DOWN));
  }

  async up(id: string): Promise<void> {
    this.#silent.delete(id);
    await this.changeNode(id, (node) => withState(node, NodeState.READY));
  }

  // ---- what there is -------------------------------------------------------------------------

  service(id: string): Service {
    return this.fixture.store.get('service', id) as Service;
  }

  tasks(serviceId: string): Task[] {
    const tasks = [...this.fixture.store.tasksOfService(serviceId)];
    return tasks.sort((a, b) => a.slot - b.slot || (a.meta?.version ?? 0) - (b.meta?.version ?? 0));
  }

  /** Observed running, and on a host that is not silent. */
  running(serviceId: string): Task[] {
    return this.tasks(serviceId).filter(
      (task) => task.status?.state === TaskState.RUNNING && !this.#silent.has(task.nodeId),
    );
  }

  /** The same that managers want to go on. */
  serving(serviceId: string): Task[] {
    return this.running(serviceId).filter((task) => isWanted(task.desiredState));
  }

  // ---- time ----------------------------------------------------------------------------------

  async run(durationMs: number): Promise<void> {
    const endMs = this.nowMs + durationMs;
    await this.#step(0);
    while (this.nowMs < endMs) await this.#step(Math.min(STEP_MS, endMs - this.nowMs));
  }

  /** Runs until it holds; throws after `limitMs`. */
  async until(holds: () => boolean, limitMs = 60_000): Promise<void> {
    const endMs = this.nowMs + limitMs;
    await this.#step(0);
    while (!holds()) {
      if (this.nowMs >= endMs) throw new Error(`not reached within ${limitMs} ms`);
      await this.#step(STEP_MS);
    }
  }

  async #step(durationMs: number): Promise<void> {
    await this.fixture.clock.advance(durationMs);
    await this.#hosts();
    await settle();
    this.onStep();
  }

  /** Every host takes each of its tasks one step on, and reports that. */
  async #hosts(): Promise<void> {
    const reports = [];
    for (const task of this.fixture.store.all('task')) {
      if (task.nodeId === '' || this.#silent.has(task.nodeId)) continue;
      const state = this.#next(task);
      const status = task.status;
      if (state === undefined || status === undefined) continue;
      const healthy = state === TaskState.RUNNING;
      reports.push(taskStatusAction(task.id, { ...status, atMs: this.nowMs, state, healthy }));
    }
    if (reports.length > 0) await this.fixture.writer.write(reports);
  }

  #next(task: Task): TaskState | undefined {
    const state = task.status?.state ?? TaskState.NEW;
    if (state < TaskState.ASSIGNED || isTerminal(state)) return undefined;
    const { startMs = 50, stopMs = 50, end } = this.behaviour(task);
    if (!isWanted(task.desiredState)) {
      if (state < TaskState.STARTING) return TaskState.SHUTDOWN;
      return this.#after(`${task.id}/stop`, stopMs) ? TaskState.SHUTDOWN : undefined;
    }
    if (state === TaskState.RUNNING) {
      if (end === undefined) return undefined;
      return this.#after(`${task.id}/end`, end.afterMs) ? end.state : undefined;
    }
    if (!this.#after(`${task.id}/start`, startMs)) return undefined;
    if (state < TaskState.READY) {
      return end?.afterMs === 0 ? end.state : TaskState.READY;
    }
    return task.desiredState === TaskState.RUNNING ? TaskState.RUNNING : undefined;
  }

  #after(key: string, delayMs: number): boolean {
    const dueMs = this.#dueMs.get(key) ?? this.nowMs + delayMs;
    this.#dueMs.set(key, dueMs);
    return this.nowMs >= dueMs;
  }
}

function withState(node: Node, state: NodeState): Node {
  return { ...node, status: { message: '', address: '', ...node.status, state } };
}

/**
 * One write in four fails: nothing was done, or it was but nobody says so, or it will be, before any
 * later write (a log keeps the order of proposals).
 */
class FaultyWriter implements Writer {
  readonly #writer: Writer;
  readonly #random: Random;
  #late: Promise<unknown> = Promise.resolve();
  #held: (() => void) | undefined;

  constructor(writer: Writer, random: Random) {
    this.#writer = writer;
    this.#random = random;
  }

  async write(actions: readonly StoreAction[], signal?: AbortSignal): Promise<number> {
    this.#held?.();
    this.#held = undefined;
    await this.#late;
    const chance = this.#random.next();
    if (chance < 0.1) throw new ShoalError('unavailable', 'no quorum for a moment');
    if (chance < 0.17) {
      await this.#writer.write(actions, signal);
      throw new ShoalError('unknown-outcome', 'the answer was lost');
    }
    if (chance < 0.25) {
      const released = new Promise<void>((resolve) => {
        this.#held = resolve;
      });
      // It may be refused by then: nobody hears of that either.
      const ignore = () => undefined;
      this.#late = released.then(() => this.#writer.write(actions)).then(ignore, ignore);
      throw new ShoalError('unknown-outcome', 'the answer is late');
    }
    return this.#writer.write(actions, signal);
  }
}
