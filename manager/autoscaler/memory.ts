import type {
  Recommendation,
  ScaleEvent,
  ScaleMemory,
} from '../../shared/gen/shoal/v1/autoscale.ts';
import type { FilledAutoscaleSpec } from '../../shared/model/autoscale.ts';
import { nsToMs } from '../../shared/model/units.ts';

/** Without a recommendation for so many milliseconds nobody knows what would have been recommended. */
export const GAP_MS = 5_000;

/** At most so many entries of each kind; beyond, those of one slot of the time they cover become one. */
const MOST_ENTRIES = 40;

export const EMPTY_MEMORY: ScaleMemory = {
  recommendations: [],
  events: [],
  activeAtMs: 0,
  fastSinceMs: 0,
  handSinceMs: 0,
  handReplicas: 0,
};

/**
 * What a new leader makes of the stored memory: since it was written it may have been decided many times that all
 * is well, so the most that can have been recommended, which is the present count where nothing lower is
 * vouched for (`handed-on.ts`), stands for a recommendation of now, and a service that has tasks
 * counts as active now.
 */
export function resumeMemory(
  memory: ScaleMemory | undefined,
  replicas: number,
  nowMs: number,
): ScaleMemory {
  const { ceiling, ...known } = memory ?? EMPTY_MEMORY;
  if (replicas === 0) return known;
  const most = Math.min(replicas, ceiling ?? replicas);
  return {
    ...known,
    recommendations: [...known.recommendations, { atMs: nowMs, replicas: most }],
    activeAtMs: nowMs,
  };
}

/**
 * The memory as a decision may use it: nothing from the future (clocks step back), nothing older than
 * any window, and after a gap (a first sight, lost memory, a time without samples) the present
 * count as a recommendation, so that nothing is lowered within the window after it.
 */
export function recall(
  memory: ScaleMemory,
  rules: FilledAutoscaleSpec,
  replicas: number,
  nowMs: number,
): ScaleMemory {
  const keepMs = Math.max(windowMs(rules), GAP_MS);
  const past = <T extends { atMs: number }>(entries: readonly T[], forMs: number): T[] =>
    entries
      .filter(({ atMs }) => nowMs - atMs < forMs)
      .map((entry) => (entry.atMs > nowMs ? { ...entry, atMs: nowMs } : entry));
  const known: ScaleMemory = {
    recommendations: past(memory.recommendations, keepMs),
    events: past(memory.events, longestPeriodMs(rules)),
    activeAtMs: Math.min(memory.activeAtMs, nowMs),
    fastSinceMs: Math.min(memory.fastSinceMs, nowMs),
    handSinceMs: Math.min(memory.handSinceMs, nowMs),
    handReplicas: memory.handReplicas,
  };
  const gap = !known.recommendations.some(({ atMs }) => nowMs - atMs < GAP_MS);
  return gap ? resumeMemory(known, replicas, nowMs) : known;
}

/** The recommendations with one more, without those that no window can choose any more. */
export function remember(
  recommendations: readonly Recommendation[],
  added: Recommendation,
  rules: FilledAutoscaleSpec,
): Recommendation[] {
  const all = [...recommendations, added];
  // Downwards the most in what is left of a window decides: only what exceeds all later ones can be it.
  const most = staircase(all, (a, b) => a > b, windowMs(rules));
  if (rules.up.stabilizeNs === 0) return most;
  const least = staircase(all, (a, b) => a < b, windowMs(rules));
  const extra = least.filter(
    (entry) =>
      !most.some(({ atMs, replicas }) => atMs === entry.atMs && replicas === entry.replicas),
  );
  return [...most, ...extra].sort((a, b) => a.atMs - b.atMs);
}

/** The events with one more, those of one direction and slot as one when there are many. */
export function rememberEvent(
  events: readonly ScaleEvent[],
  added: ScaleEvent,
  rules: FilledAutoscaleSpec,
): ScaleEvent[] {
  const all = [...events, added];
  if (all.length <= MOST_ENTRIES) return all;
  const slotMs = slotOf(longestPeriodMs(rules) * 2);
  const bySlot = new Map<string, ScaleEvent>();
  for (const event of all) {
    const slot = `${Math.sign(event.change)} ${Math.floor(event.atMs / slotMs)}`;
    const other = bySlot.get(slot);
    bySlot.set(slot, other === undefined ? event : merged(other, event));
  }
  return [...bySlot.values()].sort((a, b) => a.atMs - b.atMs);
}

function merged(one: ScaleEvent, next: ScaleEvent): ScaleEvent {
  const firstMs = Math.min(one.firstMs ?? one.atMs, next.firstMs ?? next.atMs);
  return { atMs: next.atMs, change: one.change + next.change, firstMs };
}

function staircase(
  all: readonly Recommendation[],
  beyond: (a: number, b: number) => boolean,
  forMs: number,
): Recommendation[] {
  const kept: Recommendation[] = [];
  for (const entry of all) {
    for (let last = kept.at(-1); last && !beyond(last.replicas, entry.replicas); last = kept.at(-1))
      kept.pop();
    kept.push(entry);
  }
  if (kept.length <= MOST_ENTRIES) return kept;
  const slotMs = slotOf(forMs);
  const bySlot: Recommendation[] = [];
  for (const entry of kept) {
    const last = bySlot.at(-1);
    const same =
      last !== undefined && Math.floor(last.atMs / slotMs) === Math.floor(entry.atMs / slotMs);
    // The slot's first is its extreme, and it holds as long as the slot's last would.
    if (same) bySlot[bySlot.length - 1] = { atMs: entry.atMs, replicas: last.replicas };
    else bySlot.push(entry);
  }
  return bySlot;
}

/** Slots are aligned to the clock, so an entry is moved by one slot at most however often lists are merged. */
function slotOf(forMs: number): number {
  return Math.max(1, Math.ceil(forMs / (MOST_ENTRIES - 1)));
}

function windowMs(rules: FilledAutoscaleSpec): number {
  return nsToMs(Math.max(rules.up.stabilizeNs, rules.down.stabilizeNs));
}

function longestPeriodMs(rules: FilledAutoscaleSpec): number {
  let longest = 0;
  for (const { periodNs } of rules.up.policies) longest = Math.max(longest, periodNs);
  for (const { periodNs } of rules.down.policies) longest = Math.max(longest, periodNs);
  return nsToMs(longest);
}
