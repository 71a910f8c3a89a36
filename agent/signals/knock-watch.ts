import { type Clock, sleep } from '../../shared/clock.ts';
import { messageOf } from '../../shared/errors.ts';
import type { Knock, TaskSamples } from '../../shared/gen/shoal/v1/autoscale.ts';
import type { Log } from '../../shared/log.ts';
import type { Knocking, TrafficMeter } from '../network/types.ts';

/** A client's kernel tries again after a second: a task that shall answer then has to be asked for early in it. */
const POLL_MS = 200;

export type KnockWatchDeps = Readonly<{
  meter: Pick<TrafficMeter, 'isHolding' | 'knocks'>;
  send(samples: TaskSamples): void;
  clock: Clock;
  log: Log;
}>;

/**
 * Tells at once when somebody tries to reach a service that has no task. Looks only while some service is held;
 * each look costs 0.3 to 1.4 ms of CPU, idle or busy machine, for the host and for each network with such a service.
 */
export class KnockWatch {
  readonly #deps: KnockWatchDeps;
  readonly #ending = new AbortController();
  #totals: ReadonlyMap<string, number> = new Map();
  #loop: Promise<void> | undefined;

  constructor(deps: KnockWatchDeps) {
    this.#deps = deps;
  }

  /** To be called when other services may be held. */
  refresh(): void {
    if (this.#loop !== undefined || this.#ending.signal.aborted) return;
    if (!this.#deps.meter.isHolding) return;
    this.#loop = this.#run().finally(() => {
      this.#loop = undefined;
    });
  }

  async close(): Promise<void> {
    this.#ending.abort();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { clock, log, meter, send } = this.#deps;
    const { signal } = this.#ending;
    while (meter.isHolding && !signal.aborted) {
      try {
        const found = fresh(this.#totals, await meter.knocks());
        this.#totals = found.totals;
        if (found.knocks.length > 0) send({ samples: [], knocks: found.knocks });
      } catch (error) {
        log.warn('cannot look who waits for services without tasks', { error: messageOf(error) });
      }
      try {
        await sleep(clock, POLL_MS, signal);
      } catch {
        break; // closed
      }
    }
    this.#totals = new Map();
  }
}

/**
 * Tries since the last look, by service. A total that was not there counts whole, and so does one that is less than
 * it was: it was made anew.
 */
export function fresh(
  before: ReadonlyMap<string, number>,
  now: readonly Knocking[],
): { totals: Map<string, number>; knocks: Knock[] } {
  const totals = new Map<string, number>();
  const services = new Map<string, number>();
  for (const { key, serviceId, total } of now) {
    totals.set(key, total);
    const last = before.get(key) ?? 0;
    const more = total >= last ? total - last : total;
    if (more > 0) services.set(serviceId, (services.get(serviceId) ?? 0) + more);
  }
  const knocks = [...services].map(([serviceId, connections]) => ({ serviceId, connections }));
  return { totals, knocks };
}
