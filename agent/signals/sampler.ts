import { type Clock, sleep } from '../../shared/clock.ts';
import { messageOf } from '../../shared/errors.ts';
import type { TaskSample, TaskSamples } from '../../shared/gen/shoal/v1/autoscale.ts';
import type { Log } from '../../shared/log.ts';
import type { TaskTraffic, TrafficMeter } from '../network/types.ts';
import { TaskSeries } from './series.ts';
import type { MeasuredTask, ResourceReader, Resources } from './types.ts';

const PERIOD_MS = 1_000;
/** Containers read before others get a turn: about 4 ms. */
const READ_AT_ONCE = 64;

export type SamplerDeps = Readonly<{
  /** What is to be measured now. */
  measured(): readonly MeasuredTask[];
  reader: ResourceReader;
  /** The first process of a container that runs; undefined when it does not. */
  pidOf(containerId: string): Promise<number | undefined>;
  meter: Pick<TrafficMeter, 'count' | 'traffic'>;
  send(samples: TaskSamples): void;
  clock: Clock;
  log: Log;
}>;

/** Once a second what the tasks that are to be measured use. Does nothing at all when none is. */
export class Sampler {
  readonly #deps: SamplerDeps;
  readonly #ending = new AbortController();
  readonly #series = new Map<string, TaskSeries>();
  #counted: ReadonlySet<string> = new Set();
  #loop: Promise<void> | undefined;

  constructor(deps: SamplerDeps) {
    this.#deps = deps;
  }

  /** To be called when it may be others that are to be measured. */
  refresh(): void {
    if (this.#loop !== undefined || this.#ending.signal.aborted) return;
    if (this.#deps.measured().length === 0) return;
    this.#loop = this.#run().finally(() => {
      this.#loop = undefined;
    });
  }

  async close(): Promise<void> {
    this.#ending.abort();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { clock, log, measured } = this.#deps;
    const { signal } = this.#ending;
    let dueMs = clock.monotonicMs();
    for (;;) {
      const tasks = measured();
      if (tasks.length === 0 || signal.aborted) break;
      try {
        await this.#sample(tasks);
      } catch (error) {
        log.warn('cannot measure tasks', { error: messageOf(error) });
      }
      const nowMs = clock.monotonicMs();
      // A round that came late does not make the next ones come in a heap.
      dueMs = Math.max(dueMs + PERIOD_MS, nowMs);
      try {
        await sleep(clock, dueMs - nowMs, signal);
      } catch {
        break; // closed
      }
    }
    this.#series.clear();
    this.#deps.reader.keepOnly(new Set());
    // Who only stops leaves the kernel as it is.
    if (!signal.aborted) this.#count([]);
  }

  async #sample(tasks: readonly MeasuredTask[]): Promise<void> {
    const { clock, meter, reader, send } = this.#deps;
    this.#count(tasks);
    const traffic = this.#counted.size > 0 ? await meter.traffic() : undefined;
    const samples: TaskSample[] = [];
    let turn = 0;
    for (const task of tasks) {
      const resources = await this.#resources(task);
      const rates = this.#seriesOf(task.taskId).next({
        atMs: clock.monotonicMs(),
        resources,
        traffic: this.#traffic(task, traffic),
      });
      if (rates !== undefined) {
        samples.push({ taskId: task.taskId, serviceId: task.serviceId, ...rates });
      }
      turn += 1;
      if (turn % READ_AT_ONCE === 0) await sleep(clock, 0);
    }
    const ids = new Set(tasks.map(({ taskId }) => taskId));
    for (const taskId of this.#series.keys()) if (!ids.has(taskId)) this.#series.delete(taskId);
    const containers = tasks.flatMap(({ containerId, resources }) =>
      resources && containerId !== undefined ? [containerId] : [],
    );
    reader.keepOnly(new Set(containers));
    if (samples.length > 0) send({ samples, knocks: [] });
  }

  async #resources({ containerId, resources }: MeasuredTask): Promise<Resources | undefined> {
    const { reader, pidOf } = this.#deps;
    if (!resources || containerId === undefined) return undefined;
    if (!reader.knows(containerId)) {
      const pid = await pidOf(containerId);
      if (pid === undefined) return undefined;
      reader.open(containerId, pid);
    }
    return reader.read(containerId);
  }

  #traffic(
    { taskId, requests }: MeasuredTask,
    traffic: ReadonlyMap<string, TaskTraffic> | undefined,
  ): TaskTraffic | undefined {
    return requests ? traffic?.get(taskId) : undefined;
  }

  #seriesOf(taskId: string): TaskSeries {
    const known = this.#series.get(taskId);
    if (known !== undefined) return known;
    const series = new TaskSeries();
    this.#series.set(taskId, series);
    return series;
  }

  #count(tasks: readonly MeasuredTask[]): void {
    const wanted = new Set(tasks.flatMap(({ taskId, requests }) => (requests ? [taskId] : [])));
    const same = [...wanted].every((taskId) => this.#counted.has(taskId));
    if (same && wanted.size === this.#counted.size) return;
    this.#counted = wanted;
    this.#deps.meter.count(wanted);
  }
}
