import type { Clock, Timer } from '../../shared/clock.ts';
import type { RaftId } from './types.ts';

/** After the second failure in a row, doubled by each further one, milliseconds. */
const FIRST_PAUSE_MS = 1_000;
const MOST_PAUSE_MS = 5_000;

export type SnapshotPacePorts = Readonly<{
  clock: Clock;
  report: (to: RaftId, ok: boolean) => void;
}>;

/**
 * Tells the core how sending a snapshot ended. It begins another one with the next heartbeat: a member that cannot
 * keep it, for want of room on its disk say, would be sent the whole state ten times a second. So only the first
 * failure is told at once, the others after a pause.
 */
export class SnapshotPace {
  readonly #ports: SnapshotPacePorts;
  readonly #failures = new Map<RaftId, number>();
  readonly #pauses = new Map<RaftId, Timer>();

  constructor(ports: SnapshotPacePorts) {
    this.#ports = ports;
  }

  /** Another one is on its way: what became of the last one is of no interest any more. */
  begun(to: RaftId): void {
    this.#pauses.get(to)?.cancel();
    this.#pauses.delete(to);
  }

  ended(to: RaftId, ok: boolean): void {
    const { clock, report } = this.#ports;
    this.begun(to);
    if (ok) {
      this.#failures.delete(to);
      report(to, true);
      return;
    }
    const before = this.#failures.get(to) ?? 0;
    this.#failures.set(to, before + 1);
    if (before === 0) {
      report(to, false);
      return;
    }
    const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** (before - 1), MOST_PAUSE_MS);
    const pause = clock.after(pauseMs, () => {
      this.#pauses.delete(to);
      report(to, false);
    });
    this.#pauses.set(to, pause);
  }

  /** Nobody is sent any: this member does not lead any more, or ends. */
  stop(): void {
    for (const pause of this.#pauses.values()) pause.cancel();
    this.#pauses.clear();
    this.#failures.clear();
  }
}
