import type { VirtualClock } from './clock.ts';
import type { SeededRandom } from './random.ts';

/** How every link behaves. Delays are uniform. */
export type LinkFaults = Readonly<{
  /** Messages of one link arrive in the order they were sent, as in a TCP stream; else they overtake. */
  ordered: boolean;
  minDelayMs: number;
  maxDelayMs: number;
  lossRatio: number;
  duplicateRatio: number;
}>;

/** A datagram network between named ends. What is lost is lost silently. */
export class SimNetwork<Payload> {
  faults: LinkFaults;
  readonly #clock: VirtualClock;
  readonly #random: SeededRandom;
  readonly #receivers = new Map<string, (from: string, payload: Payload) => void>();
  readonly #cut = new Set<string>();
  /** When the last message of a link arrives. */
  readonly #lastArrivalMs = new Map<string, number>();

  constructor(clock: VirtualClock, random: SeededRandom, faults: LinkFaults) {
    this.#clock = clock;
    this.#random = random;
    this.faults = faults;
  }

  attach(id: string, receive: (from: string, payload: Payload) => void): void {
    this.#receivers.set(id, receive);
  }

  send(from: string, to: string, payload: Payload): void {
    const { lossRatio, duplicateRatio, minDelayMs, maxDelayMs } = this.faults;
    const key = link(from, to);
    const copies = this.#random.chance(duplicateRatio) ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      if (this.#random.chance(lossRatio)) continue;
      const delayMs = minDelayMs + this.#random.next() * (maxDelayMs - minDelayMs);
      this.#clock.later(this.#queued(key, delayMs), () => {
        // Judged on arrival: a link that is cut loses what is under way, too.
        if (!this.#cut.has(key)) this.#receivers.get(to)?.(from, payload);
      });
    }
  }

  #queued(key: string, delayMs: number): number {
    if (!this.faults.ordered) return delayMs;
    const now = this.#clock.monotonicMs();
    const arrivalMs = Math.max(now + delayMs, this.#lastArrivalMs.get(key) ?? 0);
    this.#lastArrivalMs.set(key, arrivalMs);
    return arrivalMs - now;
  }

  /** One way only: `to` hears nothing of `from`, yet may be heard. */
  cut(from: string, to: string): void {
    this.#cut.add(link(from, to));
  }

  mend(from: string, to: string): void {
    this.#cut.delete(link(from, to));
  }

  /** Both ways, between each two ends of different groups. */
  partition(...groups: readonly (readonly string[])[]): void {
    for (const group of groups) {
      for (const other of groups) {
        if (group === other) continue;
        for (const from of group) for (const to of other) this.cut(from, to);
      }
    }
  }

  cutLinks(): readonly (readonly [from: string, to: string])[] {
    return [...this.#cut].map((key) => key.split('>') as [string, string]);
  }

  mendAll(): void {
    this.#cut.clear();
  }
}

function link(from: string, to: string): string {
  return `${from}>${to}`;
}
