import type { EngineDeps } from '../deps.ts';
import type { Route } from '../router.ts';
import { containerRoutes } from './containers.ts';
import { eventRoutes } from './events.ts';
import { execRoutes } from './exec.ts';
import { fileRoutes } from './files.ts';
import { imageRoutes } from './images.ts';
import { logRoutes } from './logs.ts';
import { networkRoutes } from './networks.ts';
import { nodeRoutes } from './nodes.ts';
import { serviceRoutes } from './services.ts';
import { statsRoutes } from './stats.ts';
import { swarmRoutes } from './swarm.ts';
import { systemRoutes } from './system.ts';
import { taskRoutes } from './tasks.ts';
import { volumeRoutes } from './volumes.ts';

/** Every route that this daemon serves. Of two that match the first is taken: longer ones come first within a file. */
export function engineRoutes(deps: EngineDeps): Route[] {
  return [
    systemRoutes,
    eventRoutes,
    swarmRoutes,
    nodeRoutes,
    logRoutes,
    serviceRoutes,
    taskRoutes,
    networkRoutes,
    fileRoutes,
    volumeRoutes,
    statsRoutes,
    execRoutes,
    containerRoutes,
    imageRoutes,
  ].flatMap((routes) => routes(deps));
}
