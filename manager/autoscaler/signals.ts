import type { TaskSample } from '../../shared/gen/shoal/v1/autoscale.ts';
import type { Windowed } from './types.ts';

/** What agents measure of a task. */
export type Signal = 'cpu' | 'memory' | 'network' | 'pids' | 'requests' | 'connections';

/** Levels are what they are at a moment; the others are means over the time since the sample before. */
const PLACE: Readonly<Record<Signal, Readonly<{ at: number; isLevel: boolean }>>> = {
  cpu: { at: 2, isLevel: false },
  memory: { at: 3, isLevel: true },
  network: { at: 4, isLevel: false },
  pids: { at: 5, isLevel: true },
  requests: { at: 6, isLevel: false },
  connections: { at: 7, isLevel: false },
};

/** Numbers of one sample: when it ended, how long it took, then the signals. */
const STRIDE = 8;
/** The longest window at one sample a second, and some that came early. */
const SLOTS = 24;

export type Windows = Readonly<{ stableMs: number; fastMs: number }>;

const NOTHING: Windowed = { stable: undefined, fast: undefined };

/**
 * The last samples of one task, by the leader's monotonic clock. A task that is started anew is another task with
 * other counters, so that rates never span a restart.
 */
export class SampleRing {
  readonly #values = new Float64Array(SLOTS * STRIDE);
  #next = 0;
  #count = 0;
  #lastEndMs = Number.NEGATIVE_INFINITY;

  /** `endMs`: monotonic, when it was taken. One that ended before the last one is not news. */
  add(sample: TaskSample, endMs: number): void {
    if (endMs <= this.#lastEndMs) return;
    this.#lastEndMs = endMs;
    const values = this.#values;
    const at = this.#next * STRIDE;
    values[at] = endMs;
    values[at + 1] = sample.windowMs;
    values[at + PLACE.cpu.at] = sane(sample.cpuCores);
    values[at + PLACE.memory.at] = sane(sample.memoryBytes);
    values[at + PLACE.network.at] = sane(sample.networkBytes);
    values[at + PLACE.pids.at] = sane(sample.pids);
    values[at + PLACE.requests.at] = sane(sample.requests);
    values[at + PLACE.connections.at] = sane(sample.connections);
    this.#next = (this.#next + 1) % SLOTS;
    this.#count = Math.min(SLOTS, this.#count + 1);
  }

  /**
   * Means over the two windows that end at `nowMs`. A sample counts for the part of it that is in the window. What a
   * sample says of the time before `sinceMs`, when the task became ready, is about its start and not about its load:
   * rates that began and levels that were read before are left out.
   */
  windowed(
    signal: Signal,
    nowMs: number,
    { stableMs, fastMs }: Windows,
    sinceMs: number,
  ): Windowed {
    const { at, isLevel } = PLACE[signal];
    const values = this.#values;
    const stableFromMs = nowMs - stableMs;
    const fastFromMs = nowMs - fastMs;
    let stableSum = 0;
    let stableWeight = 0;
    let fastSum = 0;
    let fastWeight = 0;
    for (let slot = 0; slot < this.#count; slot++) {
      const base = slot * STRIDE;
      const value = values[base + at] as number;
      const endMs = values[base] as number;
      if (Number.isNaN(value) || endMs <= stableFromMs) continue;
      const beganMs = isLevel ? endMs : endMs - (values[base + 1] as number);
      if (beganMs < sinceMs) continue;
      const weight = isLevel ? 1 : endMs - Math.max(beganMs, stableFromMs);
      stableSum += value * weight;
      stableWeight += weight;
      if (endMs <= fastFromMs) continue;
      const shortWeight = isLevel ? 1 : endMs - Math.max(beganMs, fastFromMs);
      fastSum += value * shortWeight;
      fastWeight += shortWeight;
    }
    if (stableWeight === 0) return NOTHING;
    return {
      stable: rounded(stableSum / stableWeight),
      fast: fastWeight === 0 ? undefined : rounded(fastSum / fastWeight),
    };
  }
}

/** An exbibyte. Sums of what no host can measure would be infinite, and so would be what is told of them. */
const MOST = 2 ** 60;

/** To millionths: what a decision is made from is kept in text, and of no mean are more digits true. */
function rounded(mean: number): number {
  return Math.round(mean * 1e6) / 1e6;
}

/** NaN for what is absent, or cannot be. */
function sane(value: number | undefined): number {
  return value !== undefined && value >= 0 && value <= MOST ? value : Number.NaN;
}
