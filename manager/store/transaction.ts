import type {
  Autoscaling,
  Meta,
  Service,
  StoreObject,
  Task,
} from '../../shared/gen/shoal/v1/objects.ts';
import type {
  ObjectRef,
  ScaleDecision,
  StoreAction,
  StoreTransaction,
} from '../../shared/gen/shoal/v1/store.ts';
import { sameValue } from '../../shared/model/equal.ts';
import { withRecord } from './scale-log.ts';
import { type AnyObject, isTableName, uniqueName } from './tables.ts';
import { forbiddenTaskChange, statusMovesForward } from './task-rules.ts';
import type { Change, TableName, Tables } from './types.ts';

/** What a transaction is checked against. */
export interface TransactionBase {
  get<K extends TableName>(table: K, id: string): Tables[K] | undefined;
  count(table: TableName): number;
  idOfName(table: TableName, name: string): string | undefined;
}

/** Why nothing of a transaction was applied; the same on every replica. */
export type Rejection = Readonly<{
  kind: 'rejected';
  code:
    | 'already-exists'
    | 'not-found'
    | 'out-of-sequence'
    | 'failed-precondition'
    | 'invalid-argument';
  message: string;
}>;
export type Evaluation = Readonly<{ kind: 'accepted'; changes: readonly Change[] }> | Rejection;

/**
 * Checks all actions in order, each seeing those before it, and returns the net change of each
 * object in the order they were touched first; nothing is changed here. `index` becomes the version
 * of what was written. Several updates of one object in a transaction all name the version from
 * before the transaction (0 when the transaction itself created it). Depends on its arguments only.
 */
export function evaluate(
  base: TransactionBase,
  transaction: StoreTransaction,
  index: number,
): Evaluation {
  const draft = new Draft(base, index, transaction.atMs);
  for (const action of transaction.actions) {
    const rejection = draft.take(action);
    if (rejection !== undefined) return rejection;
  }
  return { kind: 'accepted', changes: draft.changes() };
}

type Entry = {
  table: TableName;
  before: AnyObject | undefined;
  now: AnyObject | undefined;
};

class Draft {
  readonly #base: TransactionBase;
  readonly #index: number;
  readonly #atMs: number;
  readonly #entries = new Map<string, Entry>();
  /** Owners of names that this transaction touched; undefined: the name is free. */
  readonly #names = new Map<string, string | undefined>();
  #clusters: number;

  constructor(base: TransactionBase, index: number, atMs: number) {
    this.#base = base;
    this.#index = index;
    this.#atMs = atMs;
    this.#clusters = base.count('cluster');
  }

  take({ action }: StoreAction): Rejection | undefined {
    switch (action?.$case) {
      case 'create':
        return this.#create(action.value);
      case 'update':
        return this.#update(action.value);
      case 'remove':
        return this.#remove(action.value);
      case 'taskStatus': {
        const { taskId, status } = action.value;
        const task = this.#get('task', taskId);
        if (task && status && statusMovesForward(task.status, status)) {
          this.#put('task', { ...task, status, meta: this.#metaAfter(task) });
        }
        return undefined;
      }
      case 'taskDesiredState': {
        const { taskId, desiredState } = action.value;
        const task = this.#get('task', taskId);
        if (task && desiredState > task.desiredState) {
          this.#put('task', { ...task, desiredState, meta: this.#metaAfter(task) });
        }
        return undefined;
      }
      case 'scaleDecision':
        this.#decided(action.value);
        return undefined;
      case undefined:
        // Written by a newer version: to skip it would let replicas drift apart in silence.
        throw new TypeError('Cannot apply an entry with an action that this version does not know');
    }
  }

  changes(): Change[] {
    const changes: Change[] = [];
    for (const { table, before, now } of this.#entries.values()) {
      if (before === now) continue;
      if (now === undefined) {
        changes.push({ action: 'remove', table, object: before, previous: before } as Change);
      } else {
        const action = before === undefined ? 'create' : 'update';
        changes.push({ action, table, object: now, previous: before } as Change);
      }
    }
    return changes;
  }

  #create({ kind }: StoreObject): Rejection | undefined {
    if (kind === undefined) return reject('invalid-argument', 'the object to create is missing');
    const { $case: table, value: object } = kind;
    if (object.id === '') return reject('invalid-argument', `${table} to create has no id`);
    if (this.#get(table, object.id) !== undefined) {
      return reject('already-exists', `${table} ${object.id} already exists`);
    }
    if (table === 'cluster' && this.#clusters > 0) {
      return reject('already-exists', 'the cluster object already exists');
    }
    const rejection = this.#claimName(table, undefined, object);
    if (rejection !== undefined) return rejection;
    if (table === 'cluster') this.#clusters += 1;
    const created = { ...object, meta: this.#metaAfter(undefined) };
    this.#put(table, table === 'task' ? this.#shared(created as Task) : created);
    return undefined;
  }

  #shared(task: Task): Task {
    return shareWithService(task, this.#get('service', task.serviceId));
  }

