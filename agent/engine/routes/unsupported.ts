import { HttpError, json, notSupported } from '../http.ts';
import type { Route } from '../router.ts';

/** Docker's API that is not served yet: each answers 501 with a name for what is missing. */
const UNSUPPORTED: readonly (readonly [pattern: string, what: string])[] = [
  ['POST /containers/create', 'standalone containers (docker run, docker create); use a service'],
  ['POST /containers/{id}/start', 'starting standalone containers (docker start)'],
  ['POST /containers/{id}/restart', 'restarting containers (docker restart)'],
  ['POST /containers/{id}/pause', 'pausing containers (docker pause)'],
  ['POST /containers/{id}/unpause', 'pausing containers (docker unpause)'],
  ['POST /containers/{id}/rename', 'renaming containers (docker rename)'],
  ['POST /containers/{id}/update', 'changing limits of a container (docker update)'],
  ['POST /containers/{id}/resize', 'resizing the terminal of a container (docker attach)'],
  ['POST /containers/{id}/attach', 'attaching to containers (docker attach); use docker exec'],
  ['GET /containers/{id}/attach/ws', 'attaching to containers by WebSocket'],
  ['GET /containers/{id}/changes', 'changes of a file system (docker diff)'],
  ['GET /containers/{id}/export', 'exporting containers (docker export)'],
  ['HEAD /containers/{id}/archive', 'copying files (docker cp)'],
  ['GET /containers/{id}/archive', 'copying files (docker cp)'],
  ['PUT /containers/{id}/archive', 'copying files (docker cp)'],
  ['GET /containers/{id}/checkpoints', 'checkpoints (docker checkpoint)'],
  ['POST /containers/{id}/checkpoints', 'checkpoints (docker checkpoint)'],
  ['DELETE /containers/{id}/checkpoints/{name}', 'checkpoints (docker checkpoint)'],
  ['POST /commit', 'making images of containers (docker commit)'],
  ['POST /build', 'building images (docker build)'],
  ['POST /build/cancel', 'building images (docker build)'],
  ['POST /session', 'BuildKit sessions (docker buildx)'],
  ['POST /grpc', 'BuildKit (docker buildx)'],
  ['PUT /volumes/{name}', 'cluster volumes (docker volume update)'],
  ['POST /networks/{id}/connect', 'connecting containers (docker network connect)'],
  ['POST /networks/{id}/disconnect', 'disconnecting containers (docker network disconnect)'],
  ['GET /plugins/privileges', 'plugins (docker plugin)'],
  ['POST /plugins/pull', 'plugins (docker plugin)'],
  ['POST /plugins/create', 'plugins (docker plugin)'],
  ['DELETE /plugins/{name*}', 'plugins (docker plugin)'],
  ['POST /plugins/{name*}/{verb}', 'plugins (docker plugin)'],
];

export const unsupportedRoutes: readonly Route[] = [
  ['GET /plugins', () => json([])],
  [
    // 404 and not 501: `docker inspect` asks here on its way to secrets and configs.
    'GET /plugins/{name*}/json',
    ({ params }) => {
      throw new HttpError(404, `plugin "${params.name}" not found`);
    },
  ],
  ...UNSUPPORTED.map(
    ([pattern, what]): Route => [
      pattern,
      () => {
        throw notSupported(what);
      },
    ],
  ),
];
