import type { Clock } from '../../shared/clock.ts';
import { isShoalError, NodeRemovedError, ShoalError } from '../../shared/errors.ts';
import { type NodeCertificate, RootCertificate } from '../../shared/gen/shoal/v1/ca.ts';
import {
  type Cluster,
  Node,
  type NodeAvailability,
  NodeRole,
  NodeState,
  type RootCa,
} from '../../shared/gen/shoal/v1/objects.ts';
import { newId } from '../../shared/ids.ts';
import type { Log } from '../../shared/log.ts';
import type { SignRequest } from '../../shared/pki/io/x509.ts';
import { parseJoinToken, sameSecret } from '../../shared/pki/join-token.ts';
import type { CertificateHolder, CertificateRole } from '../../shared/pki/roles.ts';
import type { Random } from '../../shared/random.ts';
import { factsOf } from '../dispatcher/facts.ts';
import { createAction, updateAction } from '../store/tables.ts';
import type { ReadView, Writer } from '../store/types.ts';
import { chainPem, knownRootsPem, signingRoot, trustedRootsPem, validityMsOf } from './trust.ts';

/** What makes signatures. Throws ShoalError `invalid-argument` when the request is not a proper one. */
export interface CertificateSigner {
  sign(request: Required<SignRequest>): string;
  /** Digest of the key of the first certificate. */
  keyDigest(certificatePem: string): string;
  /** Throws ShoalError `invalid-argument` for what is no certificate. */
  holderOf(certificatePem: string): CertificateHolder | undefined;
  isIssuedByAny(certificatePem: string, rootsPem: string): boolean;
  isRecoverySigned(csrPem: string, certificatePem: string, signature: Uint8Array): boolean;
  /** The part of a join token that names the root certificate. */
  rootDigest(certificatePem: string): string;
}

export type CertificateAuthorityDeps = Readonly<{
  store: ReadView;
  writer: Writer;
  signer: CertificateSigner;
  clock: Clock;
  random: Random;
  log: Log;
}>;

/** A node's object changes now and then under a renewal: its status, its description. */
const WRITE_TRIES = 5;

/**
 * The cluster's certificate authority. Lets nodes in by their join token and gives them certificates;
 * the role in a certificate is always the one that the store holds. `issue`, `renew` and `recover`
 * write, so they work on the leader.
 */
export class CertificateAuthority {
  readonly #deps: CertificateAuthorityDeps;

  constructor(deps: CertificateAuthorityDeps) {
    this.#deps = deps;
  }

