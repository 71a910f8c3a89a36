import type { EngineDeps } from '../deps.ts';
import type { Route } from '../router.ts';
import { autoscaleRoutes } from './autoscale.ts';
import { clusterRoutes } from './cluster.ts';
import { containerRoutes } from './containers.ts';
import { eventRoutes } from './events.ts';
import { execRoutes } from './exec.ts';
import { fileRoutes } from './files.ts';
import { imageRoutes } from './images.ts';
import { logRoutes } from './logs.ts';
import { networkRoutes } from './networks.ts';
import { nodeRoutes } from './nodes.ts';
import { pruneRoutes } from './prune.ts';
import { serviceRoutes } from './services.ts';
import { statsRoutes } from './stats.ts';
import { swarmRoutes } from './swarm.ts';
import { systemRoutes } from './system.ts';
import { taskRoutes } from './tasks.ts';
import { unsupportedRoutes } from './unsupported.ts';
import { volumeRoutes } from './volumes.ts';

/** The whole API. */
export function engineRoutes(deps: EngineDeps): Route[] {
  return [
    ...systemRoutes(deps),
    ...eventRoutes(deps),
    ...swarmRoutes(deps),
    ...clusterRoutes(deps),
    ...nodeRoutes(deps),
    ...serviceRoutes(deps),
    ...autoscaleRoutes(deps),
    ...taskRoutes(deps),
    ...fileRoutes(deps),
    ...networkRoutes(deps),
    ...logRoutes(deps),
    ...containerRoutes(deps),
    ...statsRoutes(deps),
    ...execRoutes(deps),
    ...pruneRoutes(deps),
    ...imageRoutes(deps),
    ...volumeRoutes(deps),
    ...unsupportedRoutes,
  ];
}
