import type { RaftMember } from '../../shared/gen/shoal/v1/peer.ts';
import { changeConf, EMPTY_CONF, isJoint, members } from './conf-change.ts';
import { decodeConfChange, encodeConfChange } from './conf-codec.ts';
import { encodeMember, idOf } from './members.ts';
import type { NodeStorage } from './ports.ts';
import type {
  ConfState,
  ConfTransition,
  DurableBatch,
  HardState,
  LoadedState,
  RaftId,
  SnapshotMeta,
} from './types.ts';

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
 * Makes this member the only one, after the others were lost for good: what is not known to be
 * committed is discarded, changes of members that nobody agreed to are appended as committed, all in
 * one batch. The others' ids are removed ids from then on: whoever comes back under one is told so.
 * Not while the log is in use.
 */
export function forceNewCluster(storage: NodeStorage, state: LoadedState, self: RaftMember): void {
  storage.append(forcedBatch(state, self));
}

/** The batch of `forceNewCluster`. One of its entries tells this member's addresses: it is never empty. */
export function forcedBatch(state: LoadedState, self: RaftMember): DurableBatch {
  const { hardState } = state;
  const commit = Math.max(hardState.commit, state.snapshot?.index ?? 0);
  // A term of its own: no leader of the old cluster can have used it here.
  const term = hardState.term + 1;
  const changes = forcedChanges(confAt(state, commit), self);
  return {
    hardState: { term, vote: undefined, commit: commit + changes.length },
    entries: changes.map((change, i) => ({
      index: commit + 1 + i,
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

function confAt({ snapshot, entries }: LoadedState, index: number): ConfState {
  let conf = snapshot?.confState ?? EMPTY_CONF;
  for (const entry of entries) {
    if (entry.index > index) break;
    if (entry.type !== 'conf-change' || entry.index <= (snapshot?.index ?? 0)) continue;
    conf = changeConf(conf, decodeConfChange(entry.data));
  }
  return conf;
}
