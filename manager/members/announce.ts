import { type Clock, sleep } from '../../shared/clock.ts';
import { messageOf } from '../../shared/errors.ts';
import type { JoinRaftRequest } from '../../shared/gen/shoal/v1/peer.ts';
import type { Log } from '../../shared/log.ts';
import type { Consensus, ConsensusStatus } from '../raft/consensus.ts';

const RETRY_MS = 1_000;

export type AnnounceDeps = Readonly<{
  consensus: Pick<Consensus, 'status'>;
  nodeId: string;
  /** host:port, as they are now. */
  address: string;
  raftAddress: string;
  /** Managers that were known when this one started, as host:port. */
  remotes: readonly string[];
  /** Where this manager leads. */
  joinHere(request: JoinRaftRequest, signal: AbortSignal): Promise<unknown>;
  /** At another manager, which sends it on to the leader. */
  joinAt(target: string, request: JoinRaftRequest, signal: AbortSignal): Promise<unknown>;
  clock: Clock;
  log: Log;
}>;

/** What is to be told of this member; undefined when the table of members has it right. */
export function newsOf(
  status: ConsensusStatus,
  { nodeId, address, raftAddress }: Pick<AnnounceDeps, 'nodeId' | 'address' | 'raftAddress'>,
): JoinRaftRequest | undefined {
  const own = status.members.find(({ member }) => member.raftId === status.raftId)?.member;
  // A learner of which nothing has arrived yet is no member in its own eyes.
  if (own === undefined) return undefined;
  if (own.address === address && own.raftAddress === raftAddress) return undefined;
  return { nodeId, address, raftAddress, raftId: status.raftId };
}

/**
 * After a start under other addresses than the table of members has: the others cannot reach this
 * member, but it reaches them. Returns once the table is right, or the signal aborts.
 */
export async function announceAddresses(deps: AnnounceDeps, signal: AbortSignal): Promise<void> {
  const { consensus, remotes, joinHere, joinAt, clock, log } = deps;
  while (!signal.aborted) {
    const status = consensus.status();
    const request = newsOf(status, deps);
    if (request === undefined) return;
    const others = status.members.filter(({ member }) => member.raftId !== status.raftId);
    const targets = new Set([...others.map(({ member }) => member.address), ...remotes]);
    for (const target of status.isLeader ? [undefined] : targets) {
      try {
        if (target === undefined) await joinHere(request, signal);
        else await joinAt(target, request, signal);
        log.info('told the managers a new address', { address: request.address });
        break;
      } catch (error) {
        if (signal.aborted) return;
        log.warn('cannot tell the managers a new address yet', {
          manager: target,
          error: messageOf(error),
        });
      }
    }
    await sleep(clock, RETRY_MS, signal).catch(() => undefined);
  }
}
