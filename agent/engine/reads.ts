import type { Reply } from './http.ts';
import type { Reads } from './types.ts';

/**
 * The reads of one request, whose answer says how old it may be: `Shoal-Index` is the index of the replica
 * at the oldest of them (a watch from there misses nothing), `Shoal-Stale` stands on what was read without
 * asking the leader.
 */
export class MarkedReads implements Reads {
  readonly stale: boolean;
  #index: number | undefined;

  constructor(stale: boolean) {
    this.stale = stale;
  }

  note(index: number): void {
    this.#index = Math.min(index, this.#index ?? index);
  }

  /** The reply with its marks; as it is when nothing was read. */
  mark(reply: Reply): Reply {
    if (this.#index === undefined || reply.kind === 'stream' || reply.kind === 'hijack') {
      return reply;
    }
    const index = { 'Shoal-Index': String(this.#index) };
    const marks = this.stale ? { ...index, 'Shoal-Stale': 'true' } : index;
    return { ...reply, headers: { ...reply.headers, ...marks } };
  }
}
