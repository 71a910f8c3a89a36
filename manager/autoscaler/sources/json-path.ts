import { ShoalError } from '../../../shared/errors.ts';

/** A member of an object, or an index into an array; -1 is its last element. */
export type PathStep = string | number;

/**
 * Parses a way into a JSON document: names separated by dots, indexes in brackets, and names in brackets and double
 * quotes where they hold dots or brackets: `items[0].count`, `["queue.depth"].now`, `[-1]`. Empty: the document itself.
 * Throws ShoalError `invalid-argument` that tells the place (counted from 1) and what was expected there.
 */
export function parseJsonPath(path: string): PathStep[] {
  const steps: PathStep[] = [];
  let at = 0;
  while (at < path.length) {
    if (path[at] === '[') {
      const [text, index, name] =
        /^\[(?:(-?\d{1,9})|("(?:[^"\\]|\\.)*"))\]/.exec(path.slice(at)) ?? [];
      if (text === undefined) throw wrong(path, at + 1, 'an index or a quoted name and "]"');
      steps.push(index === undefined ? unquote(name ?? '', path, at + 1) : Number(index));
      at += text.length;
      continue;
    }
    if (at > 0) {
      if (path[at] !== '.') throw wrong(path, at, '"." or "["');
      at += 1;
    }
    const [name] = /^[^.[\]"\s]+/.exec(path.slice(at)) ?? [];
    if (name === undefined) throw wrong(path, at, 'a name');
    steps.push(name);
    at += name.length;
  }
  return steps;
}

/**
 * The number at the end of the path: a number, or a string that holds nothing but one. Throws ShoalError
 * `failed-precondition` that tells how far the document can be followed.
 */
export function numberAt(document: unknown, steps: readonly PathStep[]): number {
  let here = document;
  let way = '';
  for (const step of steps) {
    const next = stepInto(here, step);
    const name = typeof step === 'number' ? `[${step}]` : `${way === '' ? '' : '.'}${step}`;
    if (next === undefined) {
      const where = way === '' ? 'the answer' : way;
      throw new ShoalError(
        'failed-precondition',
        `${where} is ${kindOf(here)} without ${name.replace(/^\./, '')}`,
      );
    }
    here = next;
    way += name;
  }
  const value = typeof here === 'string' && NUMBER.test(here.trim()) ? Number(here) : here;
  if (typeof value !== 'number') {
    const where = way === '' ? 'the answer' : way;
    throw new ShoalError('failed-precondition', `${where} is ${kindOf(here)}, and no number`);
  }
  return value;
}

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;

/** Undefined when there is nothing; what is inherited (`constructor`) is nothing. */
function stepInto(here: unknown, step: PathStep): unknown {
  if (Array.isArray(here)) return typeof step === 'number' ? here.at(step) : undefined;
  if (typeof here !== 'object' || here === null || typeof step === 'number') return undefined;
  return Object.hasOwn(here, step) ? (here as Record<string, unknown>)[step] : undefined;
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return `an array of ${value.length}`;
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

function unquote(quoted: string, path: string, at: number): string {
  try {
    return String(JSON.parse(quoted));
  } catch {
    throw wrong(path, at, 'a name that is quoted as in JSON');
  }
}

function wrong(path: string, at: number, expected: string): ShoalError {
  const found = at < path.length ? JSON.stringify(path[at]) : 'the end';
  return new ShoalError(
    'invalid-argument',
    `path ${JSON.stringify(path.slice(0, 100))}: expected ${expected} at place ${at + 1}, found ${found}`,
  );
}
