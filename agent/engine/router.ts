import type { Handler } from './http.ts';

/** `GET /services/{id}/logs`; `{name*}` also takes slashes, as image names have them. */
export type Route = readonly [pattern: string, handler: Handler];

export type Match = Readonly<{ handler: Handler; params: Readonly<Record<string, string>> }>;

type Compiled = Readonly<{ expression: RegExp; names: readonly string[]; handler: Handler }>;

/**
 * Finds the handler of a request. Routes are kept by method and first part of the path, in the
 * order given: of several that match the first is taken, so longer suffixes come first.
 */
export class Router {
  readonly #routes = new Map<string, Compiled[]>();

  constructor(routes: readonly Route[]) {
    for (const [pattern, handler] of routes) {
      const [method = '', path = ''] = pattern.split(' ');
      const key = keyOf(method, path);
      const compiled = this.#routes.get(key) ?? [];
      compiled.push({ ...compile(path), handler });
      this.#routes.set(key, compiled);
    }
  }

  find(method: string, path: string): Match | undefined {
    for (const { expression, names, handler } of this.#routes.get(keyOf(method, path)) ?? []) {
      const match = expression.exec(path);
      if (match === null) continue;
      const params: Record<string, string> = {};
      names.forEach((name, index) => {
        params[name] = decoded(match[index + 1] ?? '');
      });
      return { handler, params };
    }
    return undefined;
  }
}

function keyOf(method: string, path: string): string {
  return `${method} ${path.split('/', 2)[1] ?? ''}`;
}

function compile(path: string): { expression: RegExp; names: string[] } {
  const names: string[] = [];
  const source = path
    .replace(/[.]/g, '\\.')
    .replace(/\{(\w+)(\*?)\}/g, (_, name: string, greedy: string) => {
      names.push(name);
      return greedy === '*' ? '(.+)' : '([^/]+)';
    });
  return { expression: new RegExp(`^${source}$`), names };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // A stray % is part of a name that nothing has.
  }
}
