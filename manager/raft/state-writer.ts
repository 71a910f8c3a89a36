import type { Clock, Timer } from '../../shared/clock.ts';
import { messageOf } from '../../shared/errors.ts';
import type { StateMachine } from './consensus.ts';
import type { ToNode } from './protocol.ts';

/** Of this thread's time, for a state that is written out while others want to write. */
const SHARE = 0.125;
/** A thread that has to wait for a core seems to have worked all the time. */
const LONGEST_PAUSE_MS = 50;

export type StateWriterPorts = Readonly<{
  stateMachine: StateMachine;
  clock: Clock;
  send: (message: ToNode) => void;
  /** The state machine threw. */
  fatal: (error: Error) => void;
}>;

/**
 * Writes out the state for a snapshot beside the daily work: a chunk, then time for all else. All
 * members come to it at the same entry, so that each that hurries holds up the same writes.
 */
export class StateWriter {
  readonly #ports: StateWriterPorts;
  #pause: Timer | undefined;

  constructor(ports: StateWriterPorts) {
    this.#ports = ports;
  }

  /** The state as it is now, which is that of `index`. */
  begin(index: number): void {
    this.stop();
    const chunks = this.#ports.stateMachine.snapshot()[Symbol.iterator]();
    this.#ports.send({ kind: 'snapshot-begin', index });
    this.#next(chunks);
  }

  stop(): void {
    this.#pause?.cancel();
    this.#pause = undefined;
  }

  #next(chunks: Iterator<Uint8Array>): void {
    const { clock, send, fatal } = this.#ports;
    const startMs = clock.monotonicMs();
    try {
      const { done, value } = chunks.next();
      if (done === true) {
        send({ kind: 'snapshot-end', ok: true });
        return;
      }
      // In memory of its own: it is handed over, and may be a view into something larger.
      send({ kind: 'snapshot-chunk', chunk: new Uint8Array(value) });
    } catch (error) {
      send({ kind: 'snapshot-end', ok: false });
      fatal(error instanceof Error ? error : new Error(messageOf(error)));
      return;
    }
    const workedMs = clock.monotonicMs() - startMs;
    const pauseMs = Math.min(LONGEST_PAUSE_MS, workedMs * (1 / SHARE - 1));
    this.#pause = clock.after(pauseMs, () => this.#next(chunks));
  }
}
