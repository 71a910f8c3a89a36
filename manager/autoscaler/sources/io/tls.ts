import { isIP } from 'node:net';
import {
  checkServerIdentity,
  createSecureContext,
  getCACertificates,
  type PeerCertificate,
  type SecureContext,
} from 'node:tls';
import { ShoalError } from '../../../../shared/errors.ts';

/** Contexts hold all roots parsed; sources use few different ones. */
const MAX_CONTEXTS = 16;
const contexts = new Map<string, SecureContext>();

export type SourceTls = Readonly<{
  secureContext: SecureContext;
  servername: string;
  checkServerIdentity: (host: string, certificate: PeerCertificate) => Error | undefined;
}>;

/**
 * Options of a connection to a source. Its certificate must be `serverName`'s, whatever address was dialled. `ca`: root
 * certificates, PEM; empty: this machine's. Throws ShoalError `invalid-argument` when there is none in `ca`.
 */
export function tlsOptions(serverName: string, ca: string): SourceTls {
  return {
    secureContext: contextOf(ca),
    // Names only: an address in this field is an error of the protocol.
    servername: isIP(serverName) === 0 ? serverName : '',
    checkServerIdentity: (_, certificate) => checkServerIdentity(serverName, certificate),
  };
}

function contextOf(ca: string): SecureContext {
  const known = contexts.get(ca);
  if (known !== undefined) return known;
  const made = createSecureContext({ ca: ca === '' ? machineRoots() : onlyCertificates(ca) });
  const [oldest] = contexts.keys();
  if (contexts.size >= MAX_CONTEXTS && oldest !== undefined) contexts.delete(oldest);
  contexts.set(ca, made);
  return made;
}

/** Slim machines have no package of roots: then Node's own. */
function machineRoots(): string[] {
  const roots = getCACertificates('system');
  return roots.length > 0 ? roots : getCACertificates('bundled');
}

function onlyCertificates(ca: string): string {
  if (!ca.includes('-----BEGIN CERTIFICATE-----')) {
    throw new ShoalError('invalid-argument', 'the secret of ca_secret holds no PEM certificate');
  }
  return ca;
}