  /** No secret: who asks compares it with the digest in its token. */
  getRootCertificate(): RootCertificate {
    return RootCertificate.fromPartial({ certificatePem: this.#root().root.certificatePem });
  }

  /**
   * Makes a node of whoever holds a join token. Throws ShoalError `invalid-argument` (malformed token or
   * request) and `permission-denied` (a token of another cluster, or one that is no longer valid).
   */
  async issue(
    request: Readonly<{ token: string; csrPem: string; availability: NodeAvailability }>,
    signal?: AbortSignal,
  ): Promise<NodeCertificate> {
    const { cluster, root } = this.#root();
    const role = this.#roleOfToken(request.token, root);
    const nodeId = newId(this.#deps.random);
    // Signed before the node is written: a request that is not a proper one leaves no node behind.
    const certificatePem = this.#sign(request.csrPem, nodeId, role, cluster, root);
    const node = Node.fromPartial({
      id: nodeId,
      meta: {},
      spec: { role, availability: request.availability },
      status: { state: NodeState.UNKNOWN },
      certificateRole: role,
      certificateKeyDigest: this.#deps.signer.keyDigest(certificatePem),
    });
    await this.#deps.writer.write([createAction('node', node)], signal);
    this.#deps.log.info('a node has joined', { nodeId, role: roleName(role) });
    return this.#answer(nodeId, role, certificatePem, cluster, root);
  }

  /**
   * The next certificate of a node, of the role it has now. Throws ShoalError `permission-denied` when
   * the node is no longer there.
   */
  async renew(nodeId: string, csrPem: string, signal?: AbortSignal): Promise<NodeCertificate> {
    for (let tries = 1; ; tries++) {
      const { cluster, root } = this.#root();
      const node = this.#deps.store.get('node', nodeId);
      if (node === undefined) throw new NodeRemovedError(nodeId);
      const role = roleNow(node);
      const certificatePem = this.#sign(csrPem, nodeId, role, cluster, root);
      const certificateKeyDigest = this.#deps.signer.keyDigest(certificatePem);
      const next = { ...node, certificateRole: role, certificateKeyDigest };
      try {
        await this.#deps.writer.write([updateAction('node', next)], signal);
        return this.#answer(nodeId, role, certificatePem, cluster, root);
      } catch (error) {
        if (!isShoalError(error, 'out-of-sequence') || tries === WRITE_TRIES) throw error;
      }
    }
  }

  /**
   * The next certificate of a node that was off while its own expired or its root was dropped. It proves itself by
   * the key of that certificate, and only the key that the cluster knows the node by counts: who has a former
   * root's signing key can make certificates, but none of that key. Throws ShoalError `unauthenticated` for all
   * that proves nothing, NodeRemovedError for a node that proved itself and is no longer there.
   */
  async recover(
    request: Readonly<{ csrPem: string; certificatePem: string; signature: Uint8Array }>,
    signal?: AbortSignal,
  ): Promise<NodeCertificate> {
    const { store, signer, clock } = this.#deps;
    const { csrPem, certificatePem, signature } = request;
    const { cluster, root } = this.#root();
    const holder = signer.holderOf(certificatePem);
    const isOurs =
      holder?.clusterId === cluster.id &&
      signer.isIssuedByAny(certificatePem, knownRootsPem(root, clock.now()));
    if (!isOurs) throw unproven('the certificate was not issued by this cluster');
    if (!signer.isRecoverySigned(csrPem, certificatePem, signature)) {
      throw unproven('the request is not signed with the key of the certificate');
    }
    const node = store.get('node', holder.nodeId);
    if (node === undefined) throw new NodeRemovedError(holder.nodeId);
    const digest = signer.keyDigest(certificatePem);
    // The one issued last, or the one it last said it uses: an answer may have been lost.
    if (digest !== node.certificateKeyDigest && digest !== node.description?.tls?.keyDigest) {
      throw unproven('it is not the last certificate of the node');
    }
    const renewed = await this.renew(holder.nodeId, csrPem, signal);
    this.#deps.log.info('a node is back by its former certificate', { nodeId: holder.nodeId });
    return renewed;
  }

  #root(): { cluster: Cluster; root: RootCa } {
    const cluster = this.#deps.store.cluster();
    if (cluster?.rootCa === undefined) {
      throw new ShoalError('unavailable', 'the cluster is not set up yet: try again in a moment');
    }
    return { cluster, root: cluster.rootCa };
  }

  #roleOfToken(token: string, root: RootCa): NodeRole {
    const { rootDigest, secret } = parseJoinToken(token);
    if (rootDigest !== this.#deps.signer.rootDigest(root.certificatePem)) {
      throw new ShoalError(
        'permission-denied',
        'invalid join token: it is a token of another cluster',
      );
    }
    // An empty stored secret must never match, so that a half-written cluster lets nobody in.
    const matches = (stored: string) => stored !== '' && sameSecret(secret, stored);
    if (matches(root.managerSecret)) return NodeRole.MANAGER;
    if (matches(root.workerSecret)) return NodeRole.WORKER;
    throw new ShoalError(
      'permission-denied',
      'invalid join token: it is no longer valid; see `docker swarm join-token` for the present one',
    );
  }

  #sign(csrPem: string, nodeId: string, role: NodeRole, cluster: Cluster, root: RootCa): string {
    const nowMs = this.#deps.clock.now();
    const { certificatePem, keyPem } = signingRoot(root);
    const signed = this.#deps.signer.sign({
      csrPem,
      caCertificatePem: certificatePem,
      caKeyPem: keyPem,
      nodeId,
      role: roleName(role),
      clusterId: cluster.id,
      validityMs: validityMsOf(cluster.spec?.nodeCertExpiryNs),
      nowMs,
    });
    return signed + chainPem(root, nowMs);
  }

  #answer(
    nodeId: string,
    role: NodeRole,
    certificatePem: string,
    cluster: Cluster,
    root: RootCa,
  ): NodeCertificate {
    return {
      nodeId,
      role,
      clusterId: cluster.id,
      certificatePem,
      rootCaPem: trustedRootsPem(root),
      managers: [...factsOf(this.#deps.store).managers],
    };
  }
}

function unproven(why: string): ShoalError {
  return new ShoalError(
    'unauthenticated',
    `the node cannot be let in again by its former certificate: ${why}; it has to join anew`,
  );
}

/** A member of consensus stays a manager until it is out: others count on its answers, on links of managers. */
function roleNow({ spec, managerStatus }: Node): NodeRole {
  const isManager = spec?.role === NodeRole.MANAGER || managerStatus !== undefined;
  return isManager ? NodeRole.MANAGER : NodeRole.WORKER;
}

function roleName(role: NodeRole): CertificateRole {
  return role === NodeRole.MANAGER ? 'manager' : 'worker';
}
