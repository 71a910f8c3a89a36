import type { StoreObject } from '../../shared/gen/shoal/v1/objects.ts';
import type {
  ScaleDecision,
  StoreAction,
  TaskStatusChange,
} from '../../shared/gen/shoal/v1/store.ts';
import type { TableName, Tables } from './types.ts';

/**
 * Every table, in the order of snapshots and of the changes that a restore tells: what is referred
 * to comes before what refers to it.
 */
export const TABLE_NAMES = [
  'cluster',
  'node',
  'network',
  'secret',
  'config',
  'service',
  'task',
  'autoscaling',
] as const satisfies readonly TableName[];

const NAMED_TABLES = ['service', 'network', 'secret', 'config'] as const;
type NamedTable = (typeof NAMED_TABLES)[number];

export type AnyObject = Tables[TableName];

export function isTableName(word: string): word is TableName {
  return (TABLE_NAMES as readonly string[]).includes(word);
}

function isNamedTable(table: TableName): table is NamedTable {
  return (NAMED_TABLES as readonly string[]).includes(table);
}

/**
 * The name that only one object of the table may have; undefined for tables whose names are not
 * unique, and for an object without a name.
 */
export function uniqueName(table: TableName, object: AnyObject): string | undefined {
  if (!isNamedTable(table)) return undefined;
  return (object as Tables[NamedTable]).spec?.name || undefined;
}

export function toStoreObject<K extends TableName>(table: K, object: Tables[K]): StoreObject {
  // The compiler cannot see that a table and its object belong together once K is generic.
  return { kind: { $case: table, value: object } as unknown as NonNullable<StoreObject['kind']> };
}

// ---- actions --------------------------------------------------------------------------------

/** Refused (`already-exists`) when the id or the unique name is taken. */
export function createAction<K extends TableName>(table: K, object: Tables[K]): StoreAction {
  return { action: { $case: 'create', value: toStoreObject(table, object) } };
}

/**
 * The object as it shall be. `object.meta.version` names the version it was read at: another one
 * stored refuses the whole transaction (`out-of-sequence`). `{ ...read, field: changed }` does it.
 */
export function updateAction<K extends TableName>(table: K, object: Tables[K]): StoreAction {
  return { action: { $case: 'update', value: toStoreObject(table, object) } };
}

/** `version` 0 removes whatever is stored; an object that is gone refuses (`not-found`). */
export function removeAction(table: TableName, id: string, version = 0): StoreAction {
  return { action: { $case: 'remove', value: { kind: table, id, version } } };
}

/** Applied when it moves the task forward, dropped otherwise: never a conflict. */
export function taskStatusAction(
  taskId: string,
  status: NonNullable<TaskStatusChange['status']>,
): StoreAction {
  return { action: { $case: 'taskStatus', value: { taskId, status } } };
}

/** Put to the end of the service's log, dropped when the service is gone: never a conflict. */
export function scaleDecisionAction(decision: ScaleDecision): StoreAction {
  return { action: { $case: 'scaleDecision', value: decision } };
}

/** Applied when it moves the task toward stop, dropped otherwise: never a conflict. */
export function taskDesiredStateAction(
  taskId: string,
  desiredState: Tables['task']['desiredState'],
): StoreAction {
  return { action: { $case: 'taskDesiredState', value: { taskId, desiredState } } };
}
