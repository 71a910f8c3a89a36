import type { Clock, Timer } from '../../shared/clock.ts';
import { isShoalError, NotLeaderError, ShoalError } from '../../shared/errors.ts';
import type { Consensus, ConsensusStatus } from '../raft/consensus.ts';
import { NO_ROOM_WORDS } from '../raft/full-disk.ts';

export type LeaderRoute =
  | Readonly<{ kind: 'here' }>
  | Readonly<{ kind: 'there'; nodeId: string; address: string; term: number }>
  | Readonly<{ kind: 'unknown' }>;

/** Where the leader is, as this manager knows it. */
export function routeTo(status: ConsensusStatus): LeaderRoute {
  if (status.isLeader) return { kind: 'here' };
  if (status.leaderRaftId === undefined || status.leaderRaftId === status.raftId) {
    return { kind: 'unknown' }; // elected, but not ready to write yet: soon
  }
  const leader = status.members.find(({ member }) => member.raftId === status.leaderRaftId);
  if (leader === undefined || leader.member.address === '') return { kind: 'unknown' };
  const { nodeId, address } = leader.member;
  return { kind: 'there', nodeId, address, term: status.term };
}

export type ForwardDeps = Readonly<{
  consensus: Pick<Consensus, 'status' | 'onStatus'>;
  clock: Clock;
}>;

export type LeaderCall<T> = Readonly<{
  /** Carries it out here; NotLeaderError says that nothing was done. */
  local: (signal: AbortSignal) => Promise<T>;
  /**
   * Sends it on. `unavailable` says that nothing was done; whatever else goes wrong once it was sent
   * must come as `unknown-outcome`.
   */
  remote: (address: string, signal: AbortSignal) => Promise<T>;
  /** Came from another manager: it is carried out here or not at all. */
  isForwarded: boolean;
  signal: AbortSignal;
  /** Wall time at which the caller stops waiting. */
  deadlineAtMs?: number | undefined;
}>;

/** An election takes one to two seconds; a write that comes in the middle of it waits for its end. */
const WAIT_FOR_LEADER_MS = 2_500;
/** Where the state said to be the leader did not take it, it is not asked again sooner than this. */
const RETRY_MS = 100;
/** A leader that lost its office still answers what it knows, if it lives. */
const LOST_LEADER_GRACE_MS = 500;

/**
 * Carries out what only the leader can: here, or there. While there is no leader it waits a while for
 * one. It tries again only when it is certain that nothing was done; never when the outcome is unknown.
 */
export async function onLeader<T>(deps: ForwardDeps, call: LeaderCall<T>): Promise<T> {
  const { consensus, clock } = deps;
  const waitMs = Math.min(
    WAIT_FOR_LEADER_MS,
    call.deadlineAtMs === undefined ? WAIT_FOR_LEADER_MS : call.deadlineAtMs - clock.now(),
  );
  const untilMs = clock.monotonicMs() + waitMs;
  let refusal: ShoalError = new ShoalError('unavailable', 'the cluster has no leader at present');
  for (;;) {
    call.signal.throwIfAborted();
    const route = routeTo(consensus.status());
    if (call.isForwarded && route.kind !== 'here') {
      throw new NotLeaderError(route.kind === 'there' ? route.nodeId : undefined);
    }
    try {
      if (route.kind === 'here') return await call.local(call.signal);
      if (route.kind === 'there') return await whileLeader(deps, call, route);
    } catch (error) {
      if (call.isForwarded || !wasNotDone(error, route)) throw error;
      refusal = error as ShoalError;
    }
    const leftMs = untilMs - clock.monotonicMs();
    if (leftMs <= 0) {
      throw consensus.status().withoutRoom ? new ShoalError('unavailable', NO_ROOM_WORDS) : refusal;
    }
    await changeOf(
      deps,
      route.kind === 'unknown' ? leftMs : Math.min(leftMs, RETRY_MS),
      call.signal,
    );
  }
}

function wasNotDone(error: unknown, route: LeaderRoute): boolean {
  if (error instanceof NotLeaderError) return true;
  // Elsewhere the caller would only be told to try again. Here it may have been something else.
  return route.kind === 'there' && isShoalError(error, 'unavailable');
}

/** Gives up soon after another leader took over: this one may be a host without power, which never answers. */
async function whileLeader<T>(
  { consensus, clock }: ForwardDeps,
  call: LeaderCall<T>,
  route: Extract<LeaderRoute, { kind: 'there' }>,
): Promise<T> {
  const lost = new AbortController();
  let timer: Timer | undefined;
  const stop = consensus.onStatus((status) => {
    const now = routeTo(status);
    if (now.kind === 'there' && now.nodeId === route.nodeId && now.term === route.term) return;
    timer ??= clock.after(LOST_LEADER_GRACE_MS, () => lost.abort());
  });
  try {
    return await call.remote(route.address, AbortSignal.any([call.signal, lost.signal]));
  } catch (error) {
    if (!lost.signal.aborted || call.signal.aborted) throw error;
    throw new ShoalError(
      'unknown-outcome',
      'the leader was lost while it had the request: read the state before trying again',
      { cause: error },
    );
  } finally {
    timer?.cancel();
    stop();
  }
}

/** Resolves when another leader is known, after `waitMs`, or when the signal aborts. */
function changeOf({ consensus, clock }: ForwardDeps, waitMs: number, signal: AbortSignal) {
  const before = consensus.status();
  return new Promise<void>((resolve) => {
    let stop = (): void => undefined;
    const done = () => {
      timer.cancel();
      stop();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = clock.after(waitMs, done);
    signal.addEventListener('abort', done, { once: true });
    stop = consensus.onStatus(({ isLeader, leaderRaftId }) => {
      if (isLeader !== before.isLeader || leaderRaftId !== before.leaderRaftId) done();
    });
  });
}
