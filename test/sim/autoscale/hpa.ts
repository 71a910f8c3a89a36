import type { Controller } from './controller.ts';
import type { PlantTask } from './plant.ts';

/**
 * Kubernetes' HPA v2 with the defaults of its controller and of the metrics server, written apart from
 * our own decision, so that the two can be compared: a pass every 15 s over 15 s means that are taken
 * every 15 s, tolerance 10 %, four tasks or a doubling in 15 s upwards, five minutes downwards.
 */
const SYNC_MS = 15_000;
const SCRAPE_MS = 15_000;
const TOLERANCE = 0.1;
const DOWN_WINDOW_MS = 300_000;
const UP_PERIOD_MS = 15_000;
const UP_PODS = 4;
const CPU_INITIALIZATION_MS = 300_000;

type Scrape = Readonly<{ fromMs: number; cpu: number }>;

export class HpaController implements Controller {
  readonly intervalMs = SYNC_MS;
  /** Passes and scrapes are not in step: on average a scrape is half an interval old. */
  readonly phaseMs = 7_500;
  readonly #target: number;
  readonly #max: number;
  #recommendations: { atMs: number; replicas: number }[] = [];
  #added: { atMs: number; change: number }[] = [];
  #seen = false;

  constructor(target: number, max: number) {
    this.#target = target;
    this.#max = max;
  }

  decide(nowMs: number, replicas: number, pods: readonly PlantTask[]): number {
    if (!this.#seen) {
      this.#recommendations.push({ atMs: nowMs, replicas });
      this.#seen = true;
    }
    const wanted = this.#propose(nowMs, replicas, pods);
    if (wanted === undefined) return replicas;
    this.#recommendations = this.#recommendations.filter((r) => nowMs - r.atMs < DOWN_WINDOW_MS);
    const most = Math.max(wanted, ...this.#recommendations.map((r) => r.replicas));
    this.#recommendations.push({ atMs: nowMs, replicas: wanted });
    let next = replicas;
    if (wanted > replicas) next = wanted;
    if (most < replicas) next = most;
    if (next > replicas) {
      this.#added = this.#added.filter((event) => nowMs - event.atMs < UP_PERIOD_MS);
      const start = replicas - this.#added.reduce((sum, event) => sum + event.change, 0);
      const limit = Math.max(start + UP_PODS, Math.ceil(start * 2));
      next = Math.max(replicas, Math.min(next, limit, this.#max));
      this.#added.push({ atMs: nowMs, change: next - replicas });
    }
    return Math.max(1, next);
  }

  restart(): void {
    this.#recommendations = [];
    this.#added = [];
    this.#seen = false;
  }

  #propose(nowMs: number, replicas: number, pods: readonly PlantTask[]): number | undefined {
    let sum = 0;
    let counted = 0;
    let missing = 0;
    let unready = 0;
    for (const pod of pods) {
      const scrape = scrapeOf(pod, nowMs);
      if (pod.readyMs > nowMs) unready++;
      else if (scrape === undefined) missing++;
      else if (nowMs - pod.startedMs < CPU_INITIALIZATION_MS && scrape.fromMs < pod.readyMs)
        unready++;
      else {
        sum += scrape.cpu;
        counted++;
      }
    }
    if (counted === 0) return undefined;
    const ratioOf = (cpu: number, count: number) =>
      Math.trunc((100 * cpu) / count) / Math.round(100 * this.#target);
    const steady = (ratio: number) => Math.abs(ratio - 1) <= TOLERANCE;
    const ratio = ratioOf(sum, counted);
    if (missing === 0 && !(unready > 0 && ratio > 1)) {
      return steady(ratio) ? replicas : Math.ceil(ratio * counted);
    }
    let count = counted;
    if (ratio < 1) {
      sum += missing * Math.max(1, this.#target);
      count += missing;
    } else if (ratio > 1) count += missing + unready;
    const filled = ratioOf(sum, count);
    if (steady(filled) || (ratio < 1 && filled > 1) || (ratio > 1 && filled < 1)) return replicas;
    const next = Math.ceil(filled * count);
    const against = (filled < 1 && next > replicas) || (filled > 1 && next < replicas);
    return against ? replicas : next;
  }
}

/** The mean of the last whole scrape interval; undefined: it was not seen. */
function scrapeOf(pod: PlantTask, nowMs: number): Scrape | undefined {
  const endMs = Math.floor(nowMs / SCRAPE_MS) * SCRAPE_MS;
  const fromMs = endMs - SCRAPE_MS;
  const seen = pod.samples.filter((sample) => sample.atMs > fromMs && sample.atMs <= endMs);
  // It is the scrape that gets lost, and with it the whole interval.
  if (seen.at(-1)?.atMs !== endMs) return undefined;
  return { fromMs, cpu: seen.reduce((sum, { cpu }) => sum + cpu, 0) / seen.length };
}
