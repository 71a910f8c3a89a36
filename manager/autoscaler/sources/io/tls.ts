import { isIP } from 'node:net';
import {
  checkServerIdentity,
  createSecureContext,
  getCACertificates,
  type PeerCertificate,
  type SecureContext,
} from 'node:tls';
import { ShoalError } from '../../../../shared/errors.ts';
import type { Credentials } from '../credentials.ts';

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
 * certificates, PEM; empty: this machine's. `certificate`: what this side shows, with its private key, PEM; empty:
 * nothing. Throws ShoalError `invalid-argument` when they do not hold that.
 */
export function tlsOptions(
  serverName: string,
  { ca, certificate }: Pick<Credentials, 'ca' | 'certificate'>,
): SourceTls {
  return {
    secureContext: certificate === '' ? contextOf(ca) : contextWith(ca, certificate),
    // Names only: an address in this field is an error of the protocol.
    servername: isIP(serverName) === 0 ? serverName : '',
    checkServerIdentity: (_, certificate) => checkServerIdentity(serverName, certificate),
  };
}

function contextOf(ca: string): SecureContext {
  const known = contexts.get(ca);
  if (known !== undefined) return known;
  const made = createSecureContext({ ca: rootsOf(ca) });
  const [oldest] = contexts.keys();
  if (contexts.size >= MAX_CONTEXTS && oldest !== undefined) contexts.delete(oldest);
  contexts.set(ca, made);
  return made;
}

/** Not kept: it holds a private key, which must not outlive its connection. */
function contextWith(ca: string, certificate: string): SecureContext {
  try {
    return createSecureContext({ ca: rootsOf(ca), cert: certificate, key: certificate });
  } catch (error) {
    const message =
      'the secret of certificate_secret holds no PEM certificate with its private key (without a passphrase)';
    throw new ShoalError('invalid-argument', message, { cause: error });
  }
}

function rootsOf(ca: string): string | string[] {
  return ca === '' ? machineRoots() : onlyCertificates(ca);
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
