import { type Node, NodeRole } from '../../shared/gen/shoal/v1/objects.ts';
import type { RaftMember } from '../../shared/gen/shoal/v1/peer.ts';

/**
 * A learner that was not heard of for so long is taken out. It does no harm to one that lives: told
 * that it was removed, it joins anew.
 */
export const ORPHAN_AFTER_MS = 30_000;

/** A member of consensus, and how long the leader has not heard it. */
export type MemberView = Readonly<{ member: RaftMember; learner: boolean; silentMs: number }>;

export type MemberStep =
  /** The node is to be no manager: demoted, or removed. */
  | Readonly<{ kind: 'leave'; nodeId: string }>
  /** One identity of a manager that will not be used any more. */
  | Readonly<{ kind: 'remove'; raftId: string; nodeId: string; why: string }>
  /** What the store says of the node's membership is not what is so. */
  | Readonly<{ kind: 'status'; nodeId: string; member: RaftMember | undefined }>;

/**
 * What is to be done so that the members of consensus, the roles of nodes and what nodes say of their
 * membership agree. An orphan is what a crash between two of a join's steps leaves: a learner that
 * nobody will ever be, or a status of a member that is none.
 */
export function memberSteps(nodes: Iterable<Node>, members: readonly MemberView[]): MemberStep[] {
  const byNode = new Map<string, MemberView[]>();
  for (const view of members) {
    const own = byNode.get(view.member.nodeId);
    if (own === undefined) byNode.set(view.member.nodeId, [view]);
    else own.push(view);
  }
  const steps: MemberStep[] = [];
  for (const node of nodes) {
    const own = byNode.get(node.id) ?? [];
    byNode.delete(node.id);
    if (node.spec?.role === NodeRole.MANAGER) steps.push(...stepsOfManager(node, own));
    else if (own.length > 0 || node.managerStatus) steps.push({ kind: 'leave', nodeId: node.id });
  }
  for (const nodeId of byNode.keys()) steps.push({ kind: 'leave', nodeId });
  return steps;
}

function stepsOfManager(node: Node, own: readonly MemberView[]): MemberStep[] {
  const { id: nodeId, managerStatus } = node;
  const named = own.find(({ member }) => member.raftId === managerStatus?.raftId);
  const steps: MemberStep[] = [];
  const staying: MemberView[] = [];
  for (const view of own) {
    const why = uselessBecause(view, named);
    if (why === undefined) staying.push(view);
    else steps.push({ kind: 'remove', raftId: view.member.raftId, nodeId, why });
  }
  const present = (named && staying.includes(named) ? named : staying.at(-1))?.member;
  const isSaid =
    managerStatus?.raftId === present?.raftId &&
    managerStatus?.address === present?.address &&
    managerStatus?.raftAddress === present?.raftAddress;
  if (!isSaid) steps.push({ kind: 'status', nodeId, member: present });
  return steps;
}

function uselessBecause(view: MemberView, named: MemberView | undefined): string | undefined {
  if (view.silentMs < ORPHAN_AFTER_MS) return undefined;
  if (view.learner) return 'it never caught up and is not heard';
  if (named !== undefined && named !== view) return 'its node has a newer identity';
  return undefined;
}
