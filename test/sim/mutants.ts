import { type LoadHookContext, type ResolveHookContext, registerHooks } from 'node:module';
import { type Edit, MUTANTS, type Mutant } from './mutant-list.ts';
import { runRaft } from './raft-run.ts';
import type { Production } from './raft-world.ts';

const RAFT = new URL('../../manager/raft/', import.meta.url).href;
/** The core's own check of each Ready: out of the way, so that the simulation must notice by itself. */
const CONTRACT = {
  file: 'ready-contract.ts',
  find: 'check(ready: Ready): void {',
  replace: 'check(ready: Ready): void { if (ready !== undefined) return;',
} as const;
let loaded = 0;

/** The core and the sessions with a bug in them; see `loadEdited`. */
export async function loadMutant({
  name,
  edits,
}: Pick<Mutant, 'name' | 'edits'>): Promise<Production> {
  const all = [...edits, CONTRACT];
  const core = (await loadEdited(
    name,
    all.filter(({ file }) => file !== 'sessions.ts'),
    'core.ts',
  )) as typeof import('../../manager/raft/core.ts');
  const { Sessions } = (await loadEdited(
    name,
    all.filter(({ file }) => file === 'sessions.ts'),
    'sessions.ts',
  )) as typeof import('../../manager/raft/sessions.ts');
  return { createCore: (start) => new core.RaftCore(start), Sessions };
}

/**
 * A module of manager/raft/ with edits in it or in those that it imports from there. They are loaded
 * once more under another address, so that the sound ones beside them are not touched. Throws when a
 * text to be replaced is not there (any more): a mutant that does nothing would prove nothing.
 */
export async function loadEdited(
  name: string,
  edits: readonly Edit[],
  entry: string,
): Promise<unknown> {
  const mark = `?mutant=${++loaded}`;
  const found = new Map(edits.map((edit) => [edit, 0]));
  const hooks = registerHooks({
    resolve(specifier: string, context: ResolveHookContext, next) {
      const resolved = next(specifier, context);
      const inside = context.parentURL?.endsWith(mark) === true && resolved.url.startsWith(RAFT);
      // The simulated disk throws the error class of this one: there must be one class only.
      if (resolved.url === `${RAFT}ports.ts`) return resolved;
      return inside ? { ...resolved, url: `${resolved.url}${mark}` } : resolved;
    },
    load(url: string, context: LoadHookContext, next) {
      const result = next(url, context);
      const mine = edits.filter(({ file }) => url === `${RAFT}${file}${mark}`);
      if (mine.length === 0) return result;
      let text = sourceText(result.source);
      for (const edit of mine) {
        const parts = text.split(edit.find);
        found.set(edit, parts.length - 1);
        text = parts.join(edit.replace);
      }
      return { ...result, source: text };
    },
  });
  try {
    const module: unknown = await import(`${RAFT}${entry}${mark}`);
    for (const [{ file, find }, times] of found) {
      if (times === 1) continue;
      throw new Error(`"${find}" is ${times} times in ${file}: rewrite "${name}"`);
    }
    return module;
  } finally {
    hooks.deregister();
  }
}

function sourceText(source: unknown): string {
  if (typeof source === 'string') return source;
  if (source instanceof Uint8Array) return new TextDecoder().decode(source);
  throw new Error('the loader gave no source text');
}

export type MutantRun = Readonly<{
  /** For each mutant. */
  mostSeeds?: number;
  /** Only those whose name has these words. */
  only: string;
  tell: (line: string) => void;
}>;
const MOST_SEEDS = 2_000;

/** False when one of them was not noticed. Throws when one does not fit the text any more. */
export async function runMutants({
  mostSeeds = MOST_SEEDS,
  only,
  tell,
}: MutantRun): Promise<boolean> {
  const mutants = MUTANTS.filter(({ name }) => name.includes(only));
  let missed = 0;
  for (const mutant of mutants) {
    const caught = await catchMutant(mutant, mostSeeds);
    if (caught === undefined) missed++;
    tell(
      caught === undefined
        ? `MISSED  ${mutant.name}: ${mostSeeds} seeds of ${mutant.profile ?? 'any profile'} went well`
        : `caught  ${mutant.name}: by seed ${caught.seed} of ${mutant.profile ?? 'any profile'}, ${caught.seed} needed: ${caught.why}`,
    );
  }
  tell(`${mutants.length - missed} of ${mutants.length} planted bugs were caught`);
  return missed === 0;
}

/** Seeds are tried from 1 on, so that `seed` is also how many were needed. */
export type Catch = Readonly<{ seed: number; why: string }>;

/** The first seed that notices it. */
export async function catchMutant(mutant: Mutant, mostSeeds: number): Promise<Catch | undefined> {
  const production = await loadMutant(mutant);
  for (let seed = 1; seed <= mostSeeds; seed++) {
    try {
      runRaft(seed, { production, ...(mutant.profile && { profile: mutant.profile }) });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      return { seed, why: (message.split('\n')[0] ?? '').slice(0, 110) };
    }
  }
  return undefined;
}
