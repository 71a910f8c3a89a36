import { taskName } from '../../shared/model/task-name.ts';
import type { ReadView, Tables } from '../store/types.ts';
import { invalid, notFound } from './refuse.ts';

/** Everything a client can name. */
const KINDS = ['node', 'service', 'task', 'network', 'secret', 'config'] as const;
export type Kind = (typeof KINDS)[number];

/** What a watch may tell beside them. */
const WATCHED_KINDS = [...KINDS, 'autoscaling'] as const;
type WatchedKind = (typeof WATCHED_KINDS)[number];

export function parseWatchedKind(word: string): WatchedKind {
  return oneOf(word, WATCHED_KINDS);
}

export function parseKind(word: string): Kind {
  return oneOf(word, KINDS);
}

function oneOf<K extends string>(word: string, kinds: readonly K[]): K {
  const kind = kinds.find((one) => one === word);
  if (kind === undefined) {
    throw invalid(`kind ${JSON.stringify(word)} is unknown: expected one of ${kinds.join(', ')}`);
  }
  return kind;
}

/**
 * Docker's order: full id, then exact name (a node's hostname), then a prefix of one id only.
 * Throws ShoalError `not-found`, or `invalid-argument` when several ids begin so.
 */
export function find<K extends Kind>(view: ReadView, kind: K, reference: string): Tables[K] {
  if (reference === '') throw invalid(`the id or name of the ${kind} is missing`);
  const exact = view.get(kind, reference) ?? view.byName(kind, reference);
  if (exact !== undefined) return exact;
  const [first, second] = view.byIdPrefix(kind, reference, 2);
  if (first === undefined) throw notFound(kind, reference);
  if (second !== undefined) {
    throw invalid(`${kind} ${reference} is ambiguous: multiple IDs found with provided prefix`);
  }
  return first;
}

/** The name a list's `name` filter looks at. */
export function displayName<K extends Kind>(kind: K, object: Tables[K]): string {
  switch (kind) {
    case 'node':
      return (object as Tables['node']).description?.hostname ?? '';
    case 'task':
      return taskName(object as Tables['task']);
    default:
      return (object as Tables['service' | 'network' | 'secret' | 'config']).spec?.name ?? '';
  }
}
