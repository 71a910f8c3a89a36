import { ShoalError } from '../../shared/errors.ts';
import type { ClusterInfo, UpdateClusterRequest } from '../../shared/gen/shoal/v1/control.ts';
import {
  type Cluster,
  type ClusterSpec,
  NodeRole,
  RootCa,
} from '../../shared/gen/shoal/v1/objects.ts';
import {
  checkClusterSpec,
  completeClusterSpec,
  DEFAULT_CLUSTER_SPEC,
} from '../../shared/model/cluster-spec.ts';
import { formatJoinToken, newJoinSecret } from '../../shared/pki/join-token.ts';
import { UNLOCK_KEY_BYTES } from '../../shared/pki/unlock-key.ts';
import type { Random } from '../../shared/random.ts';
import { beginRotation, type SigningRoot, signingRoot } from '../ca/trust.ts';
import { updateAction } from '../store/tables.ts';
import type { ReadView } from '../store/types.ts';
import type { ControlDeps, RootMaker } from './deps.ts';
import { redactCluster } from './redact.ts';
import { invalid, outOfSequence } from './refuse.ts';

/** The cluster without its secrets, and the tokens: for administrators only. */
export function clusterInfo({ store, consensus, rootDigest }: ControlDeps): ClusterInfo {
  const cluster = requireCluster(store);
  const { certificatePem, workerSecret, managerSecret } = rootOf(cluster);
  const digest = rootDigest(certificatePem);
  const { members, leaderRaftId } = consensus.status();
  const leader = members.find(({ member }) => member.raftId === leaderRaftId);
  let managers = 0;
  for (const { spec } of store.all('node')) if (spec?.role === NodeRole.MANAGER) managers += 1;
  return {
    cluster: redactCluster(cluster),
    workerToken: formatJoinToken({ rootDigest: digest, secret: workerSecret }),
    managerToken: formatJoinToken({ rootDigest: digest, secret: managerSecret }),
    nodes: store.count('node'),
    managers,
    leaderId: leader?.member.nodeId ?? '',
    rootDigest: digest,
    signingRootDigest: rootDigest(signingRoot(rootOf(cluster)).certificatePem),
  };
}

/** Without a spec only the tokens asked for are rotated. Nodes that joined before stay. */
export async function updateCluster(
  { store, writer, random, clock, roots }: ControlDeps,
  request: UpdateClusterRequest,
  signal?: AbortSignal,
): Promise<void> {
  const stored = requireCluster(store);
  if (stored.meta?.version !== request.version) throw outOfSequence();
  const before = stored.spec ?? DEFAULT_CLUSTER_SPEC;
  const spec = request.spec === undefined ? before : completeClusterSpec(request.spec, before);
  checkClusterSpec(spec, before);
  const next = nextRoot(roots, request, spec.forceRotate !== before.forceRotate, clock.now());
  const rootCa = withRotation(withNewSecrets(rootOf(stored), request, random), next, (root) =>
    roots.crossSign(root.certificatePem, rootOf(stored), clock.now()),
  );
  const unlockKey = unlockKeyOf(spec, stored.unlockKey, request.rotateUnlockKey, random);
  await writer.write([updateAction('cluster', { ...stored, spec, rootCa, unlockKey })], signal);
}

/** Managers that lock themselves have one key in common, and those that do not have none. */
export function unlockKeyOf(
  spec: ClusterSpec,
  before: Uint8Array,
  rotate: boolean,
  random: Random,
): Buffer {
  if (!spec.autolockManagers) return Buffer.alloc(0);
  const keeps = before.length > 0 && !rotate;
  return Buffer.from(keeps ? before : random.bytes(UNLOCK_KEY_BYTES));
}

function withNewSecrets(root: RootCa, request: UpdateClusterRequest, random: Random): RootCa {
  return {
    ...root,
    ...(request.rotateWorkerToken && { workerSecret: newJoinSecret(random) }),
    ...(request.rotateManagerToken && { managerSecret: newJoinSecret(random) }),
  };
}

/** The root that a request changes to, if it does: the one it brings, or a new one. */
function nextRoot(
  roots: RootMaker,
  { rootCertificatePem, rootKeyPem }: UpdateClusterRequest,
  isForced: boolean,
  nowMs: number,
): SigningRoot | undefined {
  if (rootCertificatePem === '' && rootKeyPem === '') {
    return isForced ? roots.create(nowMs) : undefined;
  }
  if (rootCertificatePem === '' || rootKeyPem === '') {
    throw invalid(
      'a CA certificate and its key go together: external certificate authorities are not supported',
    );
  }
  roots.check(rootCertificatePem, rootKeyPem, nowMs);
  return { certificatePem: rootCertificatePem, keyPem: rootKeyPem };
}

function withRotation(
  root: RootCa,
  next: SigningRoot | undefined,
  crossSign: (next: SigningRoot) => string,
): RootCa {
  if (next === undefined || next.certificatePem === root.certificatePem) return root;
  if (root.rotation !== undefined) {
    throw new ShoalError(
      'failed-precondition',
      'the root certificate is being rotated already: wait for its end, or remove the nodes that `docker node ls` shows as ready and in need of rotation',
    );
  }
  return beginRotation(root, next, crossSign(next));
}

function requireCluster(view: ReadView): Cluster {
  const cluster = view.cluster();
  if (cluster === undefined) {
    throw new ShoalError('unavailable', 'the cluster is not set up yet: try again');
  }
  return cluster;
}

function rootOf(cluster: Cluster): RootCa {
  return cluster.rootCa ?? RootCa.fromPartial({});
}
