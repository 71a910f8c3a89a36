import { createSecureContext } from 'node:tls';
import { credentials } from '@grpc/grpc-js';
import { ShoalError } from '../../errors.ts';
import { CertificateAuthorityService } from '../../gen/shoal/v1/ca.ts';
import { openChannel, unary } from '../../rpc/io/client.ts';
import { parseJoinToken } from '../join-token.ts';
import { rootDigest } from './x509.ts';

export type FetchRootOptions = Readonly<{
  /** host:port of a manager. */
  target: string;
  /** The join token whose digest the root must have. */
  token: string;
  /** Default 10 s. */
  deadlineMs?: number;
  signal?: AbortSignal;
}>;

/**
 * The cluster's root certificate (PEM), asked of a manager that is not trusted yet and believed only
 * because its digest is in the join token. Nothing secret is sent. Throws ShoalError
 * `permission-denied` when the digest differs: another cluster answers there, or someone is between.
 */
export async function fetchRootCertificate(options: FetchRootOptions): Promise<string> {
  const wanted = parseJoinToken(options.token).rootDigest;
  const untrusting = credentials.createFromSecureContext(
    createSecureContext({ minVersion: 'TLSv1.3' }),
    { rejectUnauthorized: false, checkServerIdentity: () => undefined },
  );
  const channel = openChannel(options.target, untrusting);
  try {
    const { certificatePem } = await unary(
      channel,
      CertificateAuthorityService.getRootCertificate,
      {},
      { deadlineMs: options.deadlineMs ?? 10_000, signal: options.signal },
    );
    if (rootDigest(certificatePem) !== wanted) {
      throw new ShoalError(
        'permission-denied',
        `the manager at ${options.target} is not of the cluster this join token belongs to: ` +
          'check the address, and get the token anew from a manager you trust',
      );
    }
    return certificatePem;
  } finally {
    channel.close();
  }
}
