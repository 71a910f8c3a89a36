import type { CertificateHolder } from './roles.ts';

/** A node's TLS material. PEM texts; `rootsPem` holds one root, or several while a root rotates. */
export type TlsIdentity = Readonly<{
  certificatePem: string;
  keyPem: string;
  rootsPem: string;
  /** What the certificate says; see parseCertificate(). */
  holder: CertificateHolder;
}>;

/** Where sockets take the present certificate from: it is replaced while they run. */
export interface IdentitySource {
  current(): TlsIdentity;
  /** Called after each replacement, not with the present one. Returns how to stop it. */
  onChange(listener: (identity: TlsIdentity) => void): () => void;
}

export class IdentityHolder implements IdentitySource {
  #identity: TlsIdentity;
  readonly #listeners = new Set<(identity: TlsIdentity) => void>();
  constructor(identity: TlsIdentity) {
    this.#identity = identity;
  }
  current(): TlsIdentity {
    return this.#identity;
  }
  replace(identity: TlsIdentity): void {
    this.#identity = identity;
    for (const listener of [...this.#listeners]) listener(identity);
  }
  onChange(listener: (identity: TlsIdentity) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
