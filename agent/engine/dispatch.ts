import { type Call, type Handler, HttpError, notSupported, type Reply } from './http.ts';
import { type Route, Router } from './router.ts';
import { API_VERSION, ENGINE_VERSION, splitVersion } from './version.ts';

/** Answers one request; throws what `errorAnswer` words. */
export type Dispatch = (request: Omit<Call, 'params' | 'api'>) => Promise<Reply>;

/** Docker's calls that are not here yet: each is named, so that nobody takes the answer for a broken daemon. */
const NOT_YET: readonly string[] = [
  'POST /build',
  'POST /build/prune',
  'POST /commit',
  'POST /containers/create',
  'POST /containers/prune',
  'POST /containers/{id}/start',
  'POST /containers/{id}/restart',
  'POST /containers/{id}/pause',
  'POST /containers/{id}/unpause',
  'POST /containers/{id}/rename',
  'POST /containers/{id}/update',
  'POST /containers/{id}/attach',
  'GET /containers/{id}/attach/ws',
  'POST /containers/{id}/resize',
  'POST /containers/{id}/wait',
  'GET /containers/{id}/changes',
  'GET /containers/{id}/export',
  'GET /containers/{id}/archive',
  'HEAD /containers/{id}/archive',
  'PUT /containers/{id}/archive',
  'GET /containers/{id}/checkpoints',
  'POST /containers/{id}/checkpoints',
  'POST /images/{name*}/push',
  'GET /images/search',
  'POST /networks/prune',
  'POST /networks/{id}/connect',
  'POST /networks/{id}/disconnect',
  'PUT /volumes/{name}',
  'POST /volumes/prune',
  'POST /swarm/unlock',
  'POST /session',
  'POST /grpc',
  'GET /plugins/{name*}',
  'POST /plugins/{name*}',
  'DELETE /plugins/{name*}',
];

/** The whole API: the routes that are served, then those that are known and not served. */
export function engineDispatch(routes: readonly Route[]): Dispatch {
  const served = new Router(routes);
  const known = new Router(NOT_YET.map((pattern): Route => [pattern, refuse(pattern)]));
  return async (request) => {
    const { api, path } = splitVersion(request.path);
    const match = served.find(request.method, path) ?? known.find(request.method, path);
    if (match === undefined) throw new HttpError(404, 'page not found');
    return match.handler({ ...request, path, api, params: match.params });
  };
}

/** Headers of every answer. */
export function commonHeaders(): Readonly<Record<string, string>> {
  return {
    'Api-Version': API_VERSION,
    Ostype: 'linux',
    Server: `Docker/${ENGINE_VERSION} (linux)`,
    'Docker-Experimental': 'false',
  };
}

function refuse(pattern: string): Handler {
  return () => {
    throw notSupported(pattern.replaceAll('*', ''));
  };
}
