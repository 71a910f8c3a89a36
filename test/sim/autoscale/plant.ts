import type { Random } from '../../../shared/random.ts';

/**
 * A service as a queueing model: each task serves from its own queue at its own rate, requests come at random
 * and go to a ready task by chance. Time goes in ticks; what is measured is measured by the second.
 */
export const TICK_MS = 100;
/** Requests that a task serves in a second, at a whole core. */
export const SERVICE_RATE = 50;
/** A request that waits longer is late. */
export const SLO_MS = 500;
/** Clients give up behind so many milliseconds of work. */
const PATIENCE_MS = 5_000;

export type Sample = Readonly<{ atMs: number; cpu: number; requests: number }>;

export type PlantTask = {
  readonly id: string;
  readonly startedMs: number;
  readonly readyMs: number;
  queue: number;
  served: number;
  arrived: number;
  /** Of whole seconds in which it was ready, oldest first. */
  samples: Sample[];
};

export type PlantOptions = Readonly<{
  startMs: number;
  /** Share of the samples that are never seen. */
  lossRatio: number;
}>;

export type Tick = Readonly<{ arrived: number; late: number }>;

/** Samples older than that are of no use to anyone, milliseconds. */
const KEPT_MS = 60_000;

export class Plant {
  tasks: PlantTask[] = [];
  readonly #options: PlantOptions;
  readonly #random: Random;
  #made = 0;

  constructor(options: PlantOptions, random: Random) {
    this.#options = options;
    this.#random = random;
  }

  /** New tasks start after a while; of those there are, the youngest go first and take their queue along. */
  scale(replicas: number, nowMs: number, startMs = this.#options.startMs): void {
    while (this.tasks.length > replicas) this.tasks.pop();
    while (this.tasks.length < replicas) {
      this.tasks.push({
        id: `task${this.#made++}`,
        startedMs: nowMs,
        readyMs: nowMs + startMs,
        queue: 0,
        served: 0,
        arrived: 0,
        samples: [],
      });
    }
  }

  tick(nowMs: number, ratePerSecond: number): Tick {
    const ready = this.tasks.filter((task) => task.readyMs <= nowMs);
    const expected = (ratePerSecond * TICK_MS) / 1000;
    if (ready.length === 0) {
      const lost = this.#poisson(expected);
      return { arrived: lost, late: lost };
    }
    const capacity = (SERVICE_RATE * TICK_MS) / 1000;
    let arrived = 0;
    let late = 0;
    for (const task of ready) {
      const requests = this.#poisson(expected / ready.length);
      arrived += requests;
      const inTime = (SERVICE_RATE * SLO_MS) / 1000;
      late += Math.min(requests, Math.max(0, task.queue + requests - inTime));
      task.queue = Math.min(task.queue + requests, (SERVICE_RATE * PATIENCE_MS) / 1000);
      const served = Math.min(task.queue, capacity);
      task.queue -= served;
      task.served += served;
      task.arrived += requests;
    }
    return { arrived, late };
  }

  /** At the end of each second. */
  measure(nowMs: number): void {
    for (const task of this.tasks) {
      const whole = task.readyMs <= nowMs - 1000;
      const seen = this.#random.next() >= this.#options.lossRatio;
      if (whole && seen) {
        task.samples.push({ atMs: nowMs, cpu: task.served / SERVICE_RATE, requests: task.arrived });
        if (nowMs - (task.samples[0]?.atMs ?? nowMs) > KEPT_MS) task.samples.shift();
      }
      task.served = 0;
      task.arrived = 0;
    }
  }

  #poisson(mean: number): number {
    if (mean > 30) return Math.max(0, Math.round(mean + Math.sqrt(mean) * this.#normal()));
    const limit = Math.exp(-mean);
    let count = 0;
    for (let product = this.#random.next(); product > limit; product *= this.#random.next())
      count++;
    return count;
  }

  #normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.#random.next()));
    return radius * Math.cos(2 * Math.PI * this.#random.next());
  }
}
