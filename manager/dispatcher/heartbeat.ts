import type { ReadView } from '../store/types.ts';

/** Swarm's is 5 s. Sessions cost a manager little here, so silence can be noticed sooner. */
const DEFAULT_HEARTBEAT_MS = 1_000;
/** A node is down after this many periods without a word. */
export const MISSED_HEARTBEATS = 3;
/** A beat costs a manager 50 to 100 µs: this many a second are a tenth of a core at most. */
const BEATS_PER_SECOND = 1_000;
const STEP_MS = 500;

/**
 * Period of the heartbeats of this cluster: as configured, but no shorter than what keeps each manager
 * below a fixed rate. All managers compute the same from the same state, in coarse steps so that a node
 * more or less changes nothing.
 */
export function heartbeatPeriodMs(view: ReadView, managers: number): number {
  const configured = (view.cluster()?.spec?.dispatcherHeartbeatNs ?? 0) / 1e6;
  const base = configured > 0 ? configured : DEFAULT_HEARTBEAT_MS;
  const perSecond = BEATS_PER_SECOND * Math.max(1, managers);
  const needed = (view.count('node') / perSecond) * 1_000;
  return needed <= base ? base : Math.ceil(needed / STEP_MS) * STEP_MS;
}
