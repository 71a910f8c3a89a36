import type { PeerCertificate } from 'node:tls';
import type { IdentitySource } from '../../pki/identity.ts';
import { splitPem } from '../../pki/io/trust.ts';
import { isIssuedByAny } from '../../pki/io/x509.ts';
import { toPem } from '../../pki/pem.ts';

/** Judged certificates that are remembered; beyond it all are judged anew. */
const MAX_JUDGED = 4_096;

/**
 * The roots that this process trusted once and does no more. A connection outlives the root that its handshake was
 * believed by, but no call by it is to be.
 */
export class DroppedRoots {
  #droppedPem = '';
  readonly #judged = new Map<string, boolean>();
  readonly #stopFollowing: () => void;

  /** `onDrop` is called after each change that drops one. */
  constructor(identity: IdentitySource, onDrop: () => void = () => undefined) {
    let known = splitPem(identity.current().rootsPem);
    this.#stopFollowing = identity.onChange(({ rootsPem }) => {
      const present = splitPem(rootsPem);
      const dropped = known.filter((root) => !present.includes(root));
      known = present;
      if (dropped.length === 0) return;
      this.#droppedPem += dropped.join('');
      this.#judged.clear();
      onDrop();
    });
  }

  /** `certificate` as a socket tells it: null of one that has ended, empty in the middle of a handshake. */
  issued(certificate: Partial<PeerCertificate> | null): boolean {
    const { fingerprint256, raw } = certificate ?? {};
    if (fingerprint256 === undefined || raw === undefined) return false;
    if (this.#droppedPem === '') return false;
    const before = this.#judged.get(fingerprint256);
    if (before !== undefined) return before;
    if (this.#judged.size >= MAX_JUDGED) this.#judged.clear();
    const isDropped = isIssuedByAny(toPem('CERTIFICATE', raw), this.#droppedPem);
    this.#judged.set(fingerprint256, isDropped);
    return isDropped;
  }

  close(): void {
    this.#stopFollowing();
  }
}
