import type { ConfChange, ConfState, RaftId } from './types.ts';

export const EMPTY_CONF: ConfState = { voters: [], learners: [], votersOutgoing: [] };

export function isVoter(conf: ConfState, id: RaftId): boolean {
  return conf.voters.includes(id) || conf.votersOutgoing.includes(id);
}

export function isMember(conf: ConfState, id: RaftId): boolean {
  return isVoter(conf, id) || conf.learners.includes(id);
}

/** Each member once: voters of both halves, then learners. */
export function members(conf: ConfState): readonly RaftId[] {
  return [...new Set([...conf.voters, ...conf.votersOutgoing, ...conf.learners])];
}

/**
 * The configuration after a change, or the same object when the change does nothing or may not be:
 * it would leave no voter. Decided from values alone, so that all members come to the same; the set
 * of voters differs by one member at most, so that old and new majorities always overlap.
 */
export function changeConf(conf: ConfState, change: ConfChange): ConfState {
  const { id } = change;
  const voters = conf.voters.filter((voter) => voter !== id);
  const learners = conf.learners.filter((learner) => learner !== id);
  switch (change.kind) {
    case 'add-voter':
      if (conf.voters.includes(id)) return conf;
      return { ...conf, voters: [...voters, id], learners };
    case 'add-learner':
      if (conf.learners.includes(id) || voters.length === 0) return conf;
      return { ...conf, voters, learners: [...learners, id] };
    case 'remove':
      if (!isMember(conf, id) || voters.length === 0) return conf;
      return { ...conf, voters, learners };
  }
}
