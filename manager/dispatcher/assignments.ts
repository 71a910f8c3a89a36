import { AssignmentChange, type AssignmentItem } from '../../shared/gen/shoal/v1/dispatcher.ts';
import type { Network, Node, Service, Task } from '../../shared/gen/shoal/v1/objects.ts';
import { sameValue } from '../../shared/model/equal.ts';
import { unreachable } from '../../shared/unreachable.ts';
import type { Change, ChangeBatch, ReadView } from '../store/types.ts';
import { EncodedItems } from './encoded-items.ts';
import { itemOf } from './item-of.ts';
import {
  endpointOf,
  hostOf,
  type Item,
  isHeld,
  isIngress,
  isKnown,
  keyOf,
  needsOf,
  networksWithVip,
  type ParsedKey,
  parseKey,
  sameAssignment,
  takesTraffic,
  vipOf,
} from './items.ts';
import { getOrMake, Needs } from './needs.ts';
import { Samplings } from './samplings.ts';

/** Who is told that an item may have changed for a node; called within the commit. */
export interface TouchSink {
  touch(nodeId: string, key: string): void;
  /** The same for every node there is. */
  touchAll(key: string): void;
}

/**
 * What each node must know, derived from the store: the tasks on it, the secrets and configs these
 * use, and the networks it follows (those its tasks attach to, and the ingress network) with all their
 * VIPs, endpoints and hosts.
 *
 * Items themselves are not kept: a key and the store give the item at any time, so one pending change
 * or a hundred of the same key cost the same. What is kept is who follows what, so that a commit costs
 * as much as it changes. `apply` must see every commit, in order, while the view is at its index.
 */
export class AssignmentIndex {
  readonly #view: ReadView;
  readonly #sink: TouchSink;
  readonly #isDraining: (taskId: string) => boolean;
  readonly #networks = new Needs();
  readonly #secrets = new Needs();
  readonly #configs = new Needs();
  readonly #servicesOn = new Map<string, Set<string>>();
  readonly #tasksOn = new Map<string, Set<string>>();
  readonly #ingress = new Set<string>();
  readonly #samplings: Samplings;
  readonly #encoded = new EncodedItems();

