import type { NodeAvailability } from '../../../shared/gen/shoal/v1/objects.ts';
import { type Codec, flag, struct, text, texts, uint32 } from '../codec.ts';
import type { EngineDeps } from '../deps.ts';
import {
  type Call,
  empty,
  errorAnswer,
  HttpError,
  isTrue,
  json,
  notSupported,
  type Reply,
} from '../http.ts';
import { clusterSpec, swarmJson } from '../json/cluster.ts';
import { availability } from '../json/node.ts';
import { tlsInfo } from '../json/tls-info.ts';
import type { Route } from '../router.ts';
import type { InitRequest, JoinRequest } from '../types.ts';
import { versionOf } from './common.ts';

const DEFAULT_LISTEN_ADDRESS = '0.0.0.0:2377';

const any: Codec<unknown> = { decode: (json) => json ?? undefined, encode: (value) => value };

const initRequest = struct<InitRequest>({
  listenAddress: ['ListenAddr', text],
  advertiseAddress: ['AdvertiseAddr', text],
  dataPathAddress: ['DataPathAddr', text],
  dataPathPort: ['DataPathPort', uint32],
  defaultAddressPools: ['DefaultAddrPool', texts],
  subnetSize: ['SubnetSize', uint32],
  forceNewCluster: ['ForceNewCluster', flag],
  availability: ['Availability', availability as Codec<NodeAvailability>],
  spec: ['Spec', any],
  autoLock: ['AutoLockManagers', flag],
});

const joinRequest = struct<JoinRequest>({
  remoteAddresses: ['RemoteAddrs', texts],
  joinToken: ['JoinToken', text],
  listenAddress: ['ListenAddr', text],
  advertiseAddress: ['AdvertiseAddr', text],
  dataPathAddress: ['DataPathAddr', text],
  availability: ['Availability', availability],
});

export function swarmRoutes(deps: EngineDeps): Route[] {
  return [
    ['GET /swarm', (call) => inspect(deps, call)],
    ['POST /swarm/init', (call) => init(deps, call)],
    ['POST /swarm/join', (call) => join(deps, call)],
    ['POST /swarm/leave', (call) => leave(deps, call)],
    ['POST /swarm/update', (call) => update(deps, call)],
    ['GET /swarm/unlockkey', () => unlockKey(deps)],
    ['POST /swarm/unlock', () => unlock(deps)],
  ];
}

async function inspect(deps: EngineDeps, call: Call): Promise<Reply> {
  const info = await deps.access.control().getCluster(call.signal);
  return json(swarmJson(info, tlsInfo(info.cluster?.rootCa?.certificatePem ?? '')));
}

async function init(deps: EngineDeps, call: Call): Promise<Reply> {
  const request = initRequest.decode(await call.json(), '');
  // Judged here, before anything is made: a spec that cannot be served starts no cluster.
  clusterSpec.decode(request.spec, 'Spec');
  const nodeId = await asSwarm(() =>
    deps.membership.init(
      { ...request, listenAddress: request.listenAddress || DEFAULT_LISTEN_ADDRESS },
      call.signal,
    ),
  );
  return json(nodeId);
}

async function join(deps: EngineDeps, call: Call): Promise<Reply> {
  const request = joinRequest.decode(await call.json(), '');
  if (request.remoteAddresses.length === 0) {
    throw new HttpError(400, 'at least 1 RemoteAddr is required to join');
  }
  if (!/^SWMTKN-1-[0-9a-z]+-[0-9a-z]+$/.test(request.joinToken)) {
    throw new HttpError(400, 'invalid join token');
  }
  await asSwarm(() =>
    deps.membership.join(
      { ...request, listenAddress: request.listenAddress || DEFAULT_LISTEN_ADDRESS },
      call.signal,
    ),
  );
  return empty();
}

async function leave(deps: EngineDeps, call: Call): Promise<Reply> {
  // Goes on when the client leaves: half in and half out of a cluster helps nobody.
  const never = new AbortController().signal;
  await asSwarm(() => deps.membership.leave(isTrue(call.query.get('force')), never));
  return empty();
}

async function update(deps: EngineDeps, call: Call): Promise<Reply> {
  const spec = clusterSpec.decode(await call.json(), '');
  const version = versionOf(call, 'swarm');
  if (isTrue(call.query.get('rotateManagerUnlockKey'))) {
    throw notSupported('rotation of the managers’ unlock key (autolock)');
  }
  await deps.access.control().updateCluster(
    {
      version,
      spec,
      rotateWorkerToken: isTrue(call.query.get('rotateWorkerToken')),
      rotateManagerToken: isTrue(call.query.get('rotateManagerToken')),
    },
    call.signal,
  );
  return empty();
}

/** No manager locks itself yet: an empty key is how Docker says so. */
async function unlockKey(deps: EngineDeps): Promise<Reply> {
  deps.access.control();
  return json({ UnlockKey: '' });
}

function unlock(deps: EngineDeps): Reply {
  if (deps.membership.standing().localState === 'inactive') {
    throw new HttpError(503, 'This node is not part of a swarm');
  }
  throw new HttpError(409, 'swarm is not locked');
}

/** Membership's own words stand as they are; what its state forbids is 503 in this part of the API. */
async function asSwarm<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { status, message } = errorAnswer(error);
    throw new HttpError(status === 409 ? 503 : status, message, { cause: error });
  }
}
