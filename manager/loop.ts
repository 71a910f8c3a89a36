import { backoffMs } from '../shared/backoff.ts';
import { type Clock, sleep } from '../shared/clock.ts';
import { type ErrorCode, isShoalError, messageOf } from '../shared/errors.ts';
import type { StoreAction } from '../shared/gen/shoal/v1/store.ts';
import type { Log } from '../shared/log.ts';
import type { Random } from '../shared/random.ts';
import type { ChangeBatch, WatchableStore, Writer } from './store/types.ts';
import { sizeOfAction } from './store/writer.ts';

/** What every loop of the leader works with. */
export type LeaderDeps = Readonly<{
  store: WatchableStore;
  writer: Writer;
  clock: Clock;
  random: Random;
  log: Log;
}>;

/** Actions that only make sense together: they are never split between two transactions. */
export type Unit = readonly StoreAction[];

/** What a round decided. */
export type Round = Readonly<{
  units: readonly Unit[];
  /** When to decide again though nothing changed; 0: at once (the round was a slice); undefined: never. */
  wakeInMs?: number | undefined;
}>;

/** A leader's component: it watches changes, decides from the store as it is, and has it written. */
export interface LoopBody {
  readonly name: string;
  /**
   * Takes stock of the whole store; called once, before the first change is seen. `ring` asks for a round for what is
   * not in the store.
   */
  start(ring: () => void): void;
  /** Called within the commit, so it only takes note. Returns whether a round is worth while. */
  onCommit(batch: ChangeBatch): boolean;
  /** Synchronous, so that all it reads is one snapshot. */
  decide(): Round;
  /**
   * All units of the round are committed; `wrote` is false when there were none. Returns whether that
   * made another round worth while.
   */
  committed?(wrote: boolean): boolean;
  /**
   * Units of the round were perhaps not written (none, or those after the first of them): whatever
   * `decide` took off its lists goes back on them.
   */
  failed(code: ErrorCode | undefined): void;
}

/** Of one transaction: below the writer's limit by what an estimate may be wrong. */
const MAX_WRITE_BYTES = 900 * 1024;
const MAX_WRITE_ACTIONS = 1000;
/** Rounds keep apart by this much, so that changes which come together are handled together. */
const DEBOUNCE_MS = 3;
const MAX_DEBOUNCE_MS = 250;
const CONFLICTS: readonly ErrorCode[] = [
  'out-of-sequence',
  'not-found',
  'already-exists',
  'failed-precondition',
];

/**
 * Runs `body` until `signal` aborts, then resolves. The first change after a quiet time is handled
 * at once, later ones in rounds: between two of them passes at least twice the time that deciding
 * took, so a component keeps at most a third of a core busy however fast changes come in.
 *
 * A write that lost against another one (the store moved on) is decided again from fresh state at
 * once, then with growing pauses and smaller transactions. Every other error is waited out, with
 * back-off: the loop has no way to know better, and its end is the signal's business.
 */
export async function runLeaderLoop(
  deps: LeaderDeps,
  body: LoopBody,
  signal: AbortSignal,
): Promise<void> {
  const { store, clock } = deps;
  const log = deps.log.with({ loop: body.name });
  const bell = new Bell(clock);
  const backoff = new Backoff(deps.random);
  const unsubscribe = store.onCommit((batch) => {
    if (body.onCommit(batch)) bell.ring();
  });
  try {
    body.start(() => bell.ring());
    bell.ring();
    while (!signal.aborted) {
      await bell.heard(signal);
      let pauseMs = DEBOUNCE_MS;
      const startMs = clock.monotonicMs();
      try {
        const round = body.decide();
        const tookMs = clock.monotonicMs() - startMs;
        pauseMs = Math.min(MAX_DEBOUNCE_MS, Math.max(DEBOUNCE_MS, 2 * tookMs));
        for (const actions of cutUnits(round.units, { maxActions: backoff.maxActions })) {
          await deps.writer.write(actions, signal);
        }
        if (body.committed?.(round.units.length > 0)) bell.ring();
        backoff.reset();
        if (round.wakeInMs !== undefined) bell.ringIn(round.wakeInMs);
      } catch (error) {
        const code = isShoalError(error) ? error.code : undefined;
        body.failed(code);
        if (signal.aborted) break;
        pauseMs = backoff.next(code);
        const fields = { code, error: messageOf(error), pauseMs };
        if (code === undefined) log.error('a round failed', { ...fields, stack: stackOf(error) });
        else if (backoff.failures > 3) log.warn('a round could not be written', fields);
        else log.debug('a round could not be written', fields);
        bell.ring();
      }
      await sleep(clock, pauseMs, signal);
    }
  } catch (error) {
    if (!signal.aborted) throw error; // only waiting is outside of the inner try
  } finally {
    unsubscribe();
    bell.close();
  }
}

