import { ShoalError } from '../../shared/errors.ts';
import { isObject } from './codec.ts';
import { HttpError } from './http.ts';

/** Values by filter name. Values of one name: any (labels: all); names: all. */
export type Filters = ReadonlyMap<string, readonly string[]>;

/**
 * Reads `filters=` in both encodings, `{"label":["a=b"]}` and `{"label":{"a=b":true}}`. Names
 * outside `known` are refused, as silently ignoring one would show too much, or prune it.
 */
export function parseFilters(query: URLSearchParams, known: readonly string[]): Filters {
  const raw = query.get('filters');
  if (raw === null || raw === '') return new Map();
  let parsed: unknown;
  try {
    parsed = JSON.parse(raw);
  } catch (cause) {
    throw new ShoalError('invalid-argument', `invalid filter: not JSON: ${raw.slice(0, 100)}`, {
      cause,
    });
  }
  if (parsed === null) return new Map();
  if (!isObject(parsed)) throw new ShoalError('invalid-argument', 'invalid filter: not an object');
  const filters = new Map<string, string[]>();
  for (const [name, values] of Object.entries(parsed)) {
    if (!known.includes(name)) throw new HttpError(400, `invalid filter '${name}'`);
    const list = valuesOf(name, values);
    if (list.length > 0) filters.set(name, list);
  }
  return filters;
}

function valuesOf(name: string, values: unknown): string[] {
  if (values === null) return [];
  const list = isObject(values)
    ? Object.entries(values).flatMap(([value, wanted]) => (wanted === false ? [] : [value]))
    : values;
  if (!Array.isArray(list) || !list.every((value) => typeof value === 'string')) {
    throw new ShoalError('invalid-argument', `invalid filter: values of '${name}' must be strings`);
  }
  return list;
}

/** The values of a filter; none when it was not given. */
export function valuesIn(filters: Filters, name: string): string[] {
  return [...(filters.get(name) ?? [])];
}

/** A filter that is given once and says yes or no. */
export function booleanIn(filters: Filters, name: string): boolean | undefined {
  const [value] = filters.get(name) ?? [];
  if (value === undefined) return undefined;
  if (['1', 'true', 'True', 't'].includes(value)) return true;
  if (['0', 'false', 'False', 'f'].includes(value)) return false;
  throw new HttpError(400, `invalid filter '${name}=[${value}]'`);
}

/** True when no label filter was given, or all given ones (`key` or `key=value`) hold. */
export function labelsMatch(
  filters: Filters,
  labels: Readonly<Record<string, string>>,
  name = 'label',
): boolean {
  return valuesIn(filters, name).every((wanted) => {
    const equals = wanted.indexOf('=');
    if (equals < 0) return Object.hasOwn(labels, wanted);
    const key = wanted.slice(0, equals);
    return Object.hasOwn(labels, key) && labels[key] === wanted.slice(equals + 1);
  });
}

/** True when the filter was not given, or any of its values satisfies `accepts`. */
export function anyOf(
  filters: Filters,
  name: string,
  accepts: (value: string) => boolean,
): boolean {
  const values = filters.get(name);
  return values === undefined || values.some(accepts);
}
