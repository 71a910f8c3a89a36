import type { Node, Task } from '../../shared/gen/shoal/v1/objects.ts';
import { type Filter, filtersOf, type Seen } from './filters.ts';
import { buildTree, type Candidate, spreadSubjects } from './spread.ts';
import { claimOf, MutableUsage, NO_USAGE, type NodeUsage } from './usage.ts';

/** A node sorts after all others for a service that failed this often on it within the window. */
export const FAILURES_TO_AVOID = 5; // Swarm's
export const FAILURE_WINDOW_MS = 5 * 60_000; // Swarm's

/** The cluster as the scheduler sees it when a round begins. */
export interface ClusterView {
  nodes(): Iterable<Node>;
  node(id: string): Node | undefined;
  /** Of all tasks assigned to the node. */
  usage(nodeId: string): NodeUsage;
  /** How many tasks of the group failed on the node within the window. */
  failures(nodeId: string, groupKey: string): number;
}

/** Tasks that are equal to the filters: of one service and version, and bound to the same node if any. */
export type Group = Readonly<{
  key: string;
  serviceId: string;
  /** At least one. */
  tasks: readonly Task[];
  /** Global services: the node they must go to. */
  nodeId?: string | undefined;
  /** `Type/name` of plugins that they need. */
  plugins?: readonly string[];
}>;

export type Decision =
  | Readonly<{ kind: 'assign'; task: Task; nodeId: string }>
  /** `err` in Swarm's words, `message` with more of the reasons. */
  | Readonly<{ kind: 'wait'; task: Task; group: Group; err: string; message: string }>;

/**
 * Places the tasks of each group evenly. Filters look at each node once per group; each placement
 * then costs the logarithm of the number of nodes, and counts for all that come after it.
 */
export function plan(cluster: ClusterView, groups: readonly Group[]): Decision[] {
  const round = new RoundUsage(cluster);
  return groups.flatMap((group) => placeGroup(round, group));
}

export function groupKey(task: Task): string {
  return task.serviceId === '' ? `task/${task.id}` : `${task.serviceId}/${task.specVersion}`;
}

/** The nodes' usage with what this round placed already; only touched nodes are copied. */
class RoundUsage {
  readonly cluster: ClusterView;
  readonly #touched = new Map<string, MutableUsage>();

  constructor(cluster: ClusterView) {
    this.cluster = cluster;
  }

  of(nodeId: string): NodeUsage {
    return this.#touched.get(nodeId) ?? this.cluster.usage(nodeId) ?? NO_USAGE;
  }

  place(nodeId: string, task: Task): NodeUsage {
    let usage = this.#touched.get(nodeId);
    if (usage === undefined) {
      usage = new MutableUsage(this.cluster.usage(nodeId));
      this.#touched.set(nodeId, usage);
    }
    usage.add(claimOf(task));
    return usage;
  }
}

function placeGroup(round: RoundUsage, group: Group): Decision[] {
  const [first] = group.tasks;
  if (first === undefined) return [];
  const filters = filtersOf(first, { plugins: group.plugins ?? [] });
  return group.nodeId === undefined
    ? placeAnywhere(round, group, first, filters)
    : placeOn(round, group, group.nodeId, filters);
}

function placeAnywhere(
  round: RoundUsage,
  group: Group,
  first: Task,
  filters: readonly Filter[],
): Decision[] {
  const { serviceId, key } = group;
  const candidates: Candidate[] = [];
  const others: { node: Node; tasksOfService: number }[] = [];
  for (const node of round.cluster.nodes()) {
    const usage = round.of(node.id);
    const tasksOfService = usage.tasksOfService.get(serviceId) ?? 0;
    if (filters.every((filter) => filter.passes({ node, usage }))) {
      const failing = round.cluster.failures(node.id, key) >= FAILURES_TO_AVOID;
      candidates.push({ node, failing, ...rankOf(node, usage, serviceId) });
    } else {
      others.push({ node, tasksOfService });
    }
  }
  const subjects = spreadSubjects(first.spec?.placement?.spreadOver ?? []);
  const tree = buildTree(candidates, others, subjects);
  const changing = filters.filter((filter) => filter.changes);
  const decisions: Decision[] = [];
  let refusal: Refusal | undefined;
  for (const task of group.tasks) {
    if (tree.best() === undefined) {
      refusal ??= refusalOf(round, round.cluster.nodes(), filters);
      decisions.push({ kind: 'wait', task, group, ...refusal });
      continue;
    }
    tree.place((candidate) => {
      const { node } = candidate;
      decisions.push({ kind: 'assign', task, nodeId: node.id });
      const usage = round.place(node.id, task);
      Object.assign(candidate, rankOf(node, usage, serviceId));
      return changing.every((filter) => filter.passes({ node, usage }));
    });
  }
  return decisions;
}

function rankOf(node: Node, usage: NodeUsage, serviceId: string) {
  const resources = node.description?.resources;
  return {
    tasksOfService: usage.tasksOfService.get(serviceId) ?? 0,
    tasks: usage.tasks,
    freeMemoryBytes: (resources?.memoryBytes ?? 0) - usage.reservedMemoryBytes,
    freeNanoCpus: (resources?.nanoCpus ?? 0) - usage.reservedNanoCpus,
  };
}

function placeOn(
  round: RoundUsage,
  group: Group,
  nodeId: string,
  filters: readonly Filter[],
): Decision[] {
  const node = round.cluster.node(nodeId);
  return group.tasks.map((task): Decision => {
    const seen = node && { node, usage: round.of(nodeId) };
    if (seen === undefined || !filters.every((filter) => filter.passes(seen))) {
      return { kind: 'wait', task, group, ...refusalOf(round, node ? [node] : [], filters) };
    }
    round.place(nodeId, task);
    return { kind: 'assign', task, nodeId };
  });
}

type Refusal = Readonly<{ err: string; message: string }>;
const MAX_DETAILS = 4;

/** Why none of the nodes would do, as the round stands now: each counts for the first filter it fails. */
function refusalOf(round: RoundUsage, nodes: Iterable<Node>, filters: readonly Filter[]): Refusal {
  const failed = new Map<Filter, number>();
  const details = new Map<string, number>();
  for (const node of nodes) {
    const seen: Seen = { node, usage: round.of(node.id) };
    const filter = filters.find((candidate) => !candidate.passes(seen));
    if (filter === undefined) continue;
    increment(failed, filter);
    increment(details, filter.detail(seen));
  }
  const reasons = [...failed]
    .sort(([a, countA], [b, countB]) => countB - countA || filters.indexOf(a) - filters.indexOf(b))
    .map(([filter, count]) => filter.explain(count));
  const err =
    reasons.length === 0 ? 'no suitable node' : `no suitable node (${reasons.join('; ')})`;
  const lines = [...details]
    .sort(([a, countA], [b, countB]) => countB - countA || (a < b ? -1 : 1))
    .slice(0, MAX_DETAILS)
    .map(([detail, count]) => `${count === 1 ? '1 node' : `${count} nodes`}: ${detail}`);
  const message = ['pending task scheduling', ...(lines.length > 0 ? [lines.join('; ')] : [])];
  return { err, message: message.join(': ') };
}

function increment<K>(counts: Map<K, number>, key: K): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