/**
 * Cuts units into transactions, in order. Tasks of one service and version differ by a few hundred
 * bytes only, so one of them is encoded and its size taken for all.
 */
export function cutUnits(
  units: readonly Unit[],
  limits: { maxBytes?: number; maxActions?: number } = {},
): StoreAction[][] {
  const { maxBytes = MAX_WRITE_BYTES, maxActions = MAX_WRITE_ACTIONS } = limits;
  const sizes = new Map<string, number>();
  const writes: StoreAction[][] = [];
  let current: StoreAction[] = [];
  let bytes = 0;
  for (const unit of units) {
    let unitBytes = 0;
    for (const action of unit) unitBytes += sizeOf(action, sizes);
    const full = current.length + unit.length > maxActions || bytes + unitBytes > maxBytes;
    if (current.length > 0 && full) {
      writes.push(current);
      current = [];
      bytes = 0;
    }
    for (const action of unit) current.push(action);
    bytes += unitBytes;
  }
  if (current.length > 0) writes.push(current);
  return writes;
}

const TASK_VARIANCE_BYTES = 512;

function sizeOf(action: StoreAction, sizes: Map<string, number>): number {
  const key = sizeKey(action);
  if (key === undefined) return sizeOfAction(action);
  const known = sizes.get(key);
  if (known !== undefined) return known;
  const size = sizeOfAction(action) + TASK_VARIANCE_BYTES;
  sizes.set(key, size);
  return size;
}

function sizeKey({ action }: StoreAction): string | undefined {
  if (action?.$case !== 'create' && action?.$case !== 'update') return undefined;
  const { kind } = action.value;
  if (kind?.$case !== 'task') return undefined;
  return `${kind.value.serviceId}/${kind.value.specVersion}`;
}

function stackOf(error: unknown): string | undefined {
  return error instanceof Error ? error.stack : undefined;
}

/** How long to wait after failures in a row, and how small to make the next writes. */
class Backoff {
  failures = 0;
  maxActions = MAX_WRITE_ACTIONS;
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  reset(): void {
    this.failures = 0;
    this.maxActions = MAX_WRITE_ACTIONS;
  }

  next(code: ErrorCode | undefined): number {
    this.failures += 1;
    const conflict = code !== undefined && CONFLICTS.includes(code);
    // Smaller transactions meet fewer other writers, and one object that is too large stands alone.
    if ((conflict && this.failures > 1) || code === 'resource-exhausted') {
      this.maxActions = Math.max(1, Math.floor(Math.min(this.maxActions, 1024) / 4));
    }
    const [firstMs, lastMs] = conflict ? [2, 250] : code === undefined ? [500, 30_000] : [20, 2000];
    return backoffMs(this.failures, { firstMs, lastMs }, this.#random);
  }
}

/** Rings are counted as one until they are heard. */
class Bell {
  readonly #clock: Clock;
  #rung = false;
  #wake: (() => void) | undefined;
  #timer: ReturnType<Clock['after']> | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  ring(): void {
    this.#rung = true;
    this.#wake?.();
  }

  /** Replaces the ring that was planned before. */
  ringIn(delayMs: number): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (delayMs <= 0) this.ring();
    else this.#timer = this.#clock.after(delayMs, () => this.ring());
  }

  /** Rejects with the signal's reason when it aborts first. */
  heard(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = () => {
        signal.removeEventListener('abort', onAbort);
        this.#wake = undefined;
        this.#rung = false;
        this.#timer?.cancel();
        this.#timer = undefined;
        resolve();
      };
      const onAbort = () => {
        this.#wake = undefined;
        reject(signal.reason);
      };
      if (signal.aborted) return onAbort();
      if (this.#rung) return done();
      this.#wake = done;
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  close(): void {
    this.#timer?.cancel();
  }
}
