import type { SeededRandom } from '../sim/random.ts';

/** What is done to a host, and undone after a while. */
export const FAULT_KINDS = [
  'kill manager', // SIGKILL; shoald starts it again
  'kill shoald', // the manager goes on without it
  'power loss', // everything on the host ends at once
  'pause manager', // SIGSTOP for longer than an election takes
  'freeze host', // the same for all of its processes
  'partition', // its link is down
  'deaf', // it sends, and receives nothing
  'mute', // it receives, and sends nothing
  'loss', // part of what it receives and sends is lost
  'narrow link', // a few kilobytes a second, and a queue that delays
  'full disk', // of the manager's log and snapshots
  'leader transfer', // SIGTERM to the leading manager
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];
export type Fault = Readonly<{
  kind: FaultKind;
  /** The leader is looked up when the fault begins. */
  target: 'leader' | number;
  atMs: number;
  forMs: number;
  /** Percent lost, or kbit/s. */
  degree: number;
}>;

/** An election takes 1 to 2 s: some faults end sooner, most do not. */
const FOR_MS: Readonly<Record<FaultKind, readonly [number, number]>> = {
  'kill manager': [0, 0],
  'kill shoald': [0, 0],
  'power loss': [500, 4_000],
  'pause manager': [800, 5_000],
  'freeze host': [800, 5_000],
  partition: [800, 6_000],
  deaf: [1_500, 6_000],
  mute: [1_500, 6_000],
  loss: [2_000, 6_000],
  'narrow link': [2_000, 6_000],
  'full disk': [3_000, 6_000],
  'leader transfer': [0, 0],
};

/**
 * Faults of a run, in order. Kinds come from a shuffled deck, so that a short run has each of them;
 * some overlap with the next, so that two hosts of three are in trouble.
 */
export function planFaults(random: SeededRandom, hosts: number, durationMs: number): Fault[] {
  const faults: Fault[] = [];
  let deck: FaultKind[] = [];
  for (let atMs = 1_000; ; ) {
    if (deck.length === 0) deck = random.shuffled(FAULT_KINDS);
    const kind = deck.pop();
    if (kind === undefined) return faults;
    const [least, most] = FOR_MS[kind];
    const forMs = random.between(least, most);
    // What does not end before the run does would not be seen by anyone.
    if (atMs + forMs > durationMs) return faults;
    const isLeader = kind === 'leader transfer' || random.chance(0.5);
    const target = isLeader ? 'leader' : random.between(0, hosts - 1);
    const degree = kind === 'loss' ? random.between(10, 50) : random.between(40, 400);
    faults.push({ kind, target, atMs, forMs, degree });
    atMs += random.chance(0.25) ? Math.floor(forMs / 2) + 200 : forMs + random.between(800, 2_500);
  }
}