  /** `isDraining`: of tasks that shall stop; who knows it sees to it that the task is touched when it ends. */
  constructor(
    view: ReadView,
    sink: TouchSink,
    isDraining: (taskId: string) => boolean = () => false,
  ) {
    this.#view = view;
    this.#sink = sink;
    this.#isDraining = isDraining;
    this.#samplings = new Samplings(view, (nodeId, key) => sink.touch(nodeId, key));
    for (const network of view.all('network')) {
      if (isIngress(network)) this.#ingress.add(network.id);
    }
    for (const service of view.all('service')) {
      for (const id of networksWithVip(service)) member(this.#servicesOn, id, service.id);
      this.#samplings.changed(service.id, undefined, service);
    }
    for (const task of view.all('task')) if (isHeld(task)) this.#hold(task, undefined);
  }

  /** The item as this node sees it now; undefined when it is none of its business, or gone. */
  item(nodeId: string, key: string): AssignmentItem | undefined {
    const parsed = parseKey(key);
    const item = this.#isSeenBy(nodeId, parsed) ? itemOf(this.#view, parsed) : undefined;
    return item === undefined ? undefined : this.#assignment(item);
  }

  /** Nodes that are shown the endpoints of one of the networks. */
  followers(networkIds: readonly string[]): ReadonlySet<string> {
    const nodes = new Set<string>();
    if (networkIds.some((id) => this.#ingress.has(id))) {
      for (const { id } of this.#view.all('node')) nodes.add(id);
      return nodes;
    }
    for (const id of networkIds) for (const node of this.#networks.nodesOf(id)) nodes.add(node);
    return nodes;
  }

  /**
   * The change that gives this node the item as it is now, encoded; undefined when there is no item.
   * Items that several nodes see are encoded once.
   */
  encodedChange(nodeId: string, key: string): Uint8Array | undefined {
    const parsed = parseKey(key);
    if (!this.#isSeenBy(nodeId, parsed)) return undefined;
    // A task is sent to one node only, and its status changes without a touch: never kept.
    const known = this.#encoded.get(key);
    if (known !== undefined) return known;
    const item = itemOf(this.#view, parsed);
    if (item === undefined) return undefined;
    const bytes = AssignmentChange.encode({ key, item: this.#assignment(item) }).finish();
    if (item.$case !== 'task') this.#encoded.keep(key, bytes);
    return bytes;
  }

  /** Keys of all items this node shall have, each once; of some of them there may be no item. */
  *keysOf(nodeId: string): Generator<string> {
    for (const task of this.#view.tasksOfNode(nodeId)) if (isKnown(task)) yield keyOf.task(task.id);
    for (const id of this.#secrets.thingsOf(nodeId)) yield keyOf.secret(id);
    for (const id of this.#configs.thingsOf(nodeId)) yield keyOf.config(id);
    for (const id of this.#samplings.servicesOf(nodeId)) yield keyOf.sampling(id);
    const followed = this.#followedBy(nodeId);
    for (const id of followed) yield* this.#keysOn(id);
    if (this.#ingress.size > 0) {
      for (const node of this.#view.all('node')) yield keyOf.host(node.id);
      return;
    }
    const hosts = new Set<string>();
    for (const id of followed) for (const host of this.#networks.nodesOf(id)) hosts.add(host);
    for (const host of hosts) yield keyOf.host(host);
  }

  apply(batch: ChangeBatch): void {
    for (const change of batch.changes) this.#applyOne(change);
  }

  #applyOne(change: Change): void {
    const isGone = change.action === 'remove';
    const { id } = change.object;
    switch (change.table) {
      case 'task':
        this.#taskChanged(change.previous, isGone ? undefined : change.object);
        break;
      case 'service':
        this.#serviceChanged(change.previous, isGone ? undefined : change.object);
        break;
      case 'network':
        this.#networkChanged(id, isGone ? undefined : change.object);
        break;
      case 'node':
        this.#nodeChanged(change.previous, isGone ? undefined : change.object);
        break;
      case 'secret':
        this.#usersTouched(this.#secrets, id, keyOf.secret(id));
        break;
      case 'config':
        this.#usersTouched(this.#configs, id, keyOf.config(id));
        break;
      case 'cluster':
        break; // no item: it goes with the session's update
      case 'autoscaling':
        break; // the leader's own memory: no host needs it
      default:
        unreachable(change);
    }
  }

  // ---- one item ----

  #isSeenBy(nodeId: string, { kind, first }: ParsedKey): boolean {
    switch (kind) {
      case 'task':
        return this.#view.get('task', first)?.nodeId === nodeId;
      case 'secret':
        return this.#secrets.has(nodeId, first);
      case 'config':
        return this.#configs.has(nodeId, first);
      case 'sampling':
        return this.#samplings.has(nodeId, first);
      case 'host':
        return this.#ingress.size > 0 || this.#networks.share(nodeId, first);
      default:
        return this.#ingress.has(first) || this.#networks.has(nodeId, first);
    }
  }

  #assignment(item: Item): AssignmentItem {
    const isDraining = item.$case === 'task' && this.#isDraining(item.value.id);
    return isDraining ? { item, draining: true } : { item };
  }

  #takesTraffic(nodeId: string): boolean {
    return takesTraffic(this.#view.get('node', nodeId));
  }

  #followedBy(nodeId: string): Set<string> {
    return new Set([...this.#ingress, ...this.#networks.thingsOf(nodeId)]);
  }

  *#keysOn(networkId: string): Generator<string> {
    yield keyOf.network(networkId);
    for (const id of this.#servicesOn.get(networkId) ?? []) yield keyOf.vip(networkId, id);
    for (const id of this.#tasksOn.get(networkId) ?? []) yield keyOf.endpoint(networkId, id);
  }

  // ---- changes ----

  #taskChanged(previous: Task | undefined, object: Task | undefined): void {
    const known = previous !== undefined && isKnown(previous) ? previous : undefined;
    const knows = object !== undefined && isKnown(object) ? object : undefined;
    if (knows !== undefined && (known === undefined || !sameAssignment(known, knows))) {
      this.#sink.touch(knows.nodeId, keyOf.task(knows.id));
    }
    if (known !== undefined && known.nodeId !== knows?.nodeId) {
      this.#sink.touch(known.nodeId, keyOf.task(known.id));
    }
    const before = known !== undefined && isHeld(known) ? known : undefined;
    const after = knows !== undefined && isHeld(knows) ? knows : undefined;
    if (!sameNeeds(before, after)) {
      // Taken before released: or a task that changed would let its node forget and relearn a network.
      if (after !== undefined) this.#hold(after, this.#sink);
      if (before !== undefined) this.#release(before, after);
    }
    this.#endpointsChanged(before, after);
  }

  #hold(task: Task, sink: TouchSink | undefined): void {
    const needs = needsOf(task);
    const { nodeId } = task;
    for (const id of needs.secrets) {
      if (this.#secrets.add(nodeId, id)) sink?.touch(nodeId, keyOf.secret(id));
    }
    for (const id of needs.configs) {
      if (this.#configs.add(nodeId, id)) sink?.touch(nodeId, keyOf.config(id));
    }
    this.#samplings.hold(task);
    for (const id of needs.networks) {
      member(this.#tasksOn, id, task.id);
      if (this.#networks.add(nodeId, id) && sink !== undefined) this.#followChanged(nodeId, id);
    }
  }

  /** `now`: the same task as it is held from now on, if it still is. */
  #release(task: Task, now: Task | undefined): void {
    const needs = needsOf(task);
    const still = now === undefined ? undefined : needsOf(now).networks;
    const { nodeId } = task;
    for (const id of needs.secrets) {
      if (this.#secrets.remove(nodeId, id)) this.#sink.touch(nodeId, keyOf.secret(id));
    }
    for (const id of needs.configs) {
      if (this.#configs.remove(nodeId, id)) this.#sink.touch(nodeId, keyOf.config(id));
    }
    if (now?.nodeId !== nodeId || now.serviceId !== task.serviceId) this.#samplings.release(task);
    for (const id of needs.networks) {
      if (this.#networks.remove(nodeId, id)) this.#followChanged(nodeId, id);
      if (still?.has(id) !== true) unmember(this.#tasksOn, id, task.id);
    }
  }

  /** The node began or ceased to have tasks on the network. */
  #followChanged(nodeId: string, networkId: string): void {
    if (this.#ingress.has(networkId)) return; // seen by all anyway
    for (const key of this.#keysOn(networkId)) this.#sink.touch(nodeId, key);
    for (const otherId of this.#networks.nodesOf(networkId)) {
      this.#sink.touch(nodeId, keyOf.host(otherId));
      this.#sink.touch(otherId, keyOf.host(nodeId));
    }
    this.#sink.touch(nodeId, keyOf.host(nodeId));
  }

  #endpointsChanged(before: Task | undefined, after: Task | undefined): void {
    const networks = new Set<string>();
    for (const { networkId } of before?.networks ?? []) networks.add(networkId);
    for (const { networkId } of after?.networks ?? []) networks.add(networkId);
    const taskId = after?.id ?? before?.id ?? '';
    for (const networkId of networks) {
      // Both judged with the node as it is now: if that changed too, it touches its endpoints itself.
      const face = (task: Task | undefined) =>
        task && endpointOf(task, networkId, this.#takesTraffic(task.nodeId));
      if (sameValue(face(before), face(after))) continue;
      this.#networkTouched(networkId, keyOf.endpoint(networkId, taskId));
    }
  }

  #serviceChanged(before: Service | undefined, after: Service | undefined): void {
    const was = new Set(networksWithVip(before));
    const is = new Set(networksWithVip(after));
    const serviceId = after?.id ?? before?.id ?? '';
    for (const networkId of new Set([...was, ...is])) {
      if (is.has(networkId)) member(this.#servicesOn, networkId, serviceId);
      else unmember(this.#servicesOn, networkId, serviceId);
      const network = this.#view.get('network', networkId);
      const face = (service: Service | undefined) => service && network && vipOf(service, network);
      if (network !== undefined && sameValue(face(before), face(after))) continue;
      this.#networkTouched(networkId, keyOf.vip(networkId, serviceId));
    }
    if (this.#samplings.changed(serviceId, before, after))
      this.#encoded.forget(keyOf.sampling(serviceId));
  }

  #networkChanged(id: string, after: Network | undefined): void {
    const wasIngress = this.#ingress.has(id);
    const nowIngress = isIngress(after);
    if (nowIngress) this.#ingress.add(id);
    if (wasIngress || nowIngress) {
      for (const key of this.#keysOn(id)) this.#allTouched(key);
      if (!nowIngress) this.#ingress.delete(id);
      if (wasIngress !== nowIngress) {
        for (const node of this.#view.all('node')) this.#allTouched(keyOf.host(node.id));
      }
      return;
    }
    this.#networkTouched(id, keyOf.network(id));
    // A network comes and goes with its VIPs in any order; names in aliases resolve by it.
    for (const serviceId of this.#servicesOn.get(id) ?? []) {
      this.#networkTouched(id, keyOf.vip(id, serviceId));
    }
  }

  #nodeChanged(before: Node | undefined, after: Node | undefined): void {
    const id = after?.id ?? before?.id ?? '';
    if (takesTraffic(before) !== takesTraffic(after)) {
      for (const task of this.#view.tasksOfNode(id)) {
        if (!isHeld(task)) continue;
        for (const { networkId } of task.networks) {
          this.#networkTouched(networkId, keyOf.endpoint(networkId, task.id));
        }
      }
    }
    if (sameValue(before && hostOf(before), after && hostOf(after))) return;
    // All, also those that do not see it: who saw it may have changed in the same commit, and hosts
    // come, go and move rarely.
    this.#allTouched(keyOf.host(id));
  }

  #usersTouched(needs: Needs, id: string, key: string): void {
    this.#encoded.forget(key);
    for (const nodeId of needs.nodesOf(id)) this.#sink.touch(nodeId, key);
  }

  #networkTouched(networkId: string, key: string): void {
    if (this.#ingress.has(networkId)) this.#allTouched(key);
    else this.#usersTouched(this.#networks, networkId, key);
  }

  #allTouched(key: string): void {
    this.#encoded.forget(key);
    this.#sink.touchAll(key);
  }
}

function sameNeeds(before: Task | undefined, after: Task | undefined): boolean {
  if (before === undefined || after === undefined) return before === after;
  const [was, is] = [before.spec?.container, after.spec?.container];
  return (
    before.nodeId === after.nodeId &&
    before.serviceId === after.serviceId &&
    sameValue(before.networks, after.networks) &&
    sameValue(was?.secrets, is?.secrets) &&
    sameValue(was?.configs, is?.configs)
  );
}

function member(sets: Map<string, Set<string>>, key: string, value: string): void {
  getOrMake(sets, key, () => new Set<string>()).add(value);
}

function unmember(sets: Map<string, Set<string>>, key: string, value: string): void {
  const set = sets.get(key);
  set?.delete(value);
  if (set?.size === 0) sets.delete(key);
}
