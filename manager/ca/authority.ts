import type { Clock } from '../../shared/clock.ts';
import { NodeRemovedError, ShoalError } from '../../shared/errors.ts';
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
import type { CertificateRole } from '../../shared/pki/roles.ts';
import type { Random } from '../../shared/random.ts';
import { factsOf } from '../dispatcher/facts.ts';
import { createAction, updateAction } from '../store/tables.ts';
import type { ReadView, Writer } from '../store/types.ts';

/** What makes signatures. Throws ShoalError `invalid-argument` when the request is not a proper one. */
export interface CertificateSigner {
  sign(request: Required<SignRequest>): string;
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

/** Swarm's, and the least it allows. */
const DEFAULT_VALIDITY_MS = 90 * 24 * 3_600_000;
const MIN_VALIDITY_MS = 3_600_000;
/** Certificates count from an hour ago, for hosts whose clocks run behind. */
const BACKDATE_MS = 3_600_000;

/**
 * The cluster's certificate authority. Lets nodes in by their join token and gives them certificates;
 * the role in a certificate is always the one that the store holds. `issue` and `renew` write, so they
 * work on the leader.
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
    const { cluster, root } = this.#root();
    const node = this.#deps.store.get('node', nodeId);
    if (node === undefined) throw new NodeRemovedError(nodeId);
    const role = roleNow(node);
    const certificatePem = this.#sign(csrPem, nodeId, role, cluster, root);
    if (node.certificateRole !== role) {
      await this.#deps.writer.write(
        [updateAction('node', { ...node, certificateRole: role })],
        signal,
      );
    }
    return this.#answer(nodeId, role, certificatePem, cluster, root);
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
    const configuredMs = (cluster.spec?.nodeCertExpiryNs ?? 0) / 1e6;
    return this.#deps.signer.sign({
      csrPem,
      caCertificatePem: root.certificatePem,
      caKeyPem: root.keyPem,
      nodeId,
      role: roleName(role),
      clusterId: cluster.id,
      validityMs: configuredMs > 0 ? Math.max(MIN_VALIDITY_MS, configuredMs) : DEFAULT_VALIDITY_MS,
      backdateMs: BACKDATE_MS,
      nowMs: this.#deps.clock.now(),
    });
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
      rootCaPem: root.certificatePem,
      managers: [...factsOf(this.#deps.store).managers],
    };
  }
}

/** A member of consensus stays a manager until it is out: others count on its answers, on links of managers. */
function roleNow({ spec, managerStatus }: Node): NodeRole {
  const isManager = spec?.role === NodeRole.MANAGER || managerStatus !== undefined;
  return isManager ? NodeRole.MANAGER : NodeRole.WORKER;
}

function roleName(role: NodeRole): CertificateRole {
  return role === NodeRole.MANAGER ? 'manager' : 'worker';
}
