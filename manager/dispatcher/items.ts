import type {
  AssignmentItem,
  Endpoint,
  Host,
  ServiceVip,
} from '../../shared/gen/shoal/v1/dispatcher.ts';
import {
  type Network,
  type Node,
  NodeState,
  type PortConfig,
  type Service,
  type Task,
  TaskState,
} from '../../shared/gen/shoal/v1/objects.ts';
import { withoutPrefix } from '../../shared/model/cidr.ts';
import { sameValue } from '../../shared/model/equal.ts';
import { taskName } from '../../shared/model/task-name.ts';
import { isTerminal, isWanted } from '../../shared/model/task-state.ts';
import { holdsConnections } from '../autoscaler/scaling.ts';

// What the single items of a node's set are made of. Each is a function of the objects it names, so
// that every manager shows the same at the same store index.

export const keyOf = {
  task: (id: string) => `task/${id}`,
  secret: (id: string) => `secret/${id}`,
  config: (id: string) => `config/${id}`,
  network: (id: string) => `network/${id}`,
  vip: (networkId: string, serviceId: string) => `vip/${networkId}/${serviceId}`,
  endpoint: (networkId: string, taskId: string) => `endpoint/${networkId}/${taskId}`,
  host: (nodeId: string) => `host/${nodeId}`,
  sampling: (serviceId: string) => `sampling/${serviceId}`,
} as const;

export type ParsedKey = Readonly<{ kind: string; first: string; second: string }>;

/** By hand and not by `split`: a complete set of a large cluster parses its keys millions of times. */
export function parseKey(key: string): ParsedKey {
  const afterKind = key.indexOf('/');
  const afterFirst = key.indexOf('/', afterKind + 1);
  return {
    kind: key.slice(0, afterKind),
    first: afterFirst < 0 ? key.slice(afterKind + 1) : key.slice(afterKind + 1, afterFirst),
    second: afterFirst < 0 ? '' : key.slice(afterFirst + 1),
  };
}

/** The observed state; a task without a status was never looked at. */
function stateOf(task: Task): TaskState {
  return task.status?.state ?? TaskState.NEW;
}

/**
 * Whether the task's node must know it: from ASSIGNED on, as long as the task is there. Ended ones stay
 * known, so that their containers and logs are kept as long as the task's history is. A global service's
 * task names its node from the start, but is the node's business only from ASSIGNED on.
 */
export function isKnown(task: Task): boolean {
  return task.nodeId !== '' && stateOf(task) >= TaskState.ASSIGNED;
}

/** Known and not ended as far as the node reported: it needs its networks, secrets and configs. */
export function isHeld(task: Task): boolean {
  return isKnown(task) && !isTerminal(stateOf(task));
}

/**
 * Whether a node that knows `before` would learn something from `after`. What it reported itself is
 * not echoed, and a version that only counts its reports is not news.
 */
export function sameAssignment(before: Task, after: Task): boolean {
  const bare = (task: Task) => ({ ...task, status: undefined, meta: undefined });
  return before === after || sameValue(bare(before), bare(after));
}

/** Ids of what a task needs on its node, each once. */
export type TaskNeeds = Readonly<{
  networks: ReadonlySet<string>;
  secrets: ReadonlySet<string>;
  configs: ReadonlySet<string>;
}>;

export function needsOf(task: Task): TaskNeeds {
  const container = task.spec?.container;
  return {
    networks: new Set(task.networks.map((attachment) => attachment.networkId)),
    secrets: new Set(container?.secrets.map((reference) => reference.secretId)),
    configs: new Set(container?.configs.map((reference) => reference.configId)),
  };
}

/** A node that cannot be seen, or is gone, takes no traffic. One that merely is not known yet may. */
export function takesTraffic(node: Node | undefined): boolean {
  return node !== undefined && node.status?.state !== NodeState.DOWN;
}

/**
 * The task's face on one network; undefined when it has none. It stays while the task drains, so that
 * its flows find their way, but is `ready` only while new ones may come.
 */
export function endpointOf(task: Task, networkId: string, onlineNode: boolean) {
  if (!isHeld(task)) return undefined;
  const attachment = task.networks.find((each) => each.networkId === networkId);
  const address = withoutPrefix(attachment?.addresses[0] ?? '');
  if (address === '') return undefined;
  const isRunning = stateOf(task) === TaskState.RUNNING && task.status?.healthy === true;
  const endpoint: Endpoint = {
    networkId,
    taskId: task.id,
    serviceId: task.serviceId,
    nodeId: task.nodeId,
    address,
    name: taskName(task),
    ready: isRunning && isWanted(task.desiredState) && onlineNode,
  };
  return endpoint;
}

/** The service's face on one network; undefined when it has none there. */
export function vipOf(service: Service, network: Network): ServiceVip | undefined {
  const vip = service.endpoint?.virtualIps.find((each) => each.networkId === network.id);
  if (vip === undefined) return undefined;
  const attachments = service.spec?.task?.networks ?? [];
  const isMine = (target: string) => target === network.id || target === network.spec?.name;
  return {
    networkId: network.id,
    serviceId: service.id,
    serviceName: service.spec?.name ?? '',
    address: withoutPrefix(vip.address),
    aliases: attachments.filter(({ target }) => isMine(target)).flatMap(({ aliases }) => aliases),
    ports: isIngress(network) ? (service.endpoint?.ports.filter(isIngressPort) ?? []) : [],
    hold: holdsConnections(service),
  };
}

export function networksWithVip(service: Service | undefined): readonly string[] {
  return service?.endpoint?.virtualIps.map((vip) => vip.networkId) ?? [];
}

export function isIngress(network: Network | undefined): boolean {
  return network?.spec?.ingress === true;
}

/** Undefined until the host said where its VXLAN packets go: nothing can be routed to it before. */
export function hostOf(node: Node): Host | undefined {
  const description = node.description;
  if (description === undefined || description.dataPathAddress === '') return undefined;
  return {
    nodeId: node.id,
    hostname: description.hostname,
    dataPathAddress: description.dataPathAddress,
    overlayMtu: description.overlayMtu,
  };
}

/** Unallocated ports (0) wait until they have a number. */
function isIngressPort(port: PortConfig): boolean {
  return port.publishMode !== 'host' && port.publishedPort !== 0;
}

export type Item = NonNullable<AssignmentItem['item']>;
