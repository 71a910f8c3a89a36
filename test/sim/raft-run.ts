import { RaftCluster } from './raft-cluster.ts';
import { RaftNemesis } from './raft-nemesis.ts';
import { drawProfile, type ProfileName } from './raft-profile.ts';
import type { Production } from './raft-world.ts';
import { SeededRandom } from './random.ts';

const CONVERGE_MS = 60_000;
/** Keeps the profile's draws apart from those of the run. */
const PROFILE_SALT = 0x5eed;
const EVENTS_TOLD = 40;

export type RunOptions = Readonly<{
  /** Drawn from the seed when it is not given. */
  profile?: ProfileName;
  /** The code under test, when it is not the sound one. */
  production?: Production;
  /** How many of the last events a failure tells. */
  events?: number;
}>;
export type RunResult = Readonly<{
  profile: ProfileName | 'managers';
  acknowledged: number;
  reads: number;
  /** Calls in the clients' history. */
  calls: number;
  /** Of them, those whose outcome is unknown. */
  unknown: number;
  lastTerm: number;
  /** The checker of linearizability gave up: neither good nor bad. */
  undecided: boolean;
  /** How much happened. */
  events: number;
  /** What became of the run, in one number: equal runs have equal ones. */
  fingerprint: number;
}>;

/** A run that broke a promise: which, where, and what happened last. */
export class RunFailure extends Error {
  readonly seed: number;
  constructor(seed: number, message: string, cause: unknown) {
    super(message, { cause });
    this.seed = seed;
  }
}

/** One whole run from a seed: trouble, then healing. Throws RunFailure at the first broken promise. */
export function runRaft(
  seed: number,
  { profile, production, events = EVENTS_TOLD }: RunOptions = {},
): RunResult {
  const drawn = drawProfile(new SeededRandom(seed ^ PROFILE_SALT), profile);
  const cluster = new RaftCluster({ ...drawn.cluster, seed, ...(production && { production }) });
  try {
    const nemesis = new RaftNemesis(cluster, drawn.nemesis);
    cluster.clock.runFor(drawn.chaosMs);
    nemesis.stop();
    cluster.healAndConverge(CONVERGE_MS);
  } catch (error) {
    throw new RunFailure(seed, describeFailure(cluster, error, seed, profile, events), error);
  }
  const { operations } = cluster.history;
  const [leader] = cluster.leaders();
  return {
    profile: drawn.name,
    acknowledged: cluster.checks.acknowledgedCount,
    reads: cluster.checks.readCount,
    calls: operations.length,
    unknown: operations.filter((one) => one.return === Number.POSITIVE_INFINITY).length,
    lastTerm: leader?.status().term ?? 0,
    undecided: cluster.undecided,
    events: cluster.clock.count,
    fingerprint: ((leader?.digest ?? 0) ^ Math.imul(cluster.clock.count, 0x9e3779b9)) >>> 0,
  };
}

function describeFailure(
  cluster: RaftCluster,
  error: unknown,
  seed: number,
  profile: ProfileName | undefined,
  events: number,
): string {
  const nameOf = (id: string) => cluster.nameOf(id);
  const what = error instanceof Error ? error.message : String(error);
  const named = what.replace(/\b[0-9a-z]{25}\b/g, nameOf);
  return [
    named,
    `members ${cluster.describe()}`,
    `last events:`,
    ...cluster.events.last(events, nameOf).map((line) => `  ${line}`),
    `again: npm run sim -- --from ${seed} --seeds 1${profile === undefined ? '' : ` --profile ${profile}`}`,
  ].join('\n');
}
