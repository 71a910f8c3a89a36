import type { Service, Task } from '../../shared/gen/shoal/v1/objects.ts';
import { nsToMs } from '../../shared/model/units.ts';

export type RestartPolicy = Readonly<{
  condition: 'none' | 'on-failure' | 'any';
  /** Undefined: not given, then the pause grows with failures in a row. */
  delayMs: number | undefined;
  /** 0: no limit. */
  maxAttempts: number;
  /** Only restarts this short before a failure count as attempts; 0: all do. */
  windowMs: number;
}>;

export function restartPolicyOf(task: Task): RestartPolicy {
  const restart = task.spec?.restart;
  const condition = restart?.condition;
  return {
    condition: condition === 'none' || condition === 'on-failure' ? condition : 'any',
    delayMs: restart?.delayNs === undefined ? undefined : nsToMs(restart.delayNs),
    maxAttempts: restart?.maxAttempts ?? 0,
    windowMs: nsToMs(restart?.windowNs ?? 0),
  };
}

export type UpdatePolicy = Readonly<{
  /** 0: all at once. */
  parallelism: number;
  delayMs: number;
  failureAction: 'pause' | 'continue' | 'rollback';
  /** How long a new task is watched after it came up. */
  monitorMs: number;
  /** 0 to 1: failed slots over slots to update. */
  maxFailureRatio: number;
  order: 'stop-first' | 'start-first';
}>;

const DEFAULT_MONITOR_MS = 5000; // Swarm's
/** How long an image's tasks may take to stop when their service does not say: Docker's. */
const DEFAULT_STOP_GRACE_MS = 10_000;

/** A rollback that fails pauses: it is never rolled back itself. */
export function updatePolicyOf(service: Service, rollback: boolean): UpdatePolicy {
  const config = rollback ? service.spec?.rollback : service.spec?.update;
  const action = config?.failureAction;
  const mayRollBack = action === 'rollback' && !rollback;
  return {
    parallelism: config === undefined ? 1 : config.parallelism,
    delayMs: nsToMs(config?.delayNs ?? 0),
    failureAction: action === 'continue' ? action : mayRollBack ? 'rollback' : 'pause',
    monitorMs: config?.monitorNs ? nsToMs(config.monitorNs) : DEFAULT_MONITOR_MS,
    maxFailureRatio: config?.maxFailureRatio ?? 0,
    order: config?.order === 'start-first' ? 'start-first' : 'stop-first',
  };
}

export function stopGraceMs(task: Task): number {
  const graceNs = task.spec?.container?.stopGracePeriodNs;
  return graceNs === undefined ? DEFAULT_STOP_GRACE_MS : nsToMs(graceNs);
}
