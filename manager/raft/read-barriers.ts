import type { Clock, Timer } from '../../shared/clock.ts';
import { messageOf, ShoalError } from '../../shared/errors.ts';
import { NO_ROOM_WORDS } from './full-disk.ts';

/** Between two tries of a read that no leader answered. */
const RETRY_MS = 50;
const MAX_WAITING = 16_384;

export type ReadPorts = Readonly<{
  clock: Clock;
  timeoutMs: number;
  /** Asks the core for a read; the answer names the same context. */
  ask: (context: number) => void;
  /** Whether this member's disk has room; without, it takes no part, and no leader is to be heard. */
  hasRoom?: () => boolean;
}>;

type Waiter = {
  settle: (outcome: number | Error) => void;
  /** Undefined once it is settled. */
  group: Group | undefined;
};
/** Reads that share one question to the leader. Nobody joins one that was already asked. */
type Group = { waiters: Set<Waiter>; index: number | undefined };

/**
 * Linearizable reads: those of one turn share a question; one that is dropped is asked again, under a
 * new context, as an old answer must never confirm a later read.
 */
export class ReadBarriers {
  readonly #ports: ReadPorts;
  readonly #asked = new Map<number, Group>();
  /** Answered, waiting until so much is applied. */
  #answered: Group[] = [];
  #open: Group | undefined;
  #retry: Group = { waiters: new Set(), index: undefined };
  #retryTimer: Timer | undefined;
  #nextContext = 1;
  #waiting = 0;
  constructor(ports: ReadPorts) {
    this.#ports = ports;
  }

  /** Resolves with an index that is applied and covers everything committed before the call. */
  wait(signal: AbortSignal | undefined): Promise<number> {
    if (this.#waiting >= MAX_WAITING) {
      return Promise.reject(
        new ShoalError('resource-exhausted', 'too many reads are waiting for the leader'),
      );
    }
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const { clock, timeoutMs } = this.#ports;
    const waiter: Waiter = {
      group: undefined,
      settle: (outcome) => {
        if (waiter.group === undefined) return;
        waiter.group.waiters.delete(waiter);
        waiter.group = undefined;
        this.#waiting--;
        timer.cancel();
        signal?.removeEventListener('abort', onAbort);
        if (typeof outcome === 'number') resolve(outcome);
        else reject(outcome);
      },
    };
    const timer = clock.after(timeoutMs, () =>
      waiter.settle(
        new ShoalError(
          'unavailable',
          this.#ports.hasRoom?.() === false
            ? NO_ROOM_WORDS
            : `no leader answered within ${timeoutMs} ms: a majority of the managers cannot be reached`,
        ),
      ),
    );
    const onAbort = () =>
      waiter.settle(
        new ShoalError('cancelled', messageOf(signal?.reason), { cause: signal?.reason }),
      );
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#waiting++;
    this.#join(waiter);
    return promise;
  }

  ready(context: number, index: number, appliedIndex: number): void {
    const group = this.#asked.get(context);
    if (group === undefined) return;
    this.#asked.delete(context);
    group.index = index;
    this.#answered.push(group);
    this.applied(appliedIndex);
  }

  dropped(context: number): void {
    const group = this.#asked.get(context);
    if (group === undefined) return;
    this.#asked.delete(context);
    for (const waiter of group.waiters) {
      waiter.group = this.#retry;
      this.#retry.waiters.add(waiter);
    }
    this.#retryTimer ??= this.#ports.clock.after(RETRY_MS, () => {
      this.#retryTimer = undefined;
      const again = this.#retry;
      this.#retry = { waiters: new Set(), index: undefined };
      if (again.waiters.size > 0) this.#ask(again);
    });
  }

  applied(index: number): void {
    if (this.#answered.length === 0) return;
    const due = this.#answered.filter((group) => (group.index ?? 0) <= index);
    if (due.length === 0) return;
    this.#answered = this.#answered.filter((group) => (group.index ?? 0) > index);
    for (const group of due) for (const waiter of [...group.waiters]) waiter.settle(index);
  }

  fail(error: Error): void {
    this.#retryTimer?.cancel();
    for (const group of this.#groups()) {
      for (const waiter of [...group.waiters]) waiter.settle(error);
    }
  }

  #join(waiter: Waiter): void {
    const joined = this.#open;
    const group: Group = joined ?? { waiters: new Set(), index: undefined };
    group.waiters.add(waiter);
    waiter.group = group;
    if (joined !== undefined) return;
    this.#open = group;
    this.#ask(group);
  }

  #ask(group: Group): void {
    const context = this.#nextContext++;
    this.#asked.set(context, group);
    this.#ports.ask(context);
  }

  /** What was asked until now has left: whoever comes from here on needs a question of their own. */
  sent(): void {
    this.#open = undefined;
  }

  #groups(): Group[] {
    return [...this.#asked.values(), ...this.#answered, this.#retry];
  }
}
