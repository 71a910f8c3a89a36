import type { ClusterOptions } from './raft-cluster.ts';
import { type NemesisOptions, TROUBLES, type Trouble } from './raft-nemesis.ts';
import { PLACES } from './raft-world.ts';
import type { SeededRandom } from './random.ts';

/**
 * What kind of trouble a run looks for. `mixed` draws everything at large; the others lean to one
 * side, where it takes a rare coincidence to tell a sound implementation from a broken one.
 */
export const PROFILES = [
  'mixed',
  'short-leaders',
  'members',
  'snapshots',
  'disks',
  'leases',
] as const;
export type ProfileName = (typeof PROFILES)[number];
export type Profile = Readonly<{
  name: ProfileName;
  cluster: Omit<ClusterOptions, 'seed' | 'production'>;
  nemesis: NemesisOptions;
  chaosMs: number;
}>;

/** How often each is chosen when the seed chooses. */
const SHARES: readonly ProfileName[] = [
  ...Array.from({ length: 8 }, () => 'mixed' as const),
  ...Array.from({ length: 3 }, () => 'short-leaders' as const),
  ...Array.from({ length: 4 }, () => 'members' as const),
  ...Array.from({ length: 2 }, () => 'snapshots' as const),
  ...Array.from({ length: 2 }, () => 'disks' as const),
  'leases',
];

/** Draws sizes, timing, limits and fault rates of a run. */
export function drawProfile(random: SeededRandom, wanted?: ProfileName): Profile {
  const drawn = random.pick(SHARES);
  const mixed = drawMixed(random);
  return leaning(mixed, wanted ?? drawn, random);
}

function leaning(mixed: Profile, name: ProfileName, random: SeededRandom): Profile {
  const { cluster, nemesis } = mixed;
  const { settings } = cluster;
  const { raft } = settings;
  switch (name) {
    case 'mixed':
      return mixed;
    case 'short-leaders':
      // One entry in an append and slow links: a leader falls between its entries.
      return {
        ...mixed,
        name,
        cluster: {
          ...cluster,
          voters: 3,
          settings: {
            ...settings,
            raft: {
              ...raft,
              preVote: false,
              checkQuorum: false,
              maxMessageBytes: 30,
              maxInflightMessages: 1,
            },
          },
          client: { ...cluster.client, thinkMaxMs: 40 },
          faults: { ...cluster.faults, maxDelayMs: random.pick([100, 300]) },
          crashAt: random.pick([undefined, { place: 'after-answers' as const, ratio: 0.03 }]),
        },
        nemesis: {
          ...nemesis,
          weights: { ...nemesis.weights, members: 0 },
          leaderLifeMs: random.pick([300, 900]),
        },
      };
    case 'members':
      // Changes that are committed and long not applied, while leaders come and go.
      return {
        ...mixed,
        name,
        cluster: {
          ...cluster,
          voters: random.pick([3, 3, 5]),
          delays: { syncMaxMs: 10, applyMaxMs: random.pick([5, 200, 2_000, 2_000]) },
        },
        nemesis: {
          ...nemesis,
          weights: { ...nemesis.weights, members: 30, 'lose-disk': random.pick([0, 0, 8]) },
          minPauseMs: 20,
          maxPauseMs: random.pick([200, 800]),
        },
      };
    case 'snapshots':
      return {
        ...mixed,
        name,
        cluster: {
          ...cluster,
          settings: { ...settings, compaction: { snapshotEveryEntries: 5, trailingEntries: 0 } },
          faults: { ...cluster.faults, lossRatio: 0.2 },
          crashRatio: 0,
        },
      };
    case 'disks':
      return {
        ...mixed,
        name,
        cluster: {
          ...cluster,
          crashRatio: 0.0005,
          crashAt: { place: random.pick(PLACES), ratio: random.pick([0.005, 0.02]) },
          syncErrorRatio: random.pick([0, 0.002]),
        },
        nemesis: {
          ...nemesis,
          weights: { ...nemesis.weights, 'slow-disk': 6, 'full-disk': 6, 'lose-disk': 2, mend: 4 },
        },
      };
    case 'leases':
      // Leases trust that nobody's clock jumps or stands still, and that none drifts far.
      return {
        ...mixed,
        name,
        cluster: {
          ...cluster,
          driftRatio: random.pick([0, 0.03]),
          settings: {
            ...settings,
            raft: { ...raft, checkQuorum: true, readMode: 'lease', electionTicks: 10 },
          },
          client: { ...cluster.client, thinkMaxMs: 30 },
          voters: random.pick([3, 3, 5]),
          clients: 6,
          crashRatio: 0,
          crashAt: undefined,
          syncErrorRatio: 0,
          faults: { ...cluster.faults, maxDelayMs: random.pick([30, 150]) },
        },
        nemesis: {
          ...nemesis,
          minPauseMs: 500,
          maxPauseMs: random.pick([1_500, 3_000]),
          leaderLifeMs: undefined,
          weights: {
            'hand-over-and-isolate': 3,
            'isolate-leader': 3,
            transfer: 1,
            'cut-one-way': 1,
            drift: 1,
            crash: 1,
            mend: 4,
          },
        },
      };
  }
}

