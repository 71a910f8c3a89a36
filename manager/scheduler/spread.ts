import type { Node } from '../../shared/gen/shoal/v1/objects.ts';
import {
  type LabelSubject,
  parseLabelSubject,
  subjectValue,
} from '../../shared/model/constraint.ts';
import { Heap } from './heap.ts';

/** A node that may take a task of the group, with all that its rank depends on. */
export type Candidate = {
  readonly node: Node;
  /** It failed tasks of this service lately: last resort. */
  readonly failing: boolean;
  tasksOfService: number;
  tasks: number;
  freeMemoryBytes: number;
  freeNanoCpus: number;
};

/** Even spread: fewer of this service, then fewer in all, then more room; ids make it a total order. */
function ranksBefore(a: Candidate, b: Candidate): boolean {
  if (a.failing !== b.failing) return b.failing;
  if (a.tasksOfService !== b.tasksOfService) return a.tasksOfService < b.tasksOfService;
  if (a.tasks !== b.tasks) return a.tasks < b.tasks;
  if (a.freeMemoryBytes !== b.freeMemoryBytes) return a.freeMemoryBytes > b.freeMemoryBytes;
  if (a.freeNanoCpus !== b.freeNanoCpus) return a.freeNanoCpus > b.freeNanoCpus;
  return a.node.id < b.node.id;
}

/** Nodes of equal labels, or branches of one label's values. */
export interface Branch {
  /** Tasks of the service below, also on nodes that can take no more. */
  tasks: number;
  /** The node that would take the next task; undefined: none has room. */
  best(): Candidate | undefined;
  /** Lets `take` place a task on the best node; what it answers says whether the node has room left. */
  place(take: (candidate: Candidate) => boolean): void;
}

/** Descriptors that spread over something; others are ignored, as Swarm does. */
export function spreadSubjects(descriptors: readonly string[]): LabelSubject[] {
  return descriptors.flatMap((descriptor) => parseLabelSubject(descriptor) ?? []);
}

/**
 * Levels tasks over the values of the first label, within each over those of the second, and so on.
 * `count` counts the tasks of nodes that are no candidates. A node without the label belongs to the
 * branch of the empty value. Each placement goes down once and takes a branch without room off its
 * level, so placing ends however the labels lie.
 */
export function buildTree(
  candidates: readonly Candidate[],
  others: readonly Readonly<{ node: Node; tasksOfService: number }>[],
  subjects: readonly LabelSubject[],
): Branch {
  const [subject, ...rest] = subjects;
  if (subject === undefined) {
    const tasks = sum(candidates) + sum(others);
    return new Leaf([...candidates], tasks);
  }
  const values = new Map<string, [Candidate[], { node: Node; tasksOfService: number }[]]>();
  const at = (node: Node) => {
    const value = subjectValue(subject, node);
    const entry = values.get(value) ?? [[], []];
    values.set(value, entry);
    return entry;
  };
  for (const candidate of candidates) at(candidate.node)[0].push(candidate);
  for (const other of others) at(other.node)[1].push(other);
  const branches = [...values.values()].map(([mine, rest2]) => buildTree(mine, rest2, rest));
  return new Fork(branches);
}

function sum(list: readonly Readonly<{ tasksOfService: number }>[]): number {
  return list.reduce((total, { tasksOfService }) => total + tasksOfService, 0);
}

class Leaf implements Branch {
  tasks: number;
  readonly #heap: Heap<Candidate>;

  constructor(candidates: Candidate[], tasks: number) {
    this.#heap = new Heap(candidates, ranksBefore);
    this.tasks = tasks;
  }

  best(): Candidate | undefined {
    return this.#heap.peek();
  }

  place(take: (candidate: Candidate) => boolean): void {
    const candidate = this.#heap.peek();
    if (candidate === undefined) return;
    this.tasks += 1;
    if (take(candidate)) this.#heap.topChanged();
    else this.#heap.pop();
  }
}

class Fork implements Branch {
  tasks: number;
  readonly #heap: Heap<Branch>;

  constructor(branches: Branch[]) {
    this.tasks = branches.reduce((total, branch) => total + branch.tasks, 0);
    const withRoom = branches.filter((branch) => branch.best() !== undefined);
    this.#heap = new Heap(withRoom, levels);
  }

  best(): Candidate | undefined {
    return this.#heap.peek()?.best();
  }

  place(take: (candidate: Candidate) => boolean): void {
    const branch = this.#heap.peek();
    if (branch === undefined) return;
    this.tasks += 1;
    branch.place(take);
    if (branch.best() === undefined) this.#heap.pop();
    else this.#heap.topChanged();
  }
}

/** The branch with fewer tasks of the service; of equal ones that with the better node. */
function levels(a: Branch, b: Branch): boolean {
  const [bestA, bestB] = [a.best(), b.best()];
  if (bestA === undefined || bestB === undefined) return bestA !== undefined;
  // A branch whose every node fails this service's tasks is a last resort, too.
  if (bestA.failing !== bestB.failing) return bestB.failing;
  return a.tasks === b.tasks ? ranksBefore(bestA, bestB) : a.tasks < b.tasks;
}
