import type { Healthcheck } from '../../shared/gen/shoal/v1/objects.ts';

/** One run of a health check; -1 is the exit code of one that did not run or took too long. */
export type ProbeRecord = Readonly<{
  startedAtMs: number;
  endedAtMs: number;
  exitCode: number;
  output: string;
}>;

/** The health of one container, as Docker shows it. */
export type HealthView = Readonly<{
  status: 'starting' | 'healthy' | 'unhealthy';
  /** Failures in a row that count. */
  failingStreak: number;
  /** The last ones, oldest first. */
  log: readonly ProbeRecord[];
  check: Healthcheck;
}>;

/** Docker's. */
const LOG_MAX_PROBES = 5;

/** What the health checks of this host's containers found; in memory only: a restart begins anew, as the checks do. */
export class HealthBook {
  readonly #views = new Map<string, HealthView>();
  readonly #changed: (containerId: string, status: HealthView['status']) => void;

  /** `changed`: a container became healthy or unhealthy. */
  constructor(
    changed: (containerId: string, status: HealthView['status']) => void = () => undefined,
  ) {
    this.#changed = changed;
  }

  /** Undefined: the container has no health check. */
  of(containerId: string): HealthView | undefined {
    return this.#views.get(containerId);
  }

  begin(containerId: string, check: Healthcheck): void {
    this.#views.set(containerId, { status: 'starting', failingStreak: 0, log: [], check });
  }

  note(
    containerId: string,
    probe: ProbeRecord,
    now: Pick<HealthView, 'status' | 'failingStreak'>,
  ): void {
    const known = this.#views.get(containerId);
    if (known === undefined) return;
    const log = [...known.log, probe].slice(-LOG_MAX_PROBES);
    this.#views.set(containerId, { ...known, ...now, log });
    if (now.status !== known.status) this.#changed(containerId, now.status);
  }

  /** The container is removed. */
  forget(containerId: string): void {
    this.#views.delete(containerId);
  }
}
