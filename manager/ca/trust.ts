import { FormerRoot, type RootCa } from '../../shared/gen/shoal/v1/objects.ts';

/** How long a node may be off and still come back by a certificate of a dropped root. */
const FORMER_KEPT_MS = 365 * 24 * 3_600_000;
/** Each is one more certificate in every handshake. */
const MAX_FORMER = 4;

/** Swarm's, and the least it allows. */
const DEFAULT_VALIDITY_MS = 90 * 24 * 3_600_000;
const MIN_VALIDITY_MS = 3_600_000;

export type SigningRoot = Readonly<{ certificatePem: string; keyPem: string }>;

/** The root that certificates are issued by: during a rotation the next one. */
export function signingRoot(root: RootCa): SigningRoot {
  return root.rotation ?? root;
}

/** What nodes trust: during a rotation both roots. */
export function trustedRootsPem(root: RootCa): string {
  return root.certificatePem + (root.rotation?.certificatePem ?? '');
}

/**
 * What follows a node's certificate in a handshake: from the signing root back to the oldest that is kept, so
 * that a node which slept through rotations still believes the managers.
 */
export function chainPem(root: RootCa, nowMs: number): string {
  const former = root.former.filter(({ untilMs }) => untilMs > nowMs);
  const links = [root.rotation, ...former].map((link) => link?.crossSignedPem ?? '');
  return links.join('');
}

/** By which a certificate of a node is known to have been issued by this cluster. */
export function knownRootsPem(root: RootCa, nowMs: number): string {
  const former = root.former.filter(({ untilMs }) => untilMs > nowMs);
  return trustedRootsPem(root) + former.map(({ certificatePem }) => certificatePem).join('');
}

/** Life of certificates, by the cluster's spec. */
export function validityMsOf(nodeCertExpiryNs: number | undefined): number {
  const configuredMs = (nodeCertExpiryNs ?? 0) / 1e6;
  return configuredMs > 0 ? Math.max(MIN_VALIDITY_MS, configuredMs) : DEFAULT_VALIDITY_MS;
}

/** `next` signs from now on, and both are trusted. */
export function beginRotation(root: RootCa, next: SigningRoot, crossSignedPem: string): RootCa {
  const { certificatePem, keyPem } = next;
  return { ...root, rotation: { certificatePem, keyPem, crossSignedPem } };
}

/** The present root is dropped, and remembered for a while for the nodes that were off. */
export function finishRotation(root: RootCa, nowMs: number): RootCa {
  const { rotation, certificatePem, former } = root;
  if (rotation === undefined) return root;
  const dropped = FormerRoot.fromPartial({
    certificatePem,
    crossSignedPem: rotation.crossSignedPem,
    untilMs: nowMs + FORMER_KEPT_MS,
  });
  return {
    ...root,
    certificatePem: rotation.certificatePem,
    keyPem: rotation.keyPem,
    rotation: undefined,
    former: [dropped, ...former.filter(({ untilMs }) => untilMs > nowMs)].slice(0, MAX_FORMER),
  };
}
