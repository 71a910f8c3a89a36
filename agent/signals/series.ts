import type { TaskSample } from '../../shared/gen/shoal/v1/autoscale.ts';
import type { TaskTraffic } from '../network/types.ts';
import type { Resources } from './types.ts';

/** What was read of one task at one time; `atMs` is monotonic. */
export type Reading = Readonly<{
  atMs: number;
  resources?: Resources | undefined;
  traffic?: TaskTraffic | undefined;
}>;

export type Rates = Omit<TaskSample, 'taskId' | 'serviceId'>;

const NS_PER_MS = 1e6;
/** What is left of a write that waits for its counterpart, after each further second. */
const KEPT = 0.5;

/** One task's readings become rates, each over the time since the one before. */
export class TaskSeries {
  #last: Reading | undefined;
  #unmatched: Unmatched = NONE;

  /**
   * Undefined for the first reading, and for one that says nothing. A part that was not read this time or the last
   * has no rate. A counter that went back was made anew: it counts from there on.
   */
  next(reading: Reading): Rates | undefined {
    const last = this.#last;
    this.#last = reading;
    if (last === undefined) return undefined;
    const windowMs = reading.atMs - last.atMs;
    if (windowMs <= 0) return undefined;
    const perSecond = (grown: number | undefined) =>
      grown === undefined ? undefined : (grown * 1_000) / windowMs;
    const [now, before] = [reading.resources, last.resources];
    const cpuNs = growth(before?.cpuNs, now?.cpuNs);
    const rates: Rates = {
      windowMs: Math.round(windowMs),
      cpuCores: cpuNs === undefined ? undefined : cpuNs / NS_PER_MS / windowMs,
      memoryBytes: now?.memoryBytes,
      networkBytes: perSecond(growth(before?.networkBytes, now?.networkBytes)),
      pids: now?.pids,
      requests: perSecond(this.#requests(last.traffic, reading.traffic)),
      connections: perSecond(growth(last.traffic?.connections, reading.traffic?.connections)),
    };
    const { windowMs: _, ...parts } = rates;
    return Object.values(parts).some((part) => part !== undefined) ? rates : undefined;
  }

  #requests(last: TaskTraffic | undefined, now: TaskTraffic | undefined): number | undefined {
    const asked = growth(last?.requests, now?.requests);
    const answered = growth(last?.replies, now?.replies);
    if (asked === undefined || answered === undefined) {
      this.#unmatched = NONE;
      return undefined;
    }
    const { matched, unmatched } = match(this.#unmatched, { asked, answered });
    this.#unmatched = unmatched;
    return matched;
  }
}

type Unmatched = Readonly<{ asked: number; answered: number }>;
const NONE: Unmatched = { asked: 0, answered: 0 };

/**
 * Requests of one window: the lesser of what clients wrote and what the task wrote, as a large body is many writes of
 * one side. What was asked at the end of one window is answered in the next: writes without a counterpart wait, whole
 * for one window and then ever less, so that a stream's do not pile up.
 */
export function match(
  waiting: Unmatched,
  fresh: Unmatched,
): { matched: number; unmatched: Unmatched } {
  const asked = waiting.asked + fresh.asked;
  const answered = waiting.answered + fresh.answered;
  const matched = Math.min(asked, answered);
  const rest = (total: number, fresher: number) => {
    const left = total - matched;
    const young = Math.min(left, fresher);
    return young + (left - young) * KEPT;
  };
  return {
    matched,
    unmatched: { asked: rest(asked, fresh.asked), answered: rest(answered, fresh.answered) },
  };
}

function growth(before: number | undefined, now: number | undefined): number | undefined {
  if (before === undefined || now === undefined || now < before) return undefined;
  return now - before;
}
