import {
  type GenericResource,
  type Resources,
  type Task,
  TaskState,
} from '../../shared/gen/shoal/v1/objects.ts';
import { portKey } from '../../shared/model/port-key.ts';
import { isTerminal, isWanted } from '../../shared/model/task-state.ts';

/** What the tasks assigned to one node take of it. */
export type NodeUsage = Readonly<{
  reservedNanoCpus: number;
  reservedMemoryBytes: number;
  /** Reserved units of each kind of generic resource. */
  generic: ReadonlyMap<string, number>;
  /** Host-mode ports by `protocol/number`, and how many tasks hold each. */
  hostPorts: ReadonlyMap<string, number>;
  /** Tasks that shall run, in all and by service. Those told to stop take resources, but do not count here. */
  tasks: number;
  tasksOfService: ReadonlyMap<string, number>;
}>;

export const NO_USAGE: NodeUsage = {
  reservedNanoCpus: 0,
  reservedMemoryBytes: 0,
  generic: new Map(),
  hostPorts: new Map(),
  tasks: 0,
  tasksOfService: new Map(),
};

/** What one task takes. Compared as a whole to see whether a report changed anything. */
export type Claim = Readonly<{
  nanoCpus: number;
  memoryBytes: number;
  generic: readonly (readonly [kind: string, units: number])[];
  hostPorts: readonly string[];
  /** The service it counts for; undefined: it counts for none, because it shall not run. */
  countsFor: string | undefined;
}>;

/** From its assignment to its end a task takes what it reserves. */
export function isOnNode(task: Task): boolean {
  const state = task.status?.state ?? TaskState.NEW;
  return task.nodeId !== '' && state >= TaskState.ASSIGNED && !isTerminal(state);
}

export function claimOf(task: Task): Claim {
  const reserved = task.spec?.resources?.reservations;
  return {
    nanoCpus: reserved?.nanoCpus ?? 0,
    memoryBytes: reserved?.memoryBytes ?? 0,
    generic: genericUnits(reserved),
    hostPorts: hostPortsOf(task),
    countsFor: isWanted(task.desiredState) ? task.serviceId : undefined,
  };
}

/** Fixed host-mode ports; a number that the agent picks is never in the way. */
function hostPortsOf(task: Task): string[] {
  return task.ports
    .filter((port) => port.publishMode === 'host' && port.publishedPort !== 0)
    .map(portKey);
}

/** Units by kind: a named resource is one unit of its kind. */
export function genericUnits(resources: Resources | undefined): [string, number][] {
  const units = new Map<string, number>();
  for (const resource of resources?.generic ?? []) {
    units.set(resource.kind, (units.get(resource.kind) ?? 0) + unitsOf(resource));
  }
  return [...units];
}

function unitsOf({ value }: GenericResource): number {
  return value?.$case === 'discrete' ? value.value : 1;
}

/** The usage of a node that can be changed: by commits in the mirror, by placements in a plan. */
export class MutableUsage implements NodeUsage {
  reservedNanoCpus: number;
  reservedMemoryBytes: number;
  readonly generic: Map<string, number>;
  readonly hostPorts: Map<string, number>;
  tasks: number;
  readonly tasksOfService: Map<string, number>;

  constructor(from: NodeUsage = NO_USAGE) {
    this.reservedNanoCpus = from.reservedNanoCpus;
    this.reservedMemoryBytes = from.reservedMemoryBytes;
    this.generic = new Map(from.generic);
    this.hostPorts = new Map(from.hostPorts);
    this.tasks = from.tasks;
    this.tasksOfService = new Map(from.tasksOfService);
  }

  add(claim: Claim): void {
    this.#change(claim, 1);
  }

  subtract(claim: Claim): void {
    this.#change(claim, -1);
  }

  get isEmpty(): boolean {
    const { reservedNanoCpus, reservedMemoryBytes, generic, hostPorts, tasks } = this;
    const reserved = reservedNanoCpus + reservedMemoryBytes + generic.size;
    return tasks === 0 && hostPorts.size === 0 && reserved === 0;
  }

  #change(claim: Claim, sign: 1 | -1): void {
    this.reservedNanoCpus += sign * claim.nanoCpus;
    this.reservedMemoryBytes += sign * claim.memoryBytes;
    for (const [kind, units] of claim.generic) shift(this.generic, kind, sign * units);
    for (const port of claim.hostPorts) shift(this.hostPorts, port, sign);
    if (claim.countsFor !== undefined) {
      this.tasks += sign;
      shift(this.tasksOfService, claim.countsFor, sign);
    }
  }
}

function shift(counts: Map<string, number>, key: string, by: number): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}
