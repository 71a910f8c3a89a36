import type { Recommendation } from '../../shared/gen/shoal/v1/autoscale.ts';

export type Stabilized = Readonly<{
  replicas: number;
  /** What kept the count from going where the proposal points; undefined: nothing did. */
  by: Recommendation | undefined;
}>;

/**
 * HPA's stabilization: the count rises to the least that was recommended in the window upwards and
 * falls to the most that was recommended in the window downwards, the present proposal among
 * them. A recommendation counts while it is younger than the window.
 */
export function stabilize(
  replicas: number,
  proposal: number,
  recommendations: readonly Recommendation[],
  windows: Readonly<{ upMs: number; downMs: number }>,
  nowMs: number,
): Stabilized {
  let least: Recommendation = { atMs: nowMs, replicas: proposal };
  let most = least;
  for (const recommendation of recommendations) {
    const ageMs = nowMs - recommendation.atMs;
    // Of equals the younger one holds longer, so it is the one to tell about.
    if (ageMs < windows.upMs && recommendation.replicas < least.replicas) least = recommendation;
    if (ageMs < windows.downMs && later(recommendation, most)) most = recommendation;
  }
  if (replicas < least.replicas) return { replicas: least.replicas, by: asHolder(least, proposal) };
  if (replicas > most.replicas) return { replicas: most.replicas, by: asHolder(most, proposal) };
  if (proposal > replicas) return { replicas, by: least };
  if (proposal < replicas) return { replicas, by: most };
  return { replicas, by: undefined };
}

function later(a: Recommendation, b: Recommendation): boolean {
  return a.replicas > b.replicas || (a.replicas === b.replicas && a.atMs > b.atMs);
}

function asHolder(found: Recommendation, proposal: number): Recommendation | undefined {
  return found.replicas === proposal ? undefined : found;
}
