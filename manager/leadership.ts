import { aborted } from '../shared/abort.ts';
import { type Clock, sleep } from '../shared/clock.ts';
import { messageOf } from '../shared/errors.ts';
import type { Log } from '../shared/log.ts';
import type { Consensus, ConsensusStatus } from './raft/consensus.ts';

const RESTART_AFTER_MS = 1_000;

export type LeaderLoop = Readonly<{ name: string; run: (signal: AbortSignal) => Promise<void> }>;

/**
 * Runs the loops of a leader while this manager leads, each from the beginning in each term: what they know,
 * they take from the store. Returns when the signal aborts and every loop has ended.
 */
export async function superviseLeadership(
  consensus: Pick<Consensus, 'onStatus'>,
  loops: readonly LeaderLoop[],
  clock: Clock,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  let reign: { term: number; end: AbortController; done: Promise<unknown> } | undefined;
  let changes: Promise<void> = Promise.resolve();
  const follow = async ({ isLeader, term }: ConsensusStatus): Promise<void> => {
    if (reign !== undefined && (!isLeader || reign.term !== term || signal.aborted)) {
      log.info('leadership ended', { term: reign.term });
      reign.end.abort(new Error('leadership ended'));
      await reign.done;
      reign = undefined;
    }
    if (!isLeader || reign !== undefined || signal.aborted) return;
    log.info('leading', { term });
    const end = new AbortController();
    reign = {
      term,
      end,
      done: Promise.all(loops.map((loop) => guarded(loop, clock, log, end.signal))),
    };
  };
  // One change after the other: loops of two terms never run side by side.
  const unsubscribe = consensus.onStatus((status) => {
    changes = changes.then(() => follow(status));
  });
  await aborted(signal);
  unsubscribe();
  await changes;
  reign?.end.abort(new Error('the manager stops'));
  await reign?.done;
}

/** A loop that breaks is a bug: it is said loudly, and the loop begins again, because a cluster without it is worse. */
async function guarded(
  { name, run }: LeaderLoop,
  clock: Clock,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await run(signal);
      if (!signal.aborted) log.error('a leader loop ended by itself', { loop: name });
    } catch (error) {
      if (signal.aborted) return;
      const stack = error instanceof Error ? error.stack : undefined;
      log.error('a leader loop broke', { loop: name, error: messageOf(error), stack });
    }
    await sleep(clock, RESTART_AFTER_MS, signal).catch(() => undefined); // aborted: the loop's condition sees it
  }
}
