import { type Clock, sleep, type Timer } from '../../../shared/clock.ts';
import { messageOf, ShoalError } from '../../../shared/errors.ts';
import type { AutoscaleMetric } from '../../../shared/gen/shoal/v1/autoscale.ts';
import type { Log } from '../../../shared/log.ts';
import type { Random } from '../../../shared/random.ts';
import type { OutsideMetric, OutsideReader, OutsideReading } from '../sources.ts';
import { firstPause, pauseAfter, READ_EVERY_MS, READ_WITHIN_MS } from './pace.ts';
import { type ReadingKind, Readings } from './readings.ts';

/** One metric's way to its source. */
export interface Source {
  readonly kind: ReadingKind;
  /** How messages call it. */
  readonly where: string;
  /**
   * What the source says now. Rejects with a message for people that holds no secret; gives up, and does not use the
   * connection again that it was waiting for, when the signal aborts.
   */
  read(signal: AbortSignal): Promise<number>;
  /** No reading follows: lets go of its connection. */
  close(): void;
}

export type FollowerDeps = Readonly<{
  /** Never throws: what is wrong with a metric, its readings tell. */
  open: (metric: OutsideMetric) => Source;
  clock: Clock;
  random: Random;
  log: Log;
}>;

type Followed = {
  metric: AutoscaleMetric;
  identity: string;
  readonly readings: Readings;
  readonly stop: AbortController;
  readonly ended: Promise<void>;
};

/** Reads each metric in a loop of its own: however one source fails, it holds up no other one and no decision. */
export class Follower implements OutsideReader {
  readonly #deps: FollowerDeps;
  readonly #followed = new Map<string, Followed>();
  /** Loops that were told to end. */
  readonly #ending = new Set<Promise<void>>();
  #closed = false;

  constructor(deps: FollowerDeps) {
    this.#deps = deps;
  }

  follow(wanted: readonly OutsideMetric[]): void {
    if (this.#closed) return;
    const keys = new Set<string>();
    for (const one of wanted) {
      keys.add(one.key);
      const known = this.#followed.get(one.key);
      if (known?.metric === one.metric) continue;
      const identity = identityOf(one.metric);
      if (known?.identity === identity) {
        known.metric = one.metric; // the same in a newer version of its service
        continue;
      }
      if (known !== undefined) this.#end(one.key, known);
      this.#followed.set(one.key, this.#begin(one, identity));
    }
    if (this.#followed.size === keys.size) return;
    for (const [key, known] of this.#followed) if (!keys.has(key)) this.#end(key, known);
  }

  latest(key: string): OutsideReading | undefined {
    return this.#followed.get(key)?.readings.latest(this.#deps.clock.monotonicMs());
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const [key, known] of this.#followed) this.#end(key, known);
    await Promise.all(this.#ending);
  }

  #begin(wanted: OutsideMetric, identity: string): Followed {
    const source = this.#deps.open(wanted);
    const readings = new Readings(source.kind);
    const stop = new AbortController();
    const ended = this.#run(wanted.key, source, readings, stop.signal);
    return { metric: wanted.metric, identity, readings, stop, ended };
  }

  #end(key: string, { stop, ended }: Followed): void {
    this.#followed.delete(key);
    stop.abort(new ShoalError('cancelled', 'no longer followed'));
    const forgotten = ended.finally(() => this.#ending.delete(forgotten));
    this.#ending.add(forgotten);
  }

  /** Never rejects. */
  async #run(key: string, source: Source, readings: Readings, signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#deps;
    const log = this.#deps.log.with({ metric: key });
    try {
      await sleep(clock, firstPause(random), signal);
      while (!signal.aborted) {
        const startMs = clock.monotonicMs();
        const failed = readings.failures;
        try {
          readings.add(await this.#read(source, signal), clock.monotonicMs());
          if (failed > 0) log.info('a load source answers again', { failures: failed });
        } catch (error) {
          if (signal.aborted) return;
          readings.fail(messageOf(error));
          if (failed === 0) log.warn('a load source fails', { error: messageOf(error) });
        }
        const { failures } = readings;
        const tookMs = failures > 0 ? 0 : clock.monotonicMs() - startMs;
        await sleep(
          clock,
          Math.max(READ_EVERY_MS / 4, pauseAfter(failures, random) - tookMs),
          signal,
        );
      }
    } catch (error) {
      if (!signal.aborted) log.error('a load source is given up', { error: messageOf(error) });
    } finally {
      source.close();
    }
  }

  /** Settles in time, whether or not the source keeps its word about signals. */
  async #read(source: Source, signal: AbortSignal): Promise<number> {
    const giveUp = new AbortController();
    const outer = () => giveUp.abort(signal.reason);
    signal.addEventListener('abort', outer, { once: true });
    let timer: Timer | undefined;
    const late = new Promise<never>((_, reject) => {
      giveUp.signal.addEventListener('abort', () => reject(giveUp.signal.reason), { once: true });
      timer = this.#deps.clock.after(READ_WITHIN_MS, () => {
        const message = `${source.where}: no answer within ${READ_WITHIN_MS / 1_000} s`;
        giveUp.abort(new ShoalError('deadline-exceeded', message));
      });
    });
    try {
      const value = await Promise.race([source.read(giveUp.signal), late]);
      if (!Number.isFinite(value) || value < 0) {
        throw new ShoalError(
          'failed-precondition',
          `${source.where}: the value is ${value}, and a load is 0 or more`,
        );
      }
      return value;
    } finally {
      timer?.cancel();
      signal.removeEventListener('abort', outer);
    }
  }
}

/** Equal for metrics that are read the same way. What the value is compared with does not matter here. */
function identityOf({ kind }: AutoscaleMetric): string {
  if (kind === undefined) return '';
  return JSON.stringify([kind.$case, { ...kind.value, target: undefined }]);
}
