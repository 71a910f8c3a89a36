import {
  type Node,
  NodeAvailability,
  NodeRole,
  type NodeSpec,
  NodeState,
  type Task,
  TaskState,
} from '../../shared/gen/shoal/v1/objects.ts';
import type { StoreAction } from '../../shared/gen/shoal/v1/store.ts';
import { checkLabels } from '../../shared/model/labels.ts';
import { isTerminal } from '../../shared/model/task-state.ts';
import type { ConsensusStatus } from '../raft/consensus.ts';
import { removeAction, taskStatusAction, updateAction } from '../store/tables.ts';
import type { ReadView } from '../store/types.ts';
import { splitActions } from '../store/writer.ts';
import type { ControlDeps } from './deps.ts';
import { find } from './find.ts';
import { invalid, outOfSequence, precondition } from './refuse.ts';

/** Availability, labels and role. A change of role is a wish: the node's own supervisor carries it out. */
export async function updateNode(
  { store, writer, consensus }: ControlDeps,
  reference: string,
  version: number,
  spec: NodeSpec,
  signal?: AbortSignal,
): Promise<string> {
  const stored = find(store, 'node', reference);
  if (stored.meta?.version !== version) throw outOfSequence();
  checkNodeSpec(spec);
  const demoted = stored.spec?.role === NodeRole.MANAGER && spec.role === NodeRole.WORKER;
  if (demoted) checkDemotion(store, stored, consensus.status());
  await writer.write([updateAction('node', { ...stored, spec })], signal);
  return stored.id;
}

/**
 * Forgets a node: from now on its certificate opens nothing. Its tasks are lost to sight and counted
 * as ORPHANED, so that whatever they hold is given back.
 */
export async function removeNode(
  { store, writer, consensus, clock }: ControlDeps,
  reference: string,
  force: boolean,
  signal?: AbortSignal,
): Promise<void> {
  const node = find(store, 'node', reference);
  // As in Swarm a manager's node that is no member any more (it has left) may be removed as it is.
  if (isMember(node, consensus.status())) {
    throw precondition(
      `node ${node.id} is a cluster manager and is a member of the raft cluster. It must be demoted to worker before removal`,
    );
  }
  if (!force && node.status?.state === NodeState.READY) {
    throw precondition(`node ${node.id} is not down and can't be removed`);
  }
  const nowMs = clock.now();
  const orphans = [...store.tasksOfNode(node.id)].filter(
    ({ status }) => !isTerminal(status?.state ?? TaskState.NEW),
  );
  const actions = [
    removeAction('node', node.id),
    ...orphans.map((task) => orphanAction(task, nowMs)),
  ];
  // The removal is in the first transaction; what is left of a very full node follows.
  for (const batch of splitActions(actions)) await writer.write(batch, signal);
}

function checkNodeSpec(spec: NodeSpec): void {
  checkLabels('labels', spec.labels);
  if (!(Object.values(NodeAvailability) as number[]).includes(spec.availability)) {
    throw invalid(
      `availability ${spec.availability} is unknown: expected active (0), pause (1) or drain (2)`,
    );
  }
  if (!(Object.values(NodeRole) as number[]).includes(spec.role)) {
    throw invalid(`role ${spec.role} is unknown: expected worker (0) or manager (1)`);
  }
}

/** The managers that are left must be able to decide: one at least, and a majority of them alive. */
function checkDemotion(view: ReadView, node: Node, status: ConsensusStatus): void {
  const others = [...view.all('node')].filter(
    ({ id, spec }) => id !== node.id && spec?.role === NodeRole.MANAGER,
  );
  if (others.length === 0) {
    throw precondition('attempting to demote the last manager of the swarm');
  }
  const voters = status.members.filter(({ learner }) => !learner);
  if (!voters.some(({ member }) => member.nodeId === node.id)) return;
  const left = voters.filter(({ member }) => member.nodeId !== node.id);
  if (left.length === 0) throw precondition('attempting to demote the last manager of the swarm');
  const alive = left.filter(
    ({ member, active }) => active || member.raftId === status.leaderRaftId,
  ).length;
  const quorum = Math.floor(left.length / 2) + 1;
  if (alive < quorum) {
    throw precondition(
      `can't remove member from the raft: this would result in a loss of quorum (${alive} of the ${left.length} managers left are reachable, ${quorum} are needed)`,
    );
  }
}

function isMember(node: Node, { members }: ConsensusStatus): boolean {
  return (
    node.managerStatus !== undefined || members.some(({ member }) => member.nodeId === node.id)
  );
}

function orphanAction(task: Task, nowMs: number): StoreAction {
  return taskStatusAction(task.id, {
    ...(task.status ?? { container: undefined, ports: [] }),
    atMs: nowMs,
    state: TaskState.ORPHANED,
    message: 'Task belonged to a node that has been deleted',
    err: '',
    healthy: false,
  });
}

/**
 * The node as clients see it: who leads and who is reachable is known to consensus, not stored. On a
 * follower, which only hears the leader, another manager counts as reachable while its node is READY.
 */
export function withManagerState(node: Node, status: ConsensusStatus): Node {
  const { managerStatus } = node;
  if (managerStatus === undefined) return node;
  const leader = managerStatus.raftId !== '' && managerStatus.raftId === status.leaderRaftId;
  const member = status.members.find((one) => one.member.raftId === managerStatus.raftId);
  const active = member?.active ?? false;
  const reachable =
    leader || active || (!status.isLeader && node.status?.state === NodeState.READY);
  return { ...node, managerStatus: { ...managerStatus, leader, reachable } };
}
