import { aborted } from '../../shared/abort.ts';
import type { Clock } from '../../shared/clock.ts';
import type { Task } from '../../shared/gen/shoal/v1/objects.ts';
import type { Log } from '../../shared/log.ts';
import { drainDelayMs } from '../../shared/model/drain-delay.ts';
import { within } from './within.ts';

/** The managers end every drain within 2 s; an agent that they cannot tell goes on by itself a little later. */
const DRAIN_MOST_MS = 2_500;

/** Whether some host may still send a task new connections: its stop waits for that to end. */
export class Drain {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #unlisted = new AbortController();
  #isDraining = false;
  #drained: () => void = () => undefined;

  constructor(deps: Readonly<{ clock: Clock; log: Log }>) {
    this.#clock = deps.clock;
    this.#log = deps.log;
  }

  /** What the managers say now. */
  set(isDraining: boolean): void {
    this.#isDraining = isDraining;
    if (!isDraining) this.#drained();
  }

  /** The managers list the task no more: nothing is waited for. */
  giveUp(): void {
    this.set(false);
    this.#unlisted.abort();
  }

  /**
   * Until no host sends new connections, or for too long; then for as long as the service wants its flows to go on.
   * True when the process ended meanwhile, which `exit` tells.
   */
  async endsBy(exit: Promise<unknown>, task: Task): Promise<boolean> {
    if (!this.#isDraining) return false;
    const drained = new Promise<'drained'>((resolve) => {
      this.#drained = () => resolve('drained');
    });
    const end = Promise.race([exit.then(() => 'exit' as const), drained]);
    const isInTime = await within(this.#clock, DRAIN_MOST_MS, end);
    if (!isInTime) this.#log.warn('a task stops before the managers let it', { task: task.id });
    if (isInTime && (await end) === 'exit') return true;
    const delayMs = drainDelayMs(task.serviceLabels) ?? 0;
    if (delayMs === 0) return false;
    const early = Promise.race([exit, aborted(this.#unlisted.signal)]);
    return (await within(this.#clock, delayMs, early)) && !this.#unlisted.signal.aborted;
  }
}
