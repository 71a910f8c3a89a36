import type { NodeAvailability } from '../../../shared/gen/shoal/v1/objects.ts';
import { formatUnlockKey } from '../../../shared/pki/unlock-key.ts';
import { type Codec, flag, struct, text, texts, uint32 } from '../codec.ts';
import type { EngineDeps } from '../deps.ts';
import { type Call, empty, errorAnswer, HttpError, isTrue, json, type Reply } from '../http.ts';
import { clusterSpec, givenRootOf, givenRootOfInit, swarmJson } from '../json/cluster.ts';
import { availability } from '../json/node.ts';
import type { Route } from '../router.ts';
import type { InitRequest, JoinRequest } from '../types.ts';
import { versionOf } from './common.ts';

const DEFAULT_LISTEN_ADDRESS = '0.0.0.0:2377';

const initRequest = struct<InitRequest>({
  listenAddress: ['ListenAddr', text],
  advertiseAddress: ['AdvertiseAddr', text],
  dataPathAddress: ['DataPathAddr', text],
  dataPathPort: ['DataPathPort', uint32],
  defaultAddressPools: ['DefaultAddrPool', texts],
  subnetSize: ['SubnetSize', uint32],
  forceNewCluster: ['ForceNewCluster', flag],
  availability: ['Availability', availability as Codec<NodeAvailability>],
  spec: ['Spec', clusterSpec],
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

const unlockRequest = struct<{ key: string }>({ key: ['UnlockKey', text] });

export function swarmRoutes(deps: EngineDeps): Route[] {
  return [
    ['GET /swarm', (call) => inspect(deps, call)],
    ['POST /swarm/init', (call) => init(deps, call)],
    ['POST /swarm/join', (call) => join(deps, call)],
    ['POST /swarm/leave', (call) => leave(deps, call)],
    ['POST /swarm/update', (call) => update(deps, call)],
    ['GET /swarm/unlockkey', (call) => unlockKey(deps, call)],
    ['POST /swarm/unlock', (call) => unlock(deps, call)],
  ];
}

async function inspect(deps: EngineDeps, call: Call): Promise<Reply> {
  const info = await deps.access.control().getCluster(call.signal);
  return json(swarmJson(info));
}

async function init(deps: EngineDeps, call: Call): Promise<Reply> {
  const body = await call.json();
  const request = initRequest.decode(body, '');
  if (givenRootOfInit(body).certificatePem !== '') {
    throw new HttpError(400, 'Spec.CAConfig.SigningCACert: change it later, by swarm ca --rotate');
  }
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
  const body = await call.json();
  const spec = clusterSpec.decode(body, '');
  const root = givenRootOf(body);
  const version = versionOf(call, 'swarm');
  await deps.access.control().updateCluster(
    {
      version,
      spec,
      rotateWorkerToken: isTrue(call.query.get('rotateWorkerToken')),
      rotateManagerToken: isTrue(call.query.get('rotateManagerToken')),
      rotateUnlockKey: isTrue(call.query.get('rotateManagerUnlockKey')),
      rootCertificatePem: root.certificatePem,
      rootKeyPem: root.keyPem,
    },
    call.signal,
  );
  return empty();
}

/** An empty key is how Docker says that managers do not lock themselves. */
async function unlockKey(deps: EngineDeps, call: Call): Promise<Reply> {
  const key = await deps.access.control().unlockKey(call.signal);
  return json({ UnlockKey: key.length === 0 ? '' : formatUnlockKey(key) });
}

async function unlock(deps: EngineDeps, call: Call): Promise<Reply> {
  const { key } = unlockRequest.decode(await call.json(), '');
  const { localState } = deps.membership.standing();
  if (localState === 'inactive') throw new HttpError(503, 'This node is not part of a swarm');
  if (localState !== 'locked') throw new HttpError(409, 'swarm is not locked');
  // Goes on when the client leaves: unlocked by half is not to be had.
  await asSwarm(() => deps.membership.unlock(key, new AbortController().signal));
  return empty();
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
