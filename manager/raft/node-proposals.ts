import type { FromNode, PlainError } from './protocol.ts';
import type { Entry, Raft } from './types.ts';

export type ProposalPorts = Readonly<{
  raft: Raft;
  post: (event: FromNode) => void;
  notLeader: () => PlainError;
}>;

/** Proposals appended by this node as leader and not yet committed, by the index they got. */
export class NodeProposals {
  readonly #ports: ProposalPorts;
  readonly #byIndex = new Map<number, { id: number; term: number }>();
  constructor(ports: ProposalPorts) {
    this.#ports = ports;
  }

  /** Appends proposals `firstId`, `firstId + 1`, ..., all or none. */
  propose(firstId: number, data: readonly Uint8Array[]): void {
    const result = this.#ports.raft.propose(data);
    if (result.kind === 'accepted') {
      const { first, last, term } = result;
      for (let index = first; index <= last; index++) {
        this.#byIndex.set(index, { id: firstId + index - first, term });
      }
      return;
    }
    const error: PlainError =
      result.reason === 'uncommitted-limit'
        ? {
            code: 'resource-exhausted',
            message: 'too many writes are waiting for a majority of the managers: try again later',
            leader: undefined,
          }
        : this.#ports.notLeader();
    this.#ports.post({ kind: 'failed', firstId, count: data.length, error });
  }

  /** The proposal that this committed entry is. */
  take(entry: Entry): number | undefined {
    const pending = this.#byIndex.get(entry.index);
    if (pending?.term !== entry.term) return undefined;
    this.#byIndex.delete(entry.index);
    return pending.id;
  }

  /** A leader of a later term, also this node itself, may have them or not. */
  roleChanged(): void {
    const { role, term } = this.#ports.raft.status();
    this.#dropBefore(role === 'leader' ? term : Number.POSITIVE_INFINITY);
  }

  close(): void {
    this.#dropBefore(Number.POSITIVE_INFINITY);
  }

  #dropBefore(term: number): void {
    for (const [index, pending] of this.#byIndex) {
      if (pending.term >= term) continue;
      this.#byIndex.delete(index);
      this.#ports.post({ kind: 'failed', firstId: pending.id, count: 1, error: LOST });
    }
  }
}

const LOST: PlainError = {
  code: 'unknown-outcome',
  message:
    'leadership was lost before the write was committed, and the next leader may have it or not: ' +
    'read before trying again',
  leader: undefined,
};
