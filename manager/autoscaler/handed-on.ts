import type { ScaleMemory } from '../../shared/gen/shoal/v1/autoscale.ts';

// Recommendations are made each second and written with a decision only, so the next leader does not know the last ones.
// What is written vouches for a ceiling instead: whoever leads writes again before it recommends more than that. So a
// window that runs while leaders come and go ends all the same, and a load that stays costs no writes.

/** What was not recommended for so long, milliseconds, is not soon again; the least between two writes that lower a ceiling. */
const STEADY_MS = 30_000;

/** The memory as it is stored beside a service of so many replicas. */
export function handedOn(memory: ScaleMemory, replicas: number, nowMs: number): ScaleMemory {
  const ceiling = ceilingOf(memory, nowMs);
  return ceiling !== undefined && ceiling < replicas ? { ...memory, ceiling } : memory;
}

/**
 * What is to be written of a memory though nothing was decided: `now` where more is recommended than the stored one
 * vouches for, `soon` where it could vouch for less. `atMs` is when that was written, 0 for never.
 */
export function worthHandingOn(
  stored: Readonly<{ memory: ScaleMemory | undefined; atMs: number }>,
  memory: ScaleMemory,
  replicas: number,
  nowMs: number,
): 'now' | 'soon' | undefined {
  const ceiling = ceilingOf(memory, nowMs);
  if (ceiling === undefined) return undefined;
  const known = stored.memory?.ceiling;
  if (known !== undefined && ceiling > known) return 'now';
  const sinceMs = nowMs - stored.atMs;
  const isSteady = sinceMs >= STEADY_MS || sinceMs < 0; // the clock stepped back
  return isSteady && ceiling < Math.min(replicas, known ?? replicas) ? 'soon' : undefined;
}

/** The most that was recommended lately; undefined: nothing was. */
function ceilingOf({ recommendations }: ScaleMemory, nowMs: number): number | undefined {
  let most: number | undefined;
  for (const { atMs, replicas } of recommendations) {
    if (nowMs - atMs < STEADY_MS) most = Math.max(most ?? 0, replicas);
  }
  return most;
}
