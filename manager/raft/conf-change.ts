import type { ConfChange, ConfState, ConfTransition, EnterJoint, RaftId } from './types.ts';

export const EMPTY_CONF: ConfState = {
  voters: [],
  learners: [],
  votersOutgoing: [],
  learnersNext: [],
  autoLeave: false,
};

export function isJoint(conf: ConfState): boolean {
  return conf.votersOutgoing.length > 0;
}

/** In either half of a joint configuration. */
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

/** Leaves a member where it is, for the sake of its context: it has moved to another address. */
export function isMove(conf: ConfState, change: ConfTransition): boolean {
  if (isJoint(conf)) return false;
  if (change.kind !== 'add-voter' && change.kind !== 'add-learner') return false;
  const place = change.kind === 'add-voter' ? conf.voters : conf.learners;
  return place.includes(change.id) && change.context.length > 0;
}

/** The changes of single members that a transition is made of. */
export function changesOf(transition: ConfTransition): readonly ConfChange[] {
  switch (transition.kind) {
    case 'enter-joint':
      return transition.changes;
    case 'leave-joint':
      return [];
    default:
      return [transition];
  }
}

/**
 * The configuration after a change, or the same object when the change does nothing or may not be:
 * it would leave no voter, or a joint configuration is in the way, or there is none to leave. Decided
 * from values alone, so that all members come to the same, also where a leader should have refused.
 *
 * Old and new majorities always overlap: a simple change moves one voter at most, and a joint
 * configuration asks the majorities of both its halves.
 */
export function changeConf(conf: ConfState, change: ConfTransition): ConfState {
  switch (change.kind) {
    case 'enter-joint':
      return enterJoint(conf, change);
    case 'leave-joint':
      return leaveJoint(conf);
    default: {
      if (isJoint(conf)) return conf;
      const next = changed(conf, change);
      return next.voters.length === 0 ? conf : next;
    }
  }
}

/** One member's place changed, whatever is left; the same object when it has that place already. */
function changed(conf: ConfState, { kind, id }: ConfChange): ConfState {
  const voters = conf.voters.filter((voter) => voter !== id);
  const learners = conf.learners.filter((learner) => learner !== id);
  switch (kind) {
    case 'add-voter':
      if (conf.voters.includes(id)) return conf;
      return { ...conf, voters: [...voters, id], learners };
    case 'add-learner':
      if (conf.learners.includes(id)) return conf;
      return { ...conf, voters, learners: [...learners, id] };
    case 'remove':
      if (!isMember(conf, id)) return conf;
      return { ...conf, voters, learners };
  }
}

function enterJoint(conf: ConfState, { changes, autoLeave }: EnterJoint): ConfState {
  if (isJoint(conf) || conf.voters.length === 0) return conf;
  if (new Set(changes.map(({ id }) => id)).size !== changes.length) return conf;
  const target = changes.reduce(changed, conf);
  if (target === conf || target.voters.length === 0) return conf;
  const wasVoter = (id: RaftId) => conf.voters.includes(id);
  return {
    voters: target.voters,
    votersOutgoing: conf.voters,
    // A voter of the old half stays one until that half is gone.
    learners: target.learners.filter((id) => !wasVoter(id)),
    learnersNext: target.learners.filter(wasVoter),
    autoLeave,
  };
}

function leaveJoint(conf: ConfState): ConfState {
  if (!isJoint(conf)) return conf;
  const learners = [...conf.learners, ...conf.learnersNext];
  return { ...EMPTY_CONF, voters: conf.voters, learners };
}