/** Some kinds of trouble and not others: too many kinds at once hide each other. */
function drawWeights(random: SeededRandom): Partial<Record<Trouble, number>> {
  const weights: Partial<Record<Trouble, number>> = {};
  for (const trouble of TROUBLES) {
    if (random.chance(0.6)) weights[trouble] = random.between(1, 3);
  }
  return {
    ...weights,
    mend: random.between(2, 5),
    members: random.pick([0, 0, 6]),
    'lose-disk': random.pick([0, 1]),
  };
}

function drawMixed(random: SeededRandom): Profile {
  return {
    name: 'mixed',
    cluster: {
      voters: random.pick([3, 3, 3, 3, 3, 3, 5, 5, 5, 1, 2, 7]),
      settings: {
        tickMs: 100,
        encodes: random.chance(0.15),
        batchMaxMs: random.pick([0, 5, 50]),
        sessions: { maxSessions: random.pick([3, 50, 50]), maxWritesAhead: 4 },
        compaction: {
          snapshotEveryEntries: random.pick([5, 25, 100, 1_000_000]),
          trailingEntries: random.pick([0, 3, 20]),
        },
        raft: {
          electionTicks: random.pick([4, 6, 10]),
          heartbeatTicks: random.pick([1, 1, 3]),
          preVote: random.chance(0.8),
          checkQuorum: random.chance(0.8),
          maxMessageBytes: random.pick([60, 300, 1 << 20]),
          maxInflightMessages: random.pick([1, 3, 256]),
          maxInflightBytes: random.pick([200, 1 << 20]),
          maxUncommittedBytes: random.pick([300, 1 << 20]),
          maxApplyingBytes: random.pick([1, 500, 1 << 20]),
          maxPendingReads: random.pick([3, 100]),
          readMode: 'quorum',
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
      clients: random.between(2, 6),
      client: {
        keys: random.between(1, 4),
        thinkMaxMs: random.pick([30, 100, 300]),
        timeoutMs: random.pick([200, 600, 1_500]),
        tries: random.pick([2, 4, 8]),
      },
      crashRatio: random.pick([0, 0.0002, 0.001]),
      crashAt: random.chance(0.3)
        ? { place: random.pick(PLACES), ratio: random.pick([0.002, 0.01]) }
        : undefined,
      syncErrorRatio: random.pick([0, 0, 0.001]),
      driftRatio: random.pick([0, 0.01, 0.1, 0.5]),
    },
    nemesis: {
      minPauseMs: 100,
      maxPauseMs: random.pick([1_000, 2_000, 4_000]),
      weights: drawWeights(random),
      leaderLifeMs: random.pick([undefined, undefined, undefined, 300]),
      maxNodes: 7,
    },
    chaosMs: random.pick([4_000, 8_000, 12_000]),
  };
}
