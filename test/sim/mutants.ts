import { type LoadHookContext, type ResolveHookContext, registerHooks } from 'node:module';
import type { RaftStart } from '../../manager/raft/core.ts';
import type { Raft } from '../../manager/raft/types.ts';
import type { ProfileName } from './raft-profile.ts';

/** A bug put into the production text as it is loaded; the files and the other modules stay as they are. */
export type Mutant = Readonly<{
  name: string;
  /** In manager/raft/. */
  file: string;
  find: string;
  replace: string;
  /** Where the simulation looks for it: half of the profile's runs or one in a hundred may show it. */
  profile: ProfileName;
}>;

const RAFT = new URL('../../manager/raft/', import.meta.url).href;
let loaded = 0;

/**
 * The core with one bug in it. Its modules are loaded once more under another address, so that the
 * sound ones beside it are not touched. Throws when the text to be replaced is not there (any more):
 * a mutant that does nothing would prove nothing.
 */
export async function loadMutant(mutant: Mutant): Promise<(start: RaftStart) => Raft> {
  const mark = `?mutant=${++loaded}`;
  let replaced = 0;
  const hooks = registerHooks({
    resolve(specifier: string, context: ResolveHookContext, next) {
      const resolved = next(specifier, context);
      const inside = context.parentURL?.endsWith(mark) === true && resolved.url.startsWith(RAFT);
      return inside ? { ...resolved, url: `${resolved.url}${mark}` } : resolved;
    },
    load(url: string, context: LoadHookContext, next) {
      const result = next(url, context);
      if (url !== `${RAFT}${mutant.file}${mark}`) return result;
      const text = sourceText(result.source);
      const parts = text.split(mutant.find);
      replaced = parts.length - 1;
      return { ...result, source: parts.join(mutant.replace) };
    },
  });
  try {
    const core = (await import(
      `${RAFT}core.ts${mark}`
    )) as typeof import('../../manager/raft/core.ts');
    if (replaced !== 1) {
      throw new Error(
        `"${mutant.find}" is ${replaced} times in ${mutant.file}: rewrite "${mutant.name}"`,
      );
    }
    return (start) => new core.RaftCore(start);
  } finally {
    hooks.deregister();
  }
}

function sourceText(source: unknown): string {
  if (typeof source === 'string') return source;
  if (source instanceof Uint8Array) return new TextDecoder().decode(source);
  throw new Error('the loader gave no source text');
}

/** Bugs that have been made in real Raft implementations, or that skip one rule of the paper. */
export const MUTANTS: readonly Mutant[] = [
  {
    name: 'acknowledges entries and votes before they are on disk',
    file: 'output.ts',
    find: 'return false;',
    replace: 'return true;',
    profile: 'mixed',
  },
  {
    name: 'forgets its vote in a crash',
    file: 'roles.ts',
    find: 'this.#vote = vote;',
    replace: 'this.#vote = undefined;',
    profile: 'short-leaders',
  },
  {
    name: 'counts its own copy before it is on disk',
    file: 'leadership.ts',
    find: 'if (this.#own().update(this.#log.stableIndex())) this.#commitByCounting();',
    replace: 'if (this.#own().update(this.#log.lastIndex())) this.#commitByCounting();',
    profile: 'mixed',
  },
  {
    name: 'counts learners',
    file: 'quorum.ts',
    find: 'const incoming = majorityReached(conf.voters, reachedBy);',
    replace:
      'const incoming = majorityReached([...conf.voters, ...conf.learners].sort((a, b) => reachedBy(b) - reachedBy(a)).slice(0, conf.voters.length), reachedBy);',
    profile: 'members',
  },
  {
    name: 'commits entries of older terms by counting',
    file: 'leadership.ts',
    find: 'if (index <= this.#log.commit || !this.#log.matches(index, this.#term)) return;',
    replace: 'if (index <= this.#log.commit) return;',
    profile: 'short-leaders',
  },
  {
    name: 'votes for candidates whose log lacks entries',
    file: 'log.ts',
    find: 'return lastTerm > ownTerm || (lastTerm === ownTerm && lastIndex >= this.lastIndex());',
    replace: 'return lastTerm > ownTerm || lastTerm === ownTerm;',
    profile: 'mixed',
  },
  {
    name: 'votes twice in a term',
    file: 'vote.ts',
    find: '(voter.vote === undefined && voter.leader === undefined)',
    replace: 'voter.leader === undefined',
    profile: 'short-leaders',
  },
  {
    name: 'cuts off what follows an old append',
    file: 'log.ts',
    find: 'if (this.matches(entry.index, entry.term)) continue;',
    replace: 'if (entry.index <= this.#commit) continue;',
    profile: 'mixed',
  },
  {
    name: 'commits what a heartbeat says, whatever the log holds there',
    file: 'leadership.ts',
    find: 'commit: Math.min(progress.match, this.#log.commit),',
    replace: 'commit: this.#log.commit,',
    profile: 'mixed',
  },
  {
    name: 'confirms reads with heartbeats sent before they came',
    file: 'read-index.ts',
    find: 'startRound(commit: number): void {\n    this.#seq++;',
    replace: 'startRound(commit: number): void {',
    profile: 'mixed',
  },
  {
    name: 'answers reads before it has committed in its term',
    file: 'leadership.ts',
    find: 'return this.#reads.hasWaiting() && this.#committedInTerm();',
    replace: 'return this.#reads.hasWaiting();',
    profile: 'mixed',
  },
  {
    name: 'stands for election with a change of members unapplied',
    file: 'roles.ts',
    find: 'this.#membership.isCurrent(this.#log)\n    );',
    replace: 'true);',
    profile: 'members',
  },
  {
    name: 'starts a change of members while another is pending',
    file: 'leadership.ts',
    find: 'if (this.#pendingConfIndex > this.#log.applied) {',
    replace: 'if (this.#pendingConfIndex < 0) {',
    profile: 'members',
  },
  {
    name: 'never recovers from a lost window of appends',
    file: 'leadership.ts',
    find: 'if (progress.match < this.#log.lastIndex() || progress.state ===',
    replace: 'if (progress.state ===',
    profile: 'mixed',
  },
  {
    name: 'stays paused after a failed snapshot',
    file: 'leadership.ts',
    find: 'if (!ok) progress.pendingSnapshot = 0;',
    replace: 'if (!ok) return;',
    profile: 'snapshots',
  },
];
