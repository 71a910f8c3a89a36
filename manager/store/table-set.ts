import type { Task } from '../../shared/gen/shoal/v1/objects.ts';
import { type AnyObject, uniqueName } from './tables.ts';
import type { Change, TableName, Tables } from './types.ts';

type Maps = { [K in TableName]: Map<string, Tables[K]> };

/**
 * The objects and their indexes, as plain maps: a read is a lookup, a commit costs what it changes.
 * Iteration order is not part of the state (a restored replica has another one than a replica that
 * saw every entry): whoever decides by order sorts first.
 */
export class TableSet {
  readonly #maps: Maps = {
    cluster: new Map(),
    node: new Map(),
    network: new Map(),
    secret: new Map(),
    config: new Map(),
    service: new Map(),
    task: new Map(),
    autoscaling: new Map(),
  };
  /** Name to id, of the tables whose names are unique. */
  readonly #names = new Map<TableName, Map<string, string>>();
  /** Hostnames are not unique: all ids, so that the answer does not depend on who came first. */
  readonly #hostnames = new Map<string, Set<string>>();
  readonly #tasksOfService = new Map<string, Map<string, Task>>();
  readonly #tasksOfNode = new Map<string, Map<string, Task>>();

  get<K extends TableName>(table: K, id: string): Tables[K] | undefined {
    return this.#maps[table].get(id);
  }

  all<K extends TableName>(table: K): Iterable<Tables[K]> {
    return this.#maps[table].values();
  }

  count(table: TableName): number {
    return this.#maps[table].size;
  }

  idOfName(table: TableName, name: string): string | undefined {
    if (table !== 'node') return this.#names.get(table)?.get(name);
    const ids = this.#hostnames.get(name);
    return ids === undefined ? undefined : [...ids].sort()[0];
  }

  tasksOfService(serviceId: string): Iterable<Task> {
    return this.#tasksOfService.get(serviceId)?.values() ?? [];
  }

  tasksOfNode(nodeId: string): Iterable<Task> {
    return this.#tasksOfNode.get(nodeId)?.values() ?? [];
  }

  /** Carries out changes that were checked before. */
  commit(changes: readonly Change[]): void {
    // Names first go, then come: a name may pass from one object to another in one transaction.
    for (const change of changes) {
      if (change.previous !== undefined && !keepsIndexes(change)) {
        this.#unindex(change.table, change.previous);
      }
    }
    for (const { action, table, object } of changes) {
      if (action === 'remove') this.#maps[table].delete(object.id);
      else this.put(table, object);
    }
  }

  /** Stores an object that is new here; `commit` is the way to replace one. */
  put(table: TableName, object: AnyObject): void {
    (this.#maps[table] as Map<string, AnyObject>).set(object.id, object);
    this.#index(table, object);
  }

  /** All objects of one table as they are now, in no order. */
  copy(table: TableName): AnyObject[] {
    return [...this.#maps[table].values()];
  }

  #index(table: TableName, object: AnyObject): void {
    const name = uniqueName(table, object);
    if (name !== undefined) getOrAdd(this.#names, table, newNames).set(name, object.id);
    if (table === 'node') {
      const hostname = (object as Tables['node']).description?.hostname;
      if (hostname) getOrAdd(this.#hostnames, hostname, () => new Set<string>()).add(object.id);
    }
    if (table === 'task') {
      const task = object as Task;
      for (const [index, key] of this.#taskIndexes(task)) {
        if (key !== '') getOrAdd(index, key, () => new Map<string, Task>()).set(task.id, task);
      }
    }
  }

  #unindex(table: TableName, object: AnyObject): void {
    const name = uniqueName(table, object);
    if (name !== undefined) this.#names.get(table)?.delete(name);
    if (table === 'node') {
      const hostname = (object as Tables['node']).description?.hostname ?? '';
      const ids = this.#hostnames.get(hostname);
      ids?.delete(object.id);
      if (ids?.size === 0) this.#hostnames.delete(hostname);
    }
    if (table === 'task') {
      for (const [index, key] of this.#taskIndexes(object as Task)) {
        const tasks = index.get(key);
        tasks?.delete(object.id);
        if (tasks?.size === 0) index.delete(key);
      }
    }
  }

  #taskIndexes(task: Task): [Map<string, Map<string, Task>>, string][] {
    return [
      [this.#tasksOfService, task.serviceId],
      [this.#tasksOfNode, task.nodeId],
    ];
  }
}

/** Most changes are reports about tasks that stay where they are: those only replace the value. */
function keepsIndexes(change: Change): boolean {
  return (
    change.table === 'task' &&
    change.action === 'update' &&
    change.object.serviceId === change.previous?.serviceId &&
    change.object.nodeId === change.previous.nodeId
  );
}

const newNames = () => new Map<string, string>();

function getOrAdd<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}
