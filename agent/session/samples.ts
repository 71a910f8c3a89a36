import type { Knock, TaskSamples } from '../../shared/gen/shoal/v1/autoscale.ts';

/**
 * What is to be sent in place of two messages of which neither has left: samples of the later one, as they grow stale,
 * and the tries of both.
 */
export function newest(earlier: TaskSamples | undefined, later: TaskSamples): TaskSamples {
  if (earlier === undefined) return later;
  const knocks = new Map<string, Knock>();
  for (const knock of [...earlier.knocks, ...later.knocks]) {
    const connections = (knocks.get(knock.serviceId)?.connections ?? 0) + knock.connections;
    knocks.set(knock.serviceId, { ...knock, connections });
  }
  const samples = later.samples.length > 0 ? later.samples : earlier.samples;
  return { samples, knocks: [...knocks.values()] };
}
