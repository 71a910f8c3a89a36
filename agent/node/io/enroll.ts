import { messageOf, ShoalError } from '../../../shared/errors.ts';
import {
  CertificateAuthorityService,
  type NodeCertificate,
} from '../../../shared/gen/shoal/v1/ca.ts';
import { type NodeAvailability, NodeRole } from '../../../shared/gen/shoal/v1/objects.ts';
import { newId } from '../../../shared/ids.ts';
import type { TlsIdentity } from '../../../shared/pki/identity.ts';
import { fetchRootCertificate } from '../../../shared/pki/io/fetch-root.ts';
import {
  createIdentity,
  createKeyAndCsr,
  createRootCa,
  signCsr,
} from '../../../shared/pki/io/x509.ts';
import { parseJoinToken } from '../../../shared/pki/join-token.ts';
import type { Random } from '../../../shared/random.ts';
import { clusterRootCredentials, openChannel, unary } from '../../../shared/rpc/io/client.ts';
import type { Founding } from '../membership-ports.ts';

const DEADLINE_MS = 20_000; // Docker's patience with a join

/** A new cluster's root and its first manager's certificate. */
export function foundCluster(random: Random, nowMs: number, validityMs: number): Founding {
  const { certificatePem, keyPem } = createRootCa('swarm-ca', nowMs);
  const root = { clusterId: newId(random), certificatePem, keyPem };
  return refoundCluster(root, random, nowMs, validityMs);
}

/** The certificate of a new first manager, by the root of a cluster that there was. */
export function refoundCluster(
  root: Readonly<{ clusterId: string; certificatePem: string; keyPem: string }>,
  random: Random,
  nowMs: number,
  validityMs: number,
): Founding {
  const nodeId = newId(random);
  const { clusterId } = root;
  const { keyPem, csrPem } = createKeyAndCsr();
  const certificatePem = signCsr({
    csrPem,
    caCertificatePem: root.certificatePem,
    caKeyPem: root.keyPem,
    nodeId,
    role: 'manager',
    clusterId,
    validityMs,
    nowMs,
  });
  return {
    nodeId,
    clusterId,
    identity: createIdentity(certificatePem, keyPem, root.certificatePem),
    rootCertificatePem: root.certificatePem,
    rootKeyPem: root.keyPem,
  };
}

export type Enrolled = Readonly<{
  nodeId: string;
  clusterId: string;
  role: 'manager' | 'worker';
  identity: TlsIdentity;
  managers: readonly Readonly<{ nodeId: string; address: string }>[];
}>;

/**
 * Asks the managers, one after the other, for a certificate. The token's digest is what they are trusted by.
 * Throws ShoalError `invalid-argument` for a token that is malformed, `permission-denied` when the cluster does
 * not take it, `unavailable` when none of the managers answers.
 */
export async function enroll(
  remotes: readonly string[],
  token: string,
  availability: NodeAvailability,
  signal: AbortSignal,
): Promise<Enrolled> {
  parseJoinToken(token);
  const failures: string[] = [];
  for (const target of remotes) {
    try {
      return await enrollAt(target, token, availability, signal);
    } catch (error) {
      if (!(error instanceof ShoalError) || error.code !== 'unavailable') throw error;
      failures.push(`${target}: ${messageOf(error)}`);
    }
  }
  throw new ShoalError('unavailable', `no manager could be reached: ${failures.join('; ')}`);
}

async function enrollAt(
  target: string,
  token: string,
  availability: NodeAvailability,
  signal: AbortSignal,
): Promise<Enrolled> {
  const rootsPem = await fetchRootCertificate({ target, token, signal, deadlineMs: DEADLINE_MS });
  const { keyPem, csrPem } = createKeyAndCsr();
  const channel = openChannel(target, clusterRootCredentials(rootsPem));
  try {
    const answer: NodeCertificate = await unary(
      channel,
      CertificateAuthorityService.issueNodeCertificate,
      { token, csrPem, availability },
      { signal, deadlineMs: DEADLINE_MS, mutates: true },
    );
    return {
      nodeId: answer.nodeId,
      clusterId: answer.clusterId,
      role: answer.role === NodeRole.MANAGER ? 'manager' : 'worker',
      identity: createIdentity(answer.certificatePem, keyPem, answer.rootCaPem || rootsPem),
      managers: answer.managers.map(({ nodeId, address }) => ({ nodeId, address })),
    };
  } finally {
    channel.close();
  }
}
