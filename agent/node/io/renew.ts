import { isShoalError, ShoalError } from '../../../shared/errors.ts';
import {
  CertificateAuthorityService,
  type NodeCertificate,
} from '../../../shared/gen/shoal/v1/ca.ts';
import type { TlsIdentity } from '../../../shared/pki/identity.ts';
import { IdentityHolder } from '../../../shared/pki/identity.ts';
import { signRecovery } from '../../../shared/pki/io/trust.ts';
import { createIdentity, createKeyAndCsr } from '../../../shared/pki/io/x509.ts';
import {
  type Channel,
  clusterCredentials,
  localCredentials,
  openChannel,
  unary,
} from '../../../shared/rpc/io/client.ts';

const RENEW_WITHIN_MS = 10_000;

/**
 * A new certificate from whichever manager answers first in the list. Where TLS takes the present one no more, its key
 * proves the node instead. Throws ShoalError: the last manager's refusal, `unavailable` without any manager.
 */
export async function renewCertificate(
  identity: TlsIdentity,
  targets: readonly string[],
  signal: AbortSignal,
): Promise<TlsIdentity> {
  const { keyPem, csrPem } = createKeyAndCsr();
  let last: unknown = new ShoalError('unavailable', 'no manager is known');
  for (const target of targets) {
    const channel = openChannel(
      target,
      target.startsWith('unix:')
        ? localCredentials()
        : clusterCredentials(new IdentityHolder(identity)),
      // One that was opened with another certificate must not be used again.
      { 'grpc.use_local_subchannel_pool': 1 },
    );
    try {
      const answer = await askFor(channel, identity, csrPem, signal);
      const rootsPem = answer.rootCaPem || identity.rootsPem;
      return createIdentity(answer.certificatePem, keyPem, rootsPem);
    } catch (error) {
      last = error;
    } finally {
      channel.close();
    }
  }
  throw last;
}

async function askFor(
  channel: Channel,
  identity: TlsIdentity,
  csrPem: string,
  signal: AbortSignal,
): Promise<NodeCertificate> {
  const { renewNodeCertificate, recoverNodeCertificate } = CertificateAuthorityService;
  const options = { signal, deadlineMs: RENEW_WITHIN_MS };
  try {
    return await unary(channel, renewNodeCertificate, { csrPem }, options);
  } catch (error) {
    if (!isShoalError(error, 'unauthenticated')) throw error;
    const { certificatePem } = identity;
    const signature = signRecovery(csrPem, identity);
    return unary(channel, recoverNodeCertificate, { csrPem, certificatePem, signature }, options);
  }
}
