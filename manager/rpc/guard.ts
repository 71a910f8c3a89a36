import type { ShoalError } from '../../shared/errors.ts';
import type { Caller } from '../../shared/rpc/caller.ts';
import type { Consensus } from '../raft/consensus.ts';
import type { ChangeBatch, WatchableStore } from '../store/types.ts';
import { unknownNode } from '../unknown-node.ts';
import { type CallerKind, judge, type MethodPath, type Verdict } from './authorisation.ts';

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
  store: Pick<WatchableStore, 'get' | 'cluster' | 'onCommit'>;
  consensus: Pick<Consensus, 'readBarrier'>;
  clusterId: string;
}>;

/** A stream that was let begin. */
type OpenStream = Readonly<{ path: MethodPath; caller: Caller; revoked: AbortController }>;

/** Stands before every method. */
export class Guard {
  readonly #deps: GuardDeps;
  /** By node; only what comes over the network. */
  readonly #open = new Map<string, Set<OpenStream>>();

  constructor(deps: GuardDeps) {
    this.#deps = deps;
    deps.store.onCommit((batch) => this.#committed(batch));
  }

  /** Throws ShoalError `unauthenticated` or `permission-denied`. */
  async admit(path: MethodPath, origin: CallOrigin): Promise<Admitted> {
    const { consensus } = this.#deps;
    const { caller } = origin;
    let verdict = this.#judge(path, caller);
    if (verdict.kind === 'node-unknown') {
      // A node that has just joined at the leader may be ahead of this replica.
      await consensus.readBarrier(origin.signal);
      verdict = this.#judge(path, caller);
    }
    const refusal = this.#refusalOf(verdict);
    if (refusal !== undefined || verdict.kind !== 'allowed') throw refusal;
    const by = origin.metadata(FORWARDED_BY);
    // Only a manager can speak for another node: it could have signed its certificate.
    const isForwarded = by !== undefined && verdict.as === 'manager';
    const nodeId = isForwarded ? (origin.metadata(FORWARDED_FOR) ?? '') : (caller?.nodeId ?? '');
    return { as: verdict.as, nodeId, isForwarded };
  }

  /**
   * For a stream that was admitted: `signal` aborts, with what the caller is to be told, when it would not be any
   * more: its node was removed, or is no manager now. `release` when the stream ends.
   */
  follow(path: MethodPath, caller: Caller | undefined): { signal: AbortSignal; release(): void } {
    const revoked = new AbortController();
    const { signal } = revoked;
    if (caller === undefined || caller.local) return { signal, release: () => undefined };
    const stream: OpenStream = { path, caller, revoked };
    const streams = this.#open.get(caller.nodeId) ?? new Set();
    this.#open.set(caller.nodeId, streams.add(stream));
    this.#check(stream); // it may have been removed since it was admitted
    const release = () => {
      streams.delete(stream);
      if (streams.size === 0) this.#open.delete(caller.nodeId);
    };
    return { signal, release };
  }

  #committed({ changes }: ChangeBatch): void {
    if (this.#open.size === 0) return;
    for (const { table, object } of changes) {
      if (table !== 'node') continue;
      for (const stream of this.#open.get(object.id) ?? []) this.#check(stream);
    }
  }

  #check({ path, caller, revoked }: OpenStream): void {
    const refusal = this.#refusalOf(this.#judge(path, caller));
    if (refusal !== undefined) revoked.abort(refusal);
  }

  #judge(path: MethodPath, caller: Caller | undefined): Verdict {
    const { store, clusterId } = this.#deps;
    return judge(path, caller, caller && store.get('node', caller.nodeId), clusterId);
  }

  #refusalOf(verdict: Verdict): ShoalError | undefined {
    if (verdict.kind === 'refused') return verdict.error;
    return verdict.kind === 'node-unknown'
      ? unknownNode(this.#deps.store, verdict.nodeId)
      : undefined;
  }
}
