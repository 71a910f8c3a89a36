import type { TrafficMeter } from '../network/types.ts';
import { KnockWatch } from './knock-watch.ts';
import { Sampler, type SamplerDeps } from './sampler.ts';

/** All that this host tells of the load on its services. */
export class Signals {
  readonly #sampler: Sampler;
  readonly #knocks: KnockWatch;

  constructor(deps: SamplerDeps & Readonly<{ meter: TrafficMeter }>) {
    this.#sampler = new Sampler(deps);
    this.#knocks = new KnockWatch(deps);
  }

  /** To be called when the assignments changed, and when the data plane has carried them out. */
  refresh(): void {
    this.#sampler.refresh();
    this.#knocks.refresh();
  }

  async close(): Promise<void> {
    await Promise.all([this.#sampler.close(), this.#knocks.close()]);
  }
}
