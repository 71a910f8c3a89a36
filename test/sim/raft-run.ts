import type { RaftStart } from '../../manager/raft/core.ts';
import type { Raft } from '../../manager/raft/types.ts';
import { RaftCluster } from './raft-cluster.ts';
import { RaftNemesis } from './raft-nemesis.ts';
import { drawProfile, type ProfileName } from './raft-profile.ts';
import { SeededRandom } from './random.ts';

const CHAOS_MS = 20_000;
const CONVERGE_MS = 60_000;
/** Keeps the profile's draws apart from those of the run. */
const PROFILE_SALT = 0x5eed;

export type RunOptions = Readonly<{
  profile?: ProfileName;
  createCore?: (start: RaftStart) => Raft;
}>;
export type RunResult = Readonly<{ acknowledged: number; reads: number; lastTerm: number }>;

/** One whole run from a seed: trouble, then healing. Throws at the first broken invariant. */
export function runRaft(
  seed: number,
  { profile = 'mixed', createCore }: RunOptions = {},
): RunResult {
  const drawn = drawProfile(new SeededRandom(seed ^ PROFILE_SALT), profile);
  const cluster = new RaftCluster({ ...drawn.cluster, seed, ...(createCore && { createCore }) });
  const nemesis = new RaftNemesis(cluster, drawn.nemesis);
  let working = true;
  const work = () => {
    if (!working) return;
    const up = cluster.up();
    if (up.length > 0) {
      // All who believe to lead get writes: the deposed ones' must not count.
      for (const leader of cluster.leaders()) cluster.write(leader, cluster.random.between(1, 3));
      cluster.random.pick(up).read();
    }
    cluster.clock.after(cluster.random.between(1, drawn.workMaxMs), work);
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
