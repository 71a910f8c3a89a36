import type {
  AssignmentItem,
  Assignments,
  Sampling,
} from '../../shared/gen/shoal/v1/dispatcher.ts';
import type { Config, Secret, Task } from '../../shared/gen/shoal/v1/objects.ts';
import type { NetworkView } from '../network/types.ts';

type Item = NonNullable<AssignmentItem['item']>;
type Case = Item['$case'];
type Values = { [C in Case]: Extract<Item, { $case: C }>['value'] };

/** What one message changed: tasks by id, and whether the network view is another one now. */
export type AssignmentDiff = Readonly<{
  tasks: readonly Task[];
  removedTasks: readonly string[];
  networkChanged: boolean;
}>;

/** Nor do they lie on a disk: two are for no other eyes, and nothing is measured without a manager to tell. */
const NOT_OF_NETWORKS = /^(secret|config|sampling)\//;

/**
 * All a node was told, by key. Two sets with the same keys and items are equal, whatever the messages
 * they came from.
 */
export class AssignmentSet {
  #items = new Map<string, AssignmentItem>();
  #revision = 0;

  get revision(): number {
    return this.#revision;
  }

  /** Applies a whole (joined) complete set, or one incremental message. */
  apply(message: Assignments): AssignmentDiff {
    const before = message.complete ? this.#items : undefined;
    if (message.complete) this.#items = new Map();
    const tasks: Task[] = [];
    const removedTasks: string[] = [];
    let networkChanged = message.complete;
    for (const { key, item } of message.changes) {
      if (item === undefined) this.#items.delete(key);
      else this.#items.set(key, item);
      if (!key.startsWith('task/')) {
        networkChanged ||= !NOT_OF_NETWORKS.test(key);
      } else if (item?.item?.$case === 'task') {
        tasks.push(item.item.value);
      } else {
        removedTasks.push(key.slice('task/'.length));
      }
    }
    for (const key of before?.keys() ?? []) {
      if (key.startsWith('task/') && !this.#items.has(key)) {
        removedTasks.push(key.slice('task/'.length));
      }
    }
    // The view carries the revision, so it is another one even when none of its items changed.
    networkChanged ||= message.revision !== this.#revision;
    this.#revision = message.revision;
    return { tasks, removedTasks, networkChanged };
  }

  tasks(): Task[] {
    return this.#all('task').map(([, task]) => task);
  }

  /** Whether some host may still send the task new connections. */
  isDraining(taskId: string): boolean {
    return this.#items.get(`task/${taskId}`)?.draining === true;
  }

  secret(id: string): Secret | undefined {
    return this.#get('secret', `secret/${id}`);
  }

  config(id: string): Config | undefined {
    return this.#get('config', `config/${id}`);
  }

  /** What is to be measured, by service. */
  samplings(): ReadonlyMap<string, Sampling> {
    return new Map(this.#all('sampling'));
  }

  networkName(id: string): string {
    return this.#get('network', `network/${id}`)?.spec?.name ?? id;
  }

  view(nodeId: string, dataPathPort: number): NetworkView {
    return {
      revision: this.#revision,
      nodeId,
      dataPathPort,
      networks: new Map(this.#all('network')),
      vips: new Map(this.#all('vip')),
      endpoints: new Map(this.#all('endpoint')),
      hosts: new Map(this.#all('host')),
    };
  }

  /**
   * The set as one complete message that may lie on a disk: without secrets and configs, without registry
   * credentials, and without what holds for moments only.
   */
  forDisk(): Assignments {
    const changes = [...this.#items]
      .filter(([key]) => !NOT_OF_NETWORKS.test(key))
      .map(([key, item]) => ({ key, item: forDisk(item) }));
    return {
      complete: true,
      appliesTo: 0,
      resultsIn: 0,
      revision: this.#revision,
      changes,
      more: false,
    };
  }

  #get<C extends Case>(kind: C, key: string): Values[C] | undefined {
    const item = this.#items.get(key)?.item;
    return item?.$case === kind ? (item.value as Values[C]) : undefined;
  }

  /** Items of a kind under their key without the kind's prefix. */
  #all<C extends Case>(kind: C): [string, Values[C]][] {
    const found: [string, Values[C]][] = [];
    for (const [key, { item }] of this.#items) {
      if (item?.$case === kind) found.push([key.slice(kind.length + 1), item.value as Values[C]]);
    }
    return found;
  }
}

function forDisk(item: AssignmentItem): AssignmentItem {
  if (item.item?.$case !== 'task') return item;
  const task = item.item.value;
  const container = task.spec?.container;
  if (task.spec === undefined || container === undefined || container.registryAuth === '')
    return { item: item.item };
  const spec = { ...task.spec, container: { ...container, registryAuth: '' } };
  return { item: { $case: 'task', value: { ...task, spec } } };
}
