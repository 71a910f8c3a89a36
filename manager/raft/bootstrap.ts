import { EMPTY_CONF } from './conf-change.ts';
import type { HardState, RaftId, SnapshotMeta } from './types.ts';

/**
 * What a new cluster's first members write before they start: a snapshot at index 1 that names them.
 * As the log then begins at 2, every later member must be sent a snapshot first, and no member can
 * ever act on a log whose first configuration it never saw.
 */
export function bootstrapState(voters: readonly RaftId[]): {
  hardState: HardState;
  snapshot: SnapshotMeta;
} {
  return {
    hardState: { term: 1, vote: undefined, commit: 1 },
    snapshot: { index: 1, term: 1, confState: { ...EMPTY_CONF, voters } },
  };
}
