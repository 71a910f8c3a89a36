import {
  type Node,
  NodeAvailability,
  NodeState,
  type Platform,
  type Task,
} from '../../shared/gen/shoal/v1/objects.ts';
import {
  type Constraint,
  meetsConstraint,
  meetsConstraints,
  parseConstraints,
} from '../../shared/model/constraint.ts';
import { MIB, NANO_CPUS_PER_CPU } from '../../shared/model/units.ts';
import { type Claim, claimOf, genericUnits, type NodeUsage } from './usage.ts';

/** A node as a filter sees it. */
export type Seen = Readonly<{ node: Node; usage: NodeUsage }>;

/** One rule of placement, made for one group of equal tasks. */
export interface Filter {
  /** Whether placing a task of the group can make a node fail that passed. */
  readonly changes: boolean;
  passes(seen: Seen): boolean;
  /** Swarm's words for `count` nodes that failed here first. */
  explain(count: number): string;
  /** More than Swarm says, about one node that failed. */
  detail(seen: Seen): string;
}

/** What `filtersOf` needs besides the task: plugins that its networks and volumes are served by. */
export type FilterOptions = Readonly<{
  /** `Type/name`, as in a node's description. */
  plugins?: readonly string[];
}>;

/** The filters that say something about this task, in Swarm's order. Cheap ones come first. */
export function filtersOf(task: Task, options: FilterOptions = {}): Filter[] {
  const claim = claimOf(task);
  const { constraints = [], platforms = [], maxReplicasPerNode = 0 } = task.spec?.placement ?? {};
  const plugins = options.plugins ?? [];
  const filters: Filter[] = [readyFilter];
  if (claim.nanoCpus > 0 || claim.memoryBytes > 0 || claim.generic.length > 0) {
    filters.push(resourceFilter(claim));
  }
  if (plugins.length > 0) filters.push(pluginFilter(plugins));
  if (constraints.length > 0) filters.push(constraintFilter(constraints));
  if (platforms.length > 0) filters.push(platformFilter(platforms));
  if (claim.hostPorts.length > 0) filters.push(hostPortFilter(claim.hostPorts));
  if (maxReplicasPerNode > 0) filters.push(maxReplicasFilter(task.serviceId, maxReplicasPerNode));
  return filters;
}

const readyFilter: Filter = {
  changes: false,
  passes: ({ node }) =>
    node.status?.state === NodeState.READY && node.spec?.availability === NodeAvailability.ACTIVE,
  explain: (count) => `${nodes(count)} not available for new tasks`,
  detail: ({ node }) => {
    if (node.status?.state !== NodeState.READY) return 'not ready';
    return node.spec?.availability === NodeAvailability.DRAIN ? 'drained' : 'paused';
  },
};

function resourceFilter(claim: Claim): Filter {
  const missing = ({ node, usage }: Seen): string | undefined => {
    const has = node.description?.resources;
    if (claim.nanoCpus > (has?.nanoCpus ?? 0) - usage.reservedNanoCpus) {
      return `cpu (needs ${claim.nanoCpus / NANO_CPUS_PER_CPU})`;
    }
    if (claim.memoryBytes > (has?.memoryBytes ?? 0) - usage.reservedMemoryBytes) {
      return `memory (needs ${Math.ceil(claim.memoryBytes / MIB)} MiB)`;
    }
    if (claim.generic.length === 0) return undefined;
    const units = new Map(genericUnits(has));
    const short = claim.generic.find(
      ([kind, needed]) => needed > (units.get(kind) ?? 0) - (usage.generic.get(kind) ?? 0),
    );
    return short && `${short[0]} (needs ${short[1]})`;
  };
  return {
    changes: true,
    passes: (seen) => missing(seen) === undefined,
    explain: (count) => `insufficient resources on ${nodes(count)}`,
    detail: (seen) => `insufficient ${missing(seen) ?? 'resources'}`,
  };
}

/** A node that names no plugin of a type at all is not asked: what it has is not known. */
function pluginFilter(plugins: readonly string[]): Filter {
  const missing = ({ node }: Seen): string | undefined => {
    const has = node.description?.plugins ?? [];
    return plugins.find((plugin) => {
      const type = plugin.slice(0, plugin.indexOf('/') + 1);
      return has.some((other) => other.startsWith(type)) && !has.includes(plugin);
    });
  };
  return {
    changes: false,
    passes: (seen) => missing(seen) === undefined,
    explain: (count) => `missing plugin on ${nodes(count)}`,
    detail: (seen) => `plugin ${missing(seen) ?? ''} is missing`,
  };
}

function constraintFilter(expressions: readonly string[]): Filter {
  const constraints = parsed(expressions);
  const failed = ({ node }: Seen) =>
    constraints?.findIndex((constraint) => !meetsConstraint(constraint, node)) ?? 0;
  return {
    changes: false,
    passes: ({ node }) => constraints !== undefined && meetsConstraints(constraints, node),
    explain: (count) => `scheduling constraints not satisfied on ${nodes(count)}`,
    detail: (seen) => `constraint ${expressions[failed(seen)] ?? ''}`,
  };
}

/** Undefined when one cannot be read (control refuses those): then no node will do. */
function parsed(expressions: readonly string[]): Constraint[] | undefined {
  try {
    return parseConstraints(expressions);
  } catch {
    return undefined;
  }
}

function platformFilter(platforms: readonly Platform[]): Filter {
  const wanted = platforms.map(({ os, architecture }) => ({
    os: os.toLowerCase(),
    architecture: normalArchitecture(architecture),
  }));
  const list = wanted.map(({ os, architecture }) => `${os || 'any'}/${architecture || 'any'}`);
  return {
    changes: false,
    passes: ({ node }) => {
      const os = (node.description?.platform?.os ?? '').toLowerCase();
      const architecture = normalArchitecture(node.description?.platform?.architecture ?? '');
      return wanted.some(
        (platform) =>
          (platform.os === '' || platform.os === os) &&
          (platform.architecture === '' || platform.architecture === architecture),
      );
    },
    explain: (count) => `unsupported platform on ${nodes(count)}`,
    detail: () => `needs platform ${list.join(' or ')}`,
  };
}

/** The kernel's and Go's names for one thing. */
function normalArchitecture(architecture: string): string {
  const name = architecture.toLowerCase();
  if (name === 'x86_64') return 'amd64';
  return name === 'aarch64' ? 'arm64' : name;
}

function hostPortFilter(ports: readonly string[]): Filter {
  return {
    changes: true,
    passes: ({ usage }) => !ports.some((port) => usage.hostPorts.has(port)),
    explain: (count) => `host-mode port already in use on ${nodes(count)}`,
    detail: ({ usage }) => `port ${ports.find((port) => usage.hostPorts.has(port)) ?? ''} in use`,
  };
}

function maxReplicasFilter(serviceId: string, limit: number): Filter {
  return {
    changes: true,
    passes: ({ usage }) => (usage.tasksOfService.get(serviceId) ?? 0) < limit,
    explain: () => 'max replicas per node limit exceed',
    detail: () => `already ${limit} of its tasks`,
  };
}

function nodes(count: number): string {
  return count === 1 ? '1 node' : `${count} nodes`;
}
