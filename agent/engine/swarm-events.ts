import type { WatchEvent } from '../../shared/gen/shoal/v1/control.ts';
import type { Autoscaling, Node, Service, StoreObject } from '../../shared/gen/shoal/v1/objects.ts';
import { replicasOf } from '../../shared/model/replicas.ts';
import type { NewEvent } from './events.ts';
import { availability } from './json/node.ts';
import type { ObjectKind } from './types.ts';

/** What `docker events` tells of the cluster. Tasks are not among it: their containers' events are. */
export const WATCHED_KINDS: readonly ObjectKind[] = [
  'service',
  'node',
  'network',
  'secret',
  'config',
  'autoscaling',
];

/** A change of the store as an event; undefined for changes that Docker has no event for. */
export function swarmEvent(change: WatchEvent): NewEvent | undefined {
  const kind = change.object?.kind ?? change.previous?.kind;
  if (kind === undefined) return undefined;
  if (kind.$case === 'task' || kind.$case === 'cluster') return undefined;
  if (kind.$case === 'autoscaling')
    return change.action === 'remove' ? undefined : scaled(kind.value);
  const name =
    kind.$case === 'node'
      ? (kind.value.description?.hostname ?? '')
      : (kind.value.spec?.name ?? '');
  return {
    type: kind.$case,
    action: change.action,
    actorId: kind.value.id,
    attributes: { name, ...differences(kind, change.previous?.kind) },
  };
}

/** Docker has no event of it: why the autoscaler gave its service another count. */
function scaled({ id, serviceName, records }: Autoscaling): NewEvent | undefined {
  const last = records.at(-1);
  if (last === undefined || last.held || last.from === last.to) return undefined;
  return {
    type: 'service',
    action: 'scale',
    actorId: id,
    attributes: {
      name: serviceName,
      'replicas.old': String(last.from),
      'replicas.new': String(last.to),
      reason: last.reason,
      message: last.message,
    },
  };
}

function differences(
  now: NonNullable<StoreObject['kind']>,
  before: StoreObject['kind'],
): Record<string, string> {
  if (now.$case === 'service' && before?.$case === 'service') {
    return changed(serviceFacts(before.value), serviceFacts(now.value));
  }
  if (now.$case === 'node' && before?.$case === 'node') {
    return changed(nodeFacts(before.value), nodeFacts(now.value));
  }
  return {};
}

function changed(before: Record<string, string>, now: Record<string, string>) {
  return Object.fromEntries(
    Object.keys(now)
      .filter((key) => before[key] !== now[key])
      .flatMap((key) => [
        [`${key}.new`, now[key] ?? ''],
        [`${key}.old`, before[key] ?? ''],
      ]),
  );
}

function serviceFacts({ spec, updateStatus }: Service): Record<string, string> {
  return {
    updatestate: updateStatus?.state ?? '',
    image: spec?.task?.container?.image ?? '',
    replicas: String(replicasOf(spec) ?? ''),
  };
}

const NODE_STATES = ['unknown', 'down', 'ready', 'disconnected'];

function nodeFacts({ spec, status, managerStatus }: Node): Record<string, string> {
  return {
    state: NODE_STATES[status?.state ?? 0] ?? '',
    availability: String(availability.encode(spec?.availability ?? 0)),
    leader: managerStatus?.leader === true ? 'true' : 'false',
  };
}
