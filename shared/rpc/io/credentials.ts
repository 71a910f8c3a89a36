import { createSecureContext, type PeerCertificate } from 'node:tls';
import { ChannelCredentials } from '@grpc/grpc-js';
import type { IdentitySource, TlsIdentity } from '../../pki/identity.ts';
import { type CertificateRole, peerRefusal } from '../../pki/roles.ts';

type Connector = ReturnType<ChannelCredentials['_createSecureConnector']>;

/**
 * Client side of mutual TLS 1.3. Each new connection uses the certificate that is current then, so
 * that a channel outlives the renewal of its certificate. The server is whoever the cluster's root
 * says is a manager of this cluster; its address proves nothing.
 */
export class ClusterChannelCredentials extends ChannelCredentials {
  readonly #identity: IdentitySource;
  readonly #wanted: CertificateRole;
  #made: { from: TlsIdentity; credentials: ChannelCredentials } | undefined;
  constructor(identity: IdentitySource, wanted: CertificateRole = 'manager') {
    super();
    this.#identity = identity;
    this.#wanted = wanted;
  }
  override _isSecure(): boolean {
    return true;
  }
  override _equals(other: ChannelCredentials): boolean {
    return other === this;
  }
  override _createSecureConnector(
    ...args: Parameters<ChannelCredentials['_createSecureConnector']>
  ): Connector {
    const first = this.#current()._createSecureConnector(...args);
    return {
      connect: (socket) =>
        this.#current()
          ._createSecureConnector(...args)
          .connect(socket),
      waitForReady: () => Promise.resolve(),
      getCallCredentials: () => first.getCallCredentials(),
      destroy: () => first.destroy(),
    };
  }
  #current(): ChannelCredentials {
    const identity = this.#identity.current();
    if (this.#made?.from !== identity) {
      const context = createSecureContext(contextOptions(identity));
      const { clusterId } = identity.holder;
      const checkServerIdentity = (_name: string, { subject }: PeerCertificate) => {
        const why = peerRefusal(subject, this.#wanted, clusterId);
        return why === undefined ? undefined : new Error(why);
      };
      this.#made = {
        from: identity,
        credentials: ChannelCredentials.createFromSecureContext(context, { checkServerIdentity }),
      };
    }
    return this.#made.credentials;
  }
}

/** What both sides of a connection show and trust. */
export function contextOptions(identity: TlsIdentity) {
  return {
    ca: identity.rootsPem,
    cert: identity.certificatePem,
    key: identity.keyPem,
    minVersion: 'TLSv1.3' as const,
  };
}