  #update({ kind }: StoreObject): Rejection | undefined {
    if (kind === undefined) return reject('invalid-argument', 'the object to update is missing');
    const { $case: table, value: object } = kind;
    const stored = this.#get(table, object.id);
    if (stored === undefined) return reject('not-found', `${table} ${object.id} not found`);
    if ((object.meta?.version ?? 0) !== this.#versionBefore(table, object.id)) return outOfSequence;
    if (table === 'task') {
      const forbidden = forbiddenTaskChange(stored as Task, object);
      if (forbidden !== undefined) return reject('failed-precondition', forbidden);
    }
    const rejection = this.#claimName(table, stored, object);
    if (rejection !== undefined) return rejection;
    const meta = this.#metaAfter(stored);
    const shared = shareContent<AnyObject>(stored, { ...object, meta });
    this.#put(table, shared);
    return undefined;
  }

  #decided({ serviceId: id, record, serviceName, memory, setReplicas }: ScaleDecision): void {
    if (this.#get('service', id) === undefined) return;
    const stored = this.#get('autoscaling', id);
    const records = stored?.records ?? [];
    const object: Autoscaling = {
      id,
      meta: this.#metaAfter(stored),
      records: record === undefined ? records : withRecord(records, record),
      memory,
      setReplicas,
      serviceName,
    };
    this.#put('autoscaling', object);
  }

  #remove({ kind: table, id, version }: ObjectRef): Rejection | undefined {
    if (!isTableName(table)) return reject('invalid-argument', `there is no table "${table}"`);
    const stored = this.#get(table, id);
    if (stored === undefined) return reject('not-found', `${table} ${id} not found`);
    if (version !== 0 && version !== this.#versionBefore(table, id)) return outOfSequence;
    const name = uniqueName(table, stored);
    if (name !== undefined) this.#names.set(`${table}/${name}`, undefined);
    if (table === 'cluster') this.#clusters -= 1;
    this.#put(table, stored, true);
    return undefined;
  }

  #claimName(
    table: TableName,
    stored: AnyObject | undefined,
    object: AnyObject,
  ): Rejection | undefined {
    const [had, wants] = [stored && uniqueName(table, stored), uniqueName(table, object)];
    if (had === wants) return undefined;
    if (wants !== undefined) {
      const key = `${table}/${wants}`;
      const owner = this.#names.has(key) ? this.#names.get(key) : this.#base.idOfName(table, wants);
      if (owner !== undefined) return reject('already-exists', nameConflict(table, wants));
      this.#names.set(key, object.id);
    }
    if (had !== undefined) this.#names.set(`${table}/${had}`, undefined);
    return undefined;
  }

  #get<K extends TableName>(table: K, id: string): Tables[K] | undefined {
    const entry = this.#entries.get(`${table}/${id}`);
    return entry === undefined ? this.#base.get(table, id) : (entry.now as Tables[K] | undefined);
  }

  #put(table: TableName, object: AnyObject, removed = false): void {
    const key = `${table}/${object.id}`;
    const now = removed ? undefined : object;
    const entry = this.#entries.get(key);
    if (entry !== undefined) entry.now = now;
    else {
      const before = this.#base.get(table, object.id);
      this.#entries.set(key, { table, before, now });
    }
  }

  #versionBefore(table: TableName, id: string): number {
    return this.#base.get(table, id)?.meta?.version ?? 0;
  }

  #metaAfter(stored: AnyObject | undefined): Meta {
    const createdAtMs = stored?.meta?.createdAtMs ?? this.#atMs;
    return { version: this.#index, createdAtMs, updatedAtMs: this.#atMs };
  }
}

/**
 * The words Swarm's clients know. Secrets and configs have their own because `docker stack deploy`
 * and scripts look for them.
 */
export function nameConflict(table: TableName, name: string): string {
  const taken = `${table} ${name} already exists`;
  if (table === 'secret' || table === 'config') return taken;
  return `name conflicts with an existing object: ${taken}`;
}

/**
 * Keeps the fields of a decoded object that did not change from the stored one, so that a thousand
 * updates of a task do not keep a thousand copies of its spec alive, and equal often means `===`.
 */
function shareContent<T extends AnyObject>(stored: T, decoded: T): T {
  const shared: T = { ...decoded };
  for (const key in decoded) {
    const [had, has] = [stored[key], decoded[key]];
    if (typeof has === 'object' && has !== null && sameValue(had, has)) shared[key] = had;
  }
  return shared;
}

/** The same between a new task and its service: 100 replicas hold one spec, not 100. */
export function shareWithService(task: Task, service: Service | undefined): Task {
  if (service === undefined) return task;
  const candidates = [service.spec?.task, service.previousSpec?.task];
  const spec = candidates.find((candidate) => candidate && sameValue(candidate, task.spec));
  const labels = service.spec?.labels;
  const sameLabels = labels !== undefined && sameValue(labels, task.serviceLabels);
  if (spec === undefined && !sameLabels) return task;
  return {
    ...task,
    spec: spec ?? task.spec,
    serviceLabels: sameLabels ? labels : task.serviceLabels,
  };
}

const outOfSequence = reject('out-of-sequence', 'update out of sequence');

function reject(code: Rejection['code'], message: string): Rejection {
  return { kind: 'rejected', code, message };
}
