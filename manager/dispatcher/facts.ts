import type { ManagerPeer, SessionUpdate } from '../../shared/gen/shoal/v1/dispatcher.ts';
import { Node } from '../../shared/gen/shoal/v1/objects.ts';
import { sameValue } from '../../shared/model/equal.ts';
import { signingRoot, trustedRootsPem, validityMsOf } from '../ca/trust.ts';
import type { ChangeBatch, ReadView } from '../store/types.ts';
import { heartbeatPeriodMs } from './heartbeat.ts';

/** What every agent is told of the cluster beside its assignments. */
export type ClusterFacts = Readonly<{
  managers: readonly ManagerPeer[];
  rootCaPem: string;
  signingRootPem: string;
  certificateValidityMs: number;
  renewWithinMs: number;
  dataPathPort: number;
  heartbeatPeriodMs: number;
}>;

export function factsOf(view: ReadView): ClusterFacts {
  const managers: ManagerPeer[] = [];
  for (const node of view.all('node')) {
    const address = node.managerStatus?.address ?? '';
    if (address !== '') managers.push({ nodeId: node.id, address });
  }
  // The table has no order of its own, and an order that changes is no news.
  managers.sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1));
  const cluster = view.cluster();
  const root = cluster?.rootCa;
  return {
    managers,
    rootCaPem: root === undefined ? '' : trustedRootsPem(root),
    signingRootPem: root === undefined ? '' : signingRoot(root).certificatePem,
    certificateValidityMs: validityMsOf(cluster?.spec?.nodeCertExpiryNs),
    renewWithinMs: renewWithinMs(view.count('node')),
    dataPathPort: cluster?.dataPathPort ?? 0,
    heartbeatPeriodMs: heartbeatPeriodMs(view, managers.length),
  };
}

const RENEWAL_SPREAD_MS = 20;
const RENEWAL_LEAST_MS = 500;

/**
 * Time over which renewals that are asked for are spread: a signature and a write each, for all nodes. In powers of
 * two, so that a node which joins is no news to the others.
 */
function renewWithinMs(nodes: number): number {
  const atMostMs = RENEWAL_SPREAD_MS * 2 ** Math.ceil(Math.log2(Math.max(1, nodes)));
  return Math.max(RENEWAL_LEAST_MS, atMostMs);
}

/** Whether `factsOf` may say something else after these changes. */
export function touchesFacts(batch: ChangeBatch): boolean {
  return batch.changes.some((change) => {
    if (change.table === 'cluster') return true;
    if (change.table !== 'node') return false;
    if (change.action !== 'update') return true; // their number counts for the heartbeat
    return !sameValue(change.object.managerStatus, change.previous?.managerStatus);
  });
}

/** Of its own node an agent learns what the operator wants, not what it reported itself. */
export function updateFor(node: Node, facts: ClusterFacts): SessionUpdate {
  const { id, meta, spec, certificateRole } = node;
  return {
    node: Node.fromPartial({ id, ...(meta && { meta }), ...(spec && { spec }), certificateRole }),
    managers: [...facts.managers],
    rootCaPem: facts.rootCaPem,
    signingRootPem: facts.signingRootPem,
    certificateValidityMs: facts.certificateValidityMs,
    renewWithinMs: facts.renewWithinMs,
    dataPathPort: facts.dataPathPort,
    heartbeatPeriodMs: facts.heartbeatPeriodMs,
  };
}

/** Whether the agent of the node has something new to learn from `updateFor`. */
export function sameForAgent(before: Node | undefined, after: Node): boolean {
  return (
    before !== undefined &&
    before.certificateRole === after.certificateRole &&
    sameValue(before.spec, after.spec)
  );
}
