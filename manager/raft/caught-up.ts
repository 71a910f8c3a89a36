/** A learner this close to the leader's log is promoted, whatever share of the log that is. */
const CAUGHT_UP_ENTRIES = 16;
/** etcd's measure: promote when the learner has nine tenths of the log. */
const CAUGHT_UP_RATIO = 0.9;
const CAUGHT_UP_MAX_ENTRIES = 1_000;

/** Whether a learner that has everything up to `match` may become a voter. */
export function hasCaughtUp(match: number, lastIndex: number): boolean {
  const missing = lastIndex - match;
  if (missing <= CAUGHT_UP_ENTRIES) return true;
  return missing <= CAUGHT_UP_MAX_ENTRIES && match >= CAUGHT_UP_RATIO * lastIndex;
}
