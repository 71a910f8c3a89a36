import type { ListRequest, ServiceStatusCount } from '../../shared/gen/shoal/v1/control.ts';
import {
  NodeState,
  type Service,
  type Task,
  TaskState,
} from '../../shared/gen/shoal/v1/objects.ts';
import { replicasOf } from '../../shared/model/replicas.ts';
import { isUpToDate } from '../../shared/model/spec-change.ts';
import { isWanted } from '../../shared/model/task-state.ts';
import type { ReadView, Tables } from '../store/types.ts';
import { displayName, type Kind } from './find.ts';
import { invalid } from './refuse.ts';

const MODE_WORDS: Readonly<Record<string, string>> = {
  replicated: 'replicated',
  global: 'global',
  replicatedJob: 'replicated-job',
  globalJob: 'global-job',
};

/** The objects that pass all filters of the request, sorted by id. */
export function listObjects<K extends Kind>(
  view: ReadView,
  kind: K,
  request: ListRequest,
): Tables[K][] {
  checkFilters(kind, request);
  const tests = [...commonTests(kind, request), ...ownTests(view, kind, request)];
  const found: Tables[K][] = [];
  for (const object of candidates(view, kind, request)) {
    if (tests.every((test) => test(object))) found.push(object);
  }
  return found.sort((a, b) => (a.id < b.id ? -1 : 1));
}

/**
 * How many tasks run and how many shall. A task on a host that is down is not known to run; one that
 * was told to stop no longer counts.
 */
export function countTasks(view: ReadView, service: Service): ServiceStatusCount {
  let [runningTasks, wantedTasks, completedTasks] = [0, 0, 0];
  for (const task of view.tasksOfService(service.id)) {
    const state = task.status?.state ?? TaskState.NEW;
    if (state === TaskState.COMPLETE) completedTasks += 1;
    if (!isWanted(task.desiredState)) continue;
    wantedTasks += 1;
    const down = view.get('node', task.nodeId)?.status?.state === NodeState.DOWN;
    if (state === TaskState.RUNNING && !down) runningTasks += 1;
  }
  // A global service wants what its orchestrator made: one on each node that may have it.
  const desiredTasks = replicasOf(service.spec) ?? wantedTasks;
  return { runningTasks, desiredTasks, completedTasks };
}

/** Filters by index where there is one, so that `service ps` does not cost the whole cluster. */
function candidates<K extends Kind>(
  view: ReadView,
  kind: K,
  { serviceIds, nodeIds }: ListRequest,
): Iterable<Tables[K]> {
  const byIndex = (ids: readonly string[], tasksOf: (id: string) => Iterable<Task>) =>
    [...new Set(ids)].flatMap((id) => [...tasksOf(id)]) as Iterable<unknown> as Tables[K][];
  if (kind !== 'task') return view.all(kind);
  if (serviceIds.length > 0) return byIndex(serviceIds, (id) => view.tasksOfService(id));
  if (nodeIds.length > 0) return byIndex(nodeIds, (id) => view.tasksOfNode(id));
  return view.all(kind);
}

type Test<K extends Kind> = (object: Tables[K]) => boolean;

function commonTests<K extends Kind>(kind: K, request: ListRequest): Test<K>[] {
  const { ids, names, exactNames, labels } = request;
  const tests: Test<K>[] = [];
  if (ids.length > 0) tests.push(({ id }) => ids.some((prefix) => id.startsWith(prefix)));
  if (names.length > 0) {
    tests.push((object) => names.some((prefix) => displayName(kind, object).startsWith(prefix)));
  }
  if (exactNames.length > 0) {
    tests.push((object) => exactNames.includes(displayName(kind, object)));
  }
  if (labels.length > 0) tests.push((object) => hasLabels(labelsOf(kind, object), labels));
  return tests;
}

function ownTests<K extends Kind>(view: ReadView, kind: K, request: ListRequest): Test<K>[] {
  const tests = {
    task: () => taskTests(view, request),
    node: () => nodeTests(request),
    service: () => serviceTests(request),
    network: () => [],
    secret: () => [],
    config: () => [],
  } satisfies { [T in Kind]: () => Test<T>[] };
  // The compiler cannot follow that tests[kind] takes objects of `kind`.
  return tests[kind]() as unknown as Test<K>[];
}

function taskTests(view: ReadView, request: ListRequest): Test<'task'>[] {
  const { serviceIds, nodeIds, desiredStates, upToDate } = request;
  const tests: Test<'task'>[] = [];
  if (serviceIds.length > 0) tests.push(({ serviceId }) => serviceIds.includes(serviceId));
  if (nodeIds.length > 0) tests.push(({ nodeId }) => nodeIds.includes(nodeId));
  if (desiredStates.length > 0) {
    tests.push(({ desiredState }) => desiredStates.includes(desiredState));
  }
  if (upToDate) {
    tests.push((task) => {
      const service = view.get('service', task.serviceId);
      return service !== undefined && isUpToDate(task, service);
    });
  }
  return tests;
}

function nodeTests({ roles, nodeLabels }: ListRequest): Test<'node'>[] {
  const tests: Test<'node'>[] = [];
  if (roles.length > 0) tests.push(({ spec }) => spec !== undefined && roles.includes(spec.role));
  if (nodeLabels.length > 0) tests.push(({ spec }) => hasLabels(spec?.labels ?? {}, nodeLabels));
  return tests;
}

function serviceTests({ modes }: ListRequest): Test<'service'>[] {
  if (modes.length === 0) return [];
  return [({ spec }) => modes.includes(MODE_WORDS[spec?.mode?.$case ?? ''] ?? '')];
}

/** What Docker's `label` filter looks at: of nodes the engine's labels, of tasks their service's. */
function labelsOf<K extends Kind>(kind: K, object: Tables[K]): Readonly<Record<string, string>> {
  if (kind === 'node') return (object as Tables['node']).description?.engineLabels ?? {};
  if (kind === 'task') return (object as Tables['task']).serviceLabels;
  return (object as Tables['service' | 'network' | 'secret' | 'config']).spec?.labels ?? {};
}

function hasLabels(labels: Readonly<Record<string, string>>, wanted: readonly string[]): boolean {
  return wanted.every((text) => {
    const equals = text.indexOf('=');
    const key = equals < 0 ? text : text.slice(0, equals);
    if (!Object.hasOwn(labels, key)) return false;
    return equals < 0 || labels[key] === text.slice(equals + 1);
  });
}

/** A filter that a kind does not know would be passed by everything: better say so. */
function checkFilters(kind: Kind, request: ListRequest): void {
  const only = {
    serviceIds: ['task'],
    nodeIds: ['task'],
    desiredStates: ['task'],
    modes: ['service'],
    roles: ['node'],
    nodeLabels: ['node'],
  } as const;
  for (const [filter, kinds] of Object.entries(only)) {
    const given = request[filter as keyof typeof only].length > 0;
    if (given && !(kinds as readonly string[]).includes(kind)) {
      throw invalid(`invalid filter '${filter}': it is for ${kinds.join(', ')}, not for ${kind}`);
    }
  }
  if (request.upToDate && kind !== 'task') {
    throw invalid(`invalid filter 'upToDate': it is for task, not for ${kind}`);
  }
}
