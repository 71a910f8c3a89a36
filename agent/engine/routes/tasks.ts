import type { ListRequest } from '../../../shared/gen/shoal/v1/control.ts';
import type { Task } from '../../../shared/gen/shoal/v1/objects.ts';
import { idForFilter } from '../control-access.ts';
import type { EngineDeps } from '../deps.ts';
import { booleanIn, type Filters, parseFilters, valuesIn } from '../filters.ts';
import { type Call, HttpError, json, type Reply } from '../http.ts';
import { taskJson, taskState } from '../json/task.ts';
import type { Route } from '../router.ts';
import type { ControlClient, Reads } from '../types.ts';

/** `_up-to-date` is in no documentation: the CLI polls with it while a service converges. */
const TASK_FILTERS = [
  'id',
  'name',
  'service',
  'node',
  'label',
  'desired-state',
  'runtime',
  '_up-to-date',
];

export function taskRoutes(deps: EngineDeps): Route[] {
  return [
    ['GET /tasks', (call) => list(deps, call)],
    [
      'GET /tasks/{id}',
      async ({ params, signal, reads }) => {
        const task = await deps.access.control(reads).get('task', params.id ?? '', signal);
        const [shown] = await tasksJson(deps, [task], reads);
        return json(shown);
      },
    ],
  ];
}

async function list(deps: EngineDeps, call: Call): Promise<Reply> {
  const filters = parseFilters(call.query, TASK_FILTERS);
  const control = deps.access.control(call.reads);
  const runtimes = valuesIn(filters, 'runtime');
  if (runtimes.length > 0 && !runtimes.includes('container')) return json([]);
  const request = await taskListRequest(filters, control);
  const { objects } = await control.list('task', request, call.signal);
  return json(await tasksJson(deps, objects, call.reads));
}

export async function taskListRequest(
  filters: Filters,
  control: ControlClient,
): Promise<Partial<ListRequest>> {
  const [serviceIds, nodeIds] = await Promise.all([
    Promise.all(valuesIn(filters, 'service').map((name) => idForFilter(control, 'service', name))),
    Promise.all(valuesIn(filters, 'node').map((name) => idForFilter(control, 'node', name))),
  ]);
  return {
    ids: valuesIn(filters, 'id'),
    names: valuesIn(filters, 'name'),
    labels: valuesIn(filters, 'label'),
    serviceIds,
    nodeIds,
    desiredStates: valuesIn(filters, 'desired-state').map(desiredState),
    upToDate: booleanIn(filters, '_up-to-date') ?? false,
  };
}

function desiredState(word: string) {
  if (!['running', 'shutdown', 'accepted', 'ready', 'complete', 'remove'].includes(word)) {
    throw new HttpError(
      400,
      `invalid desired-state filter '${word}': one of running, shutdown, accepted expected`,
    );
  }
  return taskState.decode(word, 'filter desired-state');
}

async function tasksJson(deps: EngineDeps, tasks: readonly Task[], reads: Reads) {
  const ids = new Set(tasks.flatMap((task) => task.networks.map(({ networkId }) => networkId)));
  const networkOf = await deps.access.networks(ids, reads);
  return tasks.map((task) => taskJson(task, networkOf));
}
