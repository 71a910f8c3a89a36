import { doubledMs } from '../../shared/backoff.ts';
import type { Clock, Timer } from '../../shared/clock.ts';
import type { RaftId } from './types.ts';

/** From the second failure in a row on. */
const PAUSES = { firstMs: 1_000, lastMs: 5_000 };

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
    const pause = clock.after(doubledMs(before, PAUSES), () => {
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
