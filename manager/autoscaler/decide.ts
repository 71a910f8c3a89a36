import type { AutoscaleSpec, ScaleMemory } from '../../shared/gen/shoal/v1/autoscale.ts';
import {
  BY_HAND_HOLD_MS,
  type FilledAutoscaleSpec,
  withAutoscaleDefaults,
} from '../../shared/model/autoscale.ts';
import { clock, tasks } from './figures.ts';
import { limitsAt } from './limits.ts';
import { EMPTY_MEMORY, recall, remember, rememberEvent } from './memory.ts';
import { readMetrics } from './readings.ts';
import type { ScaleReason } from './reasons.ts';
import { plainRecord } from './records.ts';
import type { Decide, Decision, DecisionInput } from './types.ts';
import { type Wanted, want } from './wanted.ts';

/**
 * What the count of a service should be, and why. Kubernetes' HPA v2 rules between one and many, KEDA's
 * between none and one, Knative's for the fast window; README.md says where it differs from them.
 * About 4 µs for a service of ten tasks.
 */
export const decide: Decide = (spec, memory, input, nowMs) => {
  const rules = rulesOf(spec);
  const { replicas } = input;
  const answer = (reason: ScaleReason, message: string, kept: ScaleMemory): Decision => ({
    replicas,
    record: plainRecord(replicas, reason, message, nowMs),
    memory: kept,
  });
  if (rules.mode === 'off') return answer('off', 'not scaled: its mode is off', EMPTY_MEMORY);
  const known = recall(memory, rules, replicas, nowMs);
  const limits = limitsAt(rules, nowMs);
  // Before anything was set, none is an operator's doing only where the spec itself asks for more.
  const own = input.setReplicas ?? (rules.min > 0 ? undefined : 0);
  if (replicas === 0 && limits.min > 0 && own !== 0) {
    const message = `not scaled: set to none by hand, though the least is ${tasks(limits.min)}; scale it to 1 to begin again`;
    return answer('disabled-at-zero', message, known);
  }

  const reads = readMetrics(rules, input, nowMs);
  const wanted = want({ rules, limits, known, reads, input, replicas, nowMs });
  const hand = byHand(rules.mode, known, input, nowMs);
  const hold = holdOf(rules.mode, wanted, hand, input, nowMs);
  const changes = hold === undefined && wanted.to !== replicas;
  const result = changes ? wanted.to : replicas;
  const recommended = wanted.recommended;
  return {
    replicas: result,
    record: {
      ...answer(hold?.reason ?? wanted.reason, hold?.message ?? wanted.message, known).record,
      to: wanted.to,
      metrics: reads.map(({ reading }) => reading),
      proposed: wanted.proposed,
      stabilized: wanted.stabilized,
      limited: wanted.limited,
      held: hold !== undefined && wanted.to !== replicas,
    },
    memory: {
      recommendations:
        recommended === undefined
          ? known.recommendations
          : remember(known.recommendations, { atMs: nowMs, replicas: recommended }, rules),
      // Steps to none and back have rules of their own; a rate counted from none would allow nothing.
      events:
        changes && replicas > 0 && result > 0
          ? rememberEvent(known.events, { atMs: nowMs, change: result - replicas }, rules)
          : known.events,
      activeAtMs: wanted.activeAtMs,
      fastSinceMs: wanted.fastAtMs,
      handSinceMs: hand?.sinceMs ?? 0,
      handReplicas: hand === undefined ? 0 : replicas,
    },
  };
};

/** Specs are never changed, and each is decided by once a second. */
const remembered = new WeakMap<AutoscaleSpec, FilledAutoscaleSpec>();

function rulesOf(spec: AutoscaleSpec): FilledAutoscaleSpec {
  const known = remembered.get(spec);
  if (known !== undefined) return known;
  const rules = withAutoscaleDefaults(spec);
  remembered.set(spec, rules);
  return rules;
}

type Hand = Readonly<{ sinceMs: number; from: number }>;

/** Since when the count is another one than the autoscaler's; undefined: it is the autoscaler's. */
function byHand(
  mode: string,
  known: ScaleMemory,
  { replicas, setReplicas }: DecisionInput,
  nowMs: number,
): Hand | undefined {
  // In `recommend` nothing is set by the autoscaler, so nothing can differ from it.
  if (mode !== 'active' || setReplicas === undefined || setReplicas === replicas) return undefined;
  const since = known.handSinceMs > 0 && known.handReplicas === replicas;
  return { sinceMs: since ? known.handSinceMs : nowMs, from: setReplicas };
}

/** Why what is wanted is not to be written now; undefined: it may be. */
function holdOf(
  mode: string,
  { to, reason, message }: Wanted,
  hand: Hand | undefined,
  { replicas, updating, tasks: views }: DecisionInput,
  nowMs: number,
): { reason: ScaleReason; message: string } | undefined {
  if (hand !== undefined && nowMs - hand.sinceMs < BY_HAND_HOLD_MS) {
    const would = to === replicas ? '' : `; otherwise ${message}`;
    const until = clock(hand.sinceMs + BY_HAND_HOLD_MS);
    return {
      reason: 'scaled-by-hand',
      message: `set from ${hand.from} to ${replicas} by hand at ${clock(hand.sinceMs)}, held until ${until}${would}`,
    };
  }
  if (to < replicas && updating) {
    return { reason: 'updating', message: `held while an update is under way: ${message}` };
  }
  const unplaced = views.filter(({ phase }) => phase === 'unplaced').length;
  // The least that is asked for is wanted with or without room; what load asks for waits for it.
  if (to > replicas && unplaced > 0 && reason !== 'below-min') {
    const waiting = unplaced === 1 ? '1 task waits' : `${unplaced} tasks wait`;
    return { reason: 'unplaced', message: `held while ${waiting} for room: ${message}` };
  }
  if (mode === 'recommend' && to !== replicas) {
    return { reason, message: `only recommended: ${message}` };
  }
  return undefined;
}
