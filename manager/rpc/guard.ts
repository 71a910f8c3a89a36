import { NodeRemovedError } from '../../shared/errors.ts';
import type { Caller } from '../../shared/rpc/caller.ts';
import type { Consensus } from '../raft/consensus.ts';
import type { ReadView } from '../store/types.ts';
import { type CallerKind, judge, type MethodPath } from './authorisation.ts';

/** What of a call tells who makes it. */
export type CallOrigin = Readonly<{
  caller: Caller | undefined;
  metadata: (key: string) => string | undefined;
  signal: AbortSignal;
}>;

/** Set by a manager that sends a call on to the leader: its own node id, and that of the caller. */
export const FORWARDED_BY = 'shoal-forwarded';
export const FORWARDED_FOR = 'shoal-forwarded-for';

export type Admitted = Readonly<{
  as: CallerKind;
  /** Node in whose name the call is made; '' when it is not known. */
  nodeId: string;
  /** Another manager sent the call on: it goes no further. */
  isForwarded: boolean;
}>;

export type GuardDeps = Readonly<{
  store: ReadView;
  consensus: Pick<Consensus, 'readBarrier'>;
  clusterId: string;
}>;

/** Stands before every method. */
export class Guard {
  readonly #deps: GuardDeps;

  constructor(deps: GuardDeps) {
    this.#deps = deps;
  }

  /** Throws ShoalError `unauthenticated` or `permission-denied`. */
  async admit(path: MethodPath, origin: CallOrigin): Promise<Admitted> {
    const { store, consensus, clusterId } = this.#deps;
    const { caller } = origin;
    const look = () => judge(path, caller, caller && store.get('node', caller.nodeId), clusterId);
    let verdict = look();
    if (verdict.kind === 'node-unknown') {
      // A node that has just joined at the leader may be ahead of this replica.
      await consensus.readBarrier(origin.signal);
      verdict = look();
    }
    if (verdict.kind === 'refused') throw verdict.error;
    if (verdict.kind === 'node-unknown') throw new NodeRemovedError(verdict.nodeId);
    const by = origin.metadata(FORWARDED_BY);
    // Only a manager can speak for another node: it could have signed its certificate.
    const isForwarded = by !== undefined && verdict.as === 'manager';
    const nodeId = isForwarded ? (origin.metadata(FORWARDED_FOR) ?? '') : (caller?.nodeId ?? '');
    return { as: verdict.as, nodeId, isForwarded };
  }
}
