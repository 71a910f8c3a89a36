import type { ClusterOptions } from './raft-cluster.ts';
import type { NemesisOptions } from './raft-nemesis.ts';
import type { SeededRandom } from './random.ts';

/**
 * What kind of trouble a run looks for. `mixed` draws everything at large; the others lean to one
 * side, where it takes a rare coincidence to tell a sound implementation from a broken one.
 */
export const PROFILES = ['mixed', 'short-leaders', 'members', 'snapshots'] as const;
export type ProfileName = (typeof PROFILES)[number];
export type Profile = Readonly<{
  cluster: Omit<ClusterOptions, 'seed' | 'createCore'>;
  nemesis: NemesisOptions;
  /** Longest pause between two client requests. */
  workMaxMs: number;
}>;

/** Draws sizes, timing, limits and fault rates of a run. */
export function drawProfile(random: SeededRandom, name: ProfileName): Profile {
  const mixed = drawMixed(random);
  const { cluster, nemesis } = mixed;
  const { settings } = cluster;
  switch (name) {
    case 'mixed':
      return mixed;
    case 'short-leaders':
      // One entry in an append and slow links: a leader falls between its entries.
      return {
        ...mixed,
        cluster: {
          ...cluster,
          voters: 3,
          settings: {
            ...settings,
            raft: {
              ...settings.raft,
              preVote: false,
              checkQuorum: false,
              readMode: 'quorum',
              maxMessageBytes: 30,
              maxInflightMessages: 1,
            },
          },
          faults: { ...cluster.faults, maxDelayMs: random.pick([100, 300]) },
        },
        nemesis: { ...nemesis, memberWeight: 0, leaderLifeMs: random.pick([300, 900]) },
      };
    case 'members':
      // Changes that are committed and long not applied, while leaders come and go.
      return {
        ...mixed,
        cluster: {
          ...cluster,
          voters: 3,
          delays: { syncMaxMs: 10, applyMaxMs: random.pick([200, 2_000, 2_000]) },
        },
        nemesis: {
          ...nemesis,
          memberWeight: 30,
          minPauseMs: 20,
          maxPauseMs: random.pick([200, 800]),
        },
      };
    case 'snapshots':
      return {
        ...mixed,
        cluster: {
          ...cluster,
          settings: { ...settings, compaction: { snapshotEveryEntries: 5, trailingEntries: 0 } },
          faults: { ...cluster.faults, lossRatio: 0.2 },
          crashRatio: 0,
        },
      };
  }
}

function drawMixed(random: SeededRandom): Profile {
  const lease = random.chance(0.15);
  return {
    cluster: {
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
          preVote: random.chance(0.8),
          checkQuorum: lease || random.chance(0.8),
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
    },
    nemesis: {
      minPauseMs: 100,
      maxPauseMs: random.pick([1_500, 3_000, 6_000]),
      memberWeight: random.pick([0, 0, 6]),
      leaderLifeMs: random.pick([undefined, undefined, undefined, 300]),
      pausesProcesses: !lease,
      maxNodes: 6,
    },
    workMaxMs: random.pick([20, 60, 200]),
  };
}
