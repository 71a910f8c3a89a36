import { BACKUP_CONTENT_TYPE, backupFrame, backupFrames } from '../../../shared/backup.ts';
import type { EngineDeps } from '../deps.ts';
import { type Call, errorAnswer, HttpError, json, type Reply } from '../http.ts';
import type { Route } from '../router.ts';

/** What Docker has no word for: the state of the whole cluster, out and in. */
export function clusterRoutes(deps: EngineDeps): Route[] {
  return [
    ['GET /cluster/backup', (call) => backup(deps, call)],
    ['POST /cluster/restore', (call) => restore(deps, call)],
  ];
}

async function backup(deps: EngineDeps, call: Call): Promise<Reply> {
  deps.access.control(); // refuses where this host is no manager
  const messages = deps.membership.backup(call.signal)[Symbol.asyncIterator]();
  // Taken before the headers leave: what goes wrong at once is an error that can be read.
  const first = await messages.next().catch(asCluster);
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for (let next = first; !next.done; next = await messages.next()) yield backupFrame(next.value);
  }
  return { kind: 'stream', status: 200, contentType: BACKUP_CONTENT_TYPE, chunks: chunks() };
}

async function restore(deps: EngineDeps, call: Call): Promise<Reply> {
  const { query, signal } = call;
  const nodeId = await deps.membership
    .restore(
      {
        listenAddress: query.get('listenAddr') ?? '',
        advertiseAddress: query.get('advertiseAddr') ?? '',
        dataPathAddress: query.get('dataPathAddr') ?? '',
        messages: backupFrames(call.body()),
      },
      signal,
    )
    .catch(asCluster);
  return json({ NodeID: nodeId });
}

function asCluster(error: unknown): never {
  const { status, message } = errorAnswer(error);
  throw new HttpError(status === 409 ? 503 : status, message, { cause: error });
}
