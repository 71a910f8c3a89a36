import type { RaftStart } from '../../manager/raft/core.ts';
import type { Raft } from '../../manager/raft/types.ts';
import { RaftCluster } from './raft-cluster.ts';
import { RaftNemesis } from './raft-nemesis.ts';
import { SeededRandom } from './random.ts';

const CHAOS_MS = 20_000;
const CONVERGE_MS = 60_000;

export type RunResult = Readonly<{ acknowledged: number; reads: number; lastTerm: number }>;

/**
 * One whole run from a seed: size, timing, fault rates and limits are all drawn from it, so that
 * many seeds cover many kinds of trouble. Throws at the first broken invariant.
 */
export function runRaft(seed: number, createCore?: (start: RaftStart) => Raft): RunResult {
  const random = new SeededRandom(seed ^ 0x5eed);
  const lease = random.chance(0.15);
  const checkQuorum = lease || random.chance(0.8);
  const preVote = random.chance(0.8);
  const cluster = new RaftCluster({
    seed,
    voters: random.pick([3, 3, 3, 5]),
    settings: {
      tickMs: 100,
      compaction: {
        snapshotEveryEntries: random.pick([5, 25, 100, 1_000_000]),
        trailingEntries: random.pick([0, 3, 20]),
      },
      raft: {
        electionTicks: 10,
        heartbeatTicks: random.pick([1, 1, 3]),
        preVote,
        checkQuorum,
        maxMessageBytes: random.pick([60, 300, 1 << 20]),
        maxInflightMessages: random.pick([1, 3, 256]),
        maxInflightBytes: random.pick([200, 1 << 20]),
        maxUncommittedBytes: random.pick([300, 1 << 20]),
        maxApplyingBytes: random.pick([1, 500, 1 << 20]),
        maxPendingReads: random.pick([3, 100]),
        readMode: lease ? 'lease' : 'quorum',
      },
    },
    delays: { syncMaxMs: random.pick([0, 0, 10, 100]), applyMaxMs: random.pick([0, 5, 200]) },
    faults: {
      ordered: random.chance(0.5),
      minDelayMs: 0.2,
      maxDelayMs: random.pick([2, 30, 150]),
      lossRatio: random.pick([0, 0.01, 0.1]),
      duplicateRatio: random.pick([0, 0.02, 0.1]),
    },
    crashRatio: random.pick([0, 0.0002, 0.002]),
    ...(createCore && { createCore }),
  });
  const nemesis = new RaftNemesis(cluster, {
    minPauseMs: 100,
    maxPauseMs: random.pick([1_500, 3_000, 6_000]),
    changesMembers: random.chance(0.4),
    pausesProcesses: !lease,
    maxNodes: 6,
  });
  const everyMs = random.pick([20, 60, 200]);
  let working = true;
  const work = () => {
    if (!working) return;
    const up = cluster.up();
    if (up.length > 0) {
      // All who believe to lead get writes: the deposed ones' must not count.
      for (const leader of cluster.leaders()) cluster.write(leader, cluster.random.between(1, 3));
      cluster.random.pick(up).read();
    }
    cluster.clock.after(cluster.random.between(1, everyMs), work);
  };
  work();
  cluster.clock.runFor(CHAOS_MS);
  nemesis.stop();
  working = false;
  cluster.healAndConverge(CONVERGE_MS);
  const [leader] = cluster.leaders();
  return {
    acknowledged: cluster.checks.acknowledgedCount,
    reads: cluster.checks.readCount,
    lastTerm: leader?.status().term ?? 0,
  };
}
