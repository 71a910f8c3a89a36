import type { Clock } from '../../../shared/clock.ts';
import type { MessageFacts } from './wire.ts';

/** Longer than any container should wait for a change outside to be seen. */
const MAX_TTL_SECONDS = 60;
/** Of answers "no such name" and "no data" that do not say it themselves. */
const NEGATIVE_TTL_SECONDS = 5;
const MAX_ENTRIES = 2_000;

export type CachedMessage = Readonly<{ bytes: Uint8Array; facts: MessageFacts }>;

/** Answers of other name servers, for as long as they say; the oldest go first when it is full. */
export class MessageCache {
  readonly #clock: Clock;
  readonly #entries = new Map<string, CachedMessage & { storedMs: number; untilMs: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get(key: string): (CachedMessage & { ageSeconds: number }) | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs >= entry.untilMs) {
      this.#entries.delete(key);
      return undefined;
    }
    const ageSeconds = Math.floor((nowMs - entry.storedMs) / 1000);
    return { bytes: entry.bytes, facts: entry.facts, ageSeconds };
  }

  /** Keeps answers and "no such name"; failures and cut answers are asked for again. */
  put(key: string, message: CachedMessage): void {
    const { facts } = message;
    if (facts.truncated || (facts.code !== 0 && facts.code !== 3)) return;
    const ttl = Math.min(facts.ttlSeconds ?? NEGATIVE_TTL_SECONDS, MAX_TTL_SECONDS);
    if (ttl <= 0) return;
    const storedMs = this.#clock.monotonicMs();
    this.#entries.delete(key);
    this.#entries.set(key, { ...message, storedMs, untilMs: storedMs + ttl * 1000 });
    if (this.#entries.size <= MAX_ENTRIES) return;
    const [oldest] = this.#entries.keys();
    if (oldest !== undefined) this.#entries.delete(oldest);
  }
}
