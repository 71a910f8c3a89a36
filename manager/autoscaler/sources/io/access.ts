import { createHmac, randomBytes } from 'node:crypto';
import { messageOf, ShoalError } from '../../../../shared/errors.ts';
import type { SourceAuth } from '../../../../shared/gen/shoal/v1/autoscale.ts';
import { joinHostPort } from '../../../../shared/model/host-port.ts';
import type { Address, Dial } from '../address.ts';
import { type Credentials, credentialsOf, hiddenOf, type SecretLookup } from '../credentials.ts';
import { redact } from '../redact.ts';
import { resolveAddress, type ServiceLookup } from '../resolve.ts';
import type { Names } from './names.ts';

export type AccessDeps = Readonly<{
  services: ServiceLookup;
  secret: SecretLookup;
  names: Names;
}>;

/** Fingerprints tell nothing outside of this process. */
const salt = randomBytes(16);

/** What the metrics of one service may use to reach their sources. */
export class Access {
  readonly #deps: AccessDeps;
  readonly #serviceId: string;

  constructor(deps: AccessDeps, serviceId: string) {
    this.#deps = deps;
    this.#serviceId = serviceId;
  }

  /** As the secrets are now. Throws ShoalError `not-found`. */
  credentials(auth: SourceAuth | undefined): Credentials {
    return credentialsOf(auth, this.#deps.secret);
  }

  /** Where to open the socket for an address, as the services are now. Rejects with ShoalError `unavailable`. */
  async dial(address: Address): Promise<Dial> {
    const resolution = resolveAddress(this.#deps.services, this.#serviceId, address);
    if (resolution.kind === 'published') {
      return { host: '127.0.0.1', port: resolution.port, serverName: address.host };
    }
    const host = await this.#deps.names.addressOf(address.host);
    return { host, port: address.port, serverName: address.host };
  }

  /** What may be wrong with an address that cannot be reached; empty: nothing is known. */
  hintFor(address: Address): string {
    const resolution = resolveAddress(this.#deps.services, this.#serviceId, address);
    return resolution.kind === 'host' ? (resolution.hint ?? '') : '';
  }
}

/** Equal for equal parts, so that a connection can be found again without keeping what it was opened with. */
export function fingerprint(...parts: readonly (string | number | boolean)[]): string {
  return createHmac('sha256', salt).update(JSON.stringify(parts)).digest('base64');
}

/** An error of a source for people: where it was met, what was said, no secrets, and nothing of the error itself. */
export function sourceError(
  error: unknown,
  where: Address,
  credentials: Credentials | undefined,
  hint: string,
): ShoalError {
  const hidden = credentials === undefined ? [] : hiddenOf(credentials);
  const said = redact(textOf(error), hidden);
  const more = hint === '' ? '' : ` (${hint})`;
  return new ShoalError('unavailable', `${joinHostPort(where.host, where.port)}: ${said}${more}`);
}

/** What OpenSSL calls a certificate of an authority that it does not know. */
const UNTRUSTED = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/** Errors of a socket that tried several addresses have no message, only their code. */
function textOf(error: unknown): string {
  const message = messageOf(error);
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (message.includes('wrong version number')) return 'the server speaks no TLS on this port';
  // Node would tell of a flag of its own here.
  if (UNTRUSTED.has(code)) {
    return 'nobody trusted here vouches for its certificate: name a secret with that of its CA (ca-secret)';
  }
  if (message !== '') return message;
  return code === '' ? 'it failed' : code;
}
