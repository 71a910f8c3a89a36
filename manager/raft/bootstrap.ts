import type { RaftMember } from '../../shared/gen/shoal/v1/peer.ts';
import { changeConf, EMPTY_CONF, isJoint, members } from './conf-change.ts';
import { decodeConfChange, encodeConfChange } from './conf-codec.ts';
import type { DurableBatch, LoadedState } from './durable-log.ts';
import { encodeMember, idOf } from './members.ts';
import type { NodeStorage } from './ports.ts';
import type { ConfState, ConfTransition, HardState, RaftId, SnapshotMeta } from './types.ts';

/**
 * What a new cluster's first members write before they start: a snapshot that names them, at index 1
 * or, of a cluster that was restored from a backup, above all that it knew. As the log then begins
 * after it, every later member must be sent a snapshot first, and no member can ever act on a log
 * whose first configuration it never saw.
 */
export function bootstrapState(
  voters: readonly RaftId[],
  index = 1,
): {
  hardState: HardState;
  snapshot: SnapshotMeta;
} {
  return {
    hardState: { term: 1, vote: undefined, commit: index },
    snapshot: { index, term: 1, confState: { ...EMPTY_CONF, voters } },
  };
}

/**
 * Makes this member the only one, after the others were lost for good: all that its log has counts as
 * committed, and so do the changes of members that nobody agreed to and that are appended, all in
 * one batch. The others' ids are removed ids from then on: whoever comes back under one is told so.
 * Not while the log is in use.
 *
 * The end of the log, beyond what is known to be committed, stays: that knowledge lags behind, on a
 * follower by a message, and what was acknowledged to a client a moment before the loss may be there
 * and nowhere else now. What was not acknowledged may come of it, too; its outcome was unknown. Only a
 * change that takes out this very member, and whatever follows it, must be one that was agreed to.
 */
export function forceNewCluster(storage: NodeStorage, state: LoadedState, self: RaftMember): void {
  storage.append(forcedBatch(state, self));
}

/** The batch of `forceNewCluster`. One of its entries tells this member's addresses: it is never empty. */
export function forcedBatch(state: LoadedState, self: RaftMember): DurableBatch {
  const { hardState } = state;
  const { last, conf } = endFor(idOf(self), state);
  // A term of its own: no leader of the old cluster can have used it here.
  const term = hardState.term + 1;
  const changes = forcedChanges(conf, self);
  return {
    hardState: { term, vote: undefined, commit: last + changes.length },
    entries: changes.map((change, i) => ({
      index: last + 1 + i,
      term,
      type: 'conf-change',
      data: encodeConfChange(change),
    })),
  };
}

/** Leaves a joint configuration first; this member votes before the others go, so that one always does. */
function forcedChanges(conf: ConfState, self: RaftMember): ConfTransition[] {
  const id = idOf(self);
  const own: ConfTransition = { kind: 'add-voter', id, context: encodeMember(self) };
  const changes: ConfTransition[] = isJoint(conf) ? [{ kind: 'leave-joint' }] : [];
  changes.push(own);
  for (const other of members(conf)) {
    if (other !== id) changes.push({ kind: 'remove', id: other, context: new Uint8Array(0) });
  }
  return changes;
}

/** Where the log that goes on ends, and who the members are there. */
function endFor(
  id: RaftId,
  { hardState, snapshot, entries, compacted }: LoadedState,
): { last: number; conf: ConfState } {
  let last = compacted.index;
  let conf = snapshot?.confState ?? EMPTY_CONF;
  for (const { index, type, data } of entries) {
    if (type === 'conf-change' && index > (snapshot?.index ?? 0)) {
      const next = changeConf(conf, decodeConfChange(data));
      const takesOut = stays(conf, id) && !stays(next, id);
      if (takesOut && index > hardState.commit) break;
      conf = next;
    }
    last = index;
  }
  return { last, conf };
}

/** Also when a joint configuration is left. */
function stays({ voters, learners, learnersNext }: ConfState, id: RaftId): boolean {
  return [voters, learners, learnersNext].some((ids) => ids.includes(id));
}
