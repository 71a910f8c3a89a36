import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { Clock } from '../../../../shared/clock.ts';
import { ShoalError } from '../../../../shared/errors.ts';

const KEEP_MS = 10_000;
/** Look-ups take one of the process's four threads each, which files need too. */
const AT_ONCE = 2;
const MAX_NAMES = 1_000;

type Known = { address: string; untilMs: number };

/**
 * The machine's resolver, so that its hosts file counts. A name is asked once for all who want it; an answer is kept for
 * ten seconds, and longer where it cannot be had again: servers outlive their name servers' bad moments.
 */
export class Names {
  readonly #clock: Clock;
  readonly #known = new Map<string, Known>();
  readonly #asking = new Map<string, Promise<string>>();
  #free = AT_ONCE;
  readonly #waiting: (() => void)[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** An address of the host, IPv4 if it has one. Rejects with ShoalError `unavailable`. */
  async addressOf(host: string): Promise<string> {
    if (isIP(host) !== 0) return host;
    const known = this.#known.get(host);
    if (known !== undefined && known.untilMs > this.#clock.monotonicMs()) return known.address;
    const asking = this.#asking.get(host) ?? this.#ask(host);
    if (known === undefined) return await asking;
    // The old answer is as good as it was; the new one is for the next time.
    asking.catch(() => undefined);
    return known.address;
  }

  #ask(host: string): Promise<string> {
    const asking = this.#lookUp(host).finally(() => this.#asking.delete(host));
    this.#asking.set(host, asking);
    return asking;
  }

  async #lookUp(host: string): Promise<string> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      const { address } = await lookup(host, { order: 'ipv4first' });
      this.#keep(host, address);
      return address;
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : 'no answer';
      throw new ShoalError('unavailable', `the name ${host} cannot be resolved (${code})`);
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }

  #keep(host: string, address: string): void {
    const [oldest] = this.#known.keys();
    if (this.#known.size >= MAX_NAMES && oldest !== undefined) this.#known.delete(oldest);
    this.#known.delete(host);
    this.#known.set(host, { address, untilMs: this.#clock.monotonicMs() + KEEP_MS });
  }
}
