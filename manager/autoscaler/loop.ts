import { messageOf } from '../../shared/errors.ts';
import type { ScaleMemory, ScaleRecord } from '../../shared/gen/shoal/v1/autoscale.ts';
import type { Service } from '../../shared/gen/shoal/v1/objects.ts';
import type { SampleBatch } from '../../shared/gen/shoal/v1/peer.ts';
import type { StoreAction } from '../../shared/gen/shoal/v1/store.ts';
import { DECISION_INTERVAL_MS } from '../../shared/model/autoscale.ts';
import { withReplicas } from '../../shared/model/replicas.ts';
import type { LeaderDeps, LoopBody, Round, Unit } from '../loop.ts';
import { removeAction, scaleDecisionAction, updateAction } from '../store/tables.ts';
import type { Change, ChangeBatch } from '../store/types.ts';
import { handedOn, worthHandingOn } from './handed-on.ts';
import { withQuestion } from './kept-question.ts';
import { reachOf } from './reach.ts';
import { inShort } from './records.ts';
import { scalingOf, scalingOfSpec } from './scaling.ts';
import type { OutsideReader } from './sources.ts';
import { isSwitchedOff, switchOff } from './switched-off.ts';
import type { Decide, Decision, DecisionInput } from './types.ts';
import { WatchedService } from './watched-service.ts';
import type { Moment } from './watched-tasks.ts';
import { worthRecording } from './worth-recording.ts';

/** Services that are written, and that are looked at, in one round; the rest has the next, at once: about 20 ms. */
const SLICE = 200;
const MOST_LOOKS = 500;
/** Records in one round that go with no change: the others are told a second later, if they are still true. */
const MOST_REASONS = 64;
/** A reason for no change must last for so long to be told: a new leader has no samples for a moment, each time. */
const LASTING_MS = 3_000;
/** A service whose decision breaks is a bug: it is said, but not each second. */
const COMPLAIN_MS = 60_000;

export type AutoscaleLoopDeps = LeaderDeps &
  Readonly<{
    decide: Decide;
    outside: OutsideReader;
  }>;

/**
 * Decides about each scaled service once a second, about one that is knocked at at once. What was measured is only
 * here; what was decided goes to the store, with what the next leader must remember of it.
 */
export class AutoscaleLoop implements LoopBody {
  readonly name = 'autoscaler';
  readonly #deps: AutoscaleLoopDeps;
  readonly #services = new Map<string, WatchedService>();
  /** Still to be decided about in this round. */
  readonly #due = new Set<string>();
  /** Logs of services that are gone: to be removed; and of such as are not scaled any more: to be told that. */
  readonly #leftOver = new Set<string>();
  /** What is being written: it counts once it is committed. */
  readonly #pending = new Map<string, Readonly<{ memory: ScaleMemory; knocks: number }>>();
  readonly #complainedAtMs = new Map<string, number>();
  #ring: () => void = () => undefined;
  #nextRoundMs = 0;
  #outsideChanged = true;

  constructor(deps: AutoscaleLoopDeps) {
    this.#deps = deps;
  }

  // ---- what others ask for ----

  service(id: string): WatchedService | undefined {
    return this.#services.get(id);
  }

  ids(): Iterable<string> {
    return this.#services.keys();
  }

  /** What agents measured. What a node cannot know of (tasks of others, services out of its reach) is ignored. */
  report({ nodes }: SampleBatch): void {
    const { clock, store } = this.#deps;
    const monotonicMs = clock.monotonicMs();
    let isUrgent = false;
    for (const { nodeId, ageMs, samples } of nodes) {
      const endMs = monotonicMs - ageMs;
      for (const sample of samples?.samples ?? []) {
        this.#services.get(sample.serviceId)?.tasks.sampled(nodeId, sample, endMs);
      }
      const knocks = samples?.knocks ?? [];
      if (knocks.length === 0) continue;
      const reaches = reachOf(store, nodeId);
      for (const { serviceId, connections } of knocks) {
        const service = this.#services.get(serviceId);
        if (service === undefined || !reaches(service.service)) continue;
        service.knocked(connections);
        // One that has a task coming cannot be helped any sooner.
        if (service.replicas > 0) continue;
        this.#due.add(serviceId);
        isUrgent = true;
      }
    }
    if (isUrgent) this.#ring();
  }

  // ---- the loop ----

  start(ring: () => void): void {
    const { store, clock } = this.#deps;
    this.#ring = ring;
    this.#nextRoundMs = clock.monotonicMs();
    for (const { id } of store.all('autoscaling')) this.#checkLeftOver(id);
    for (const service of store.all('service')) this.#watch(service);
  }

  onCommit({ changes }: ChangeBatch): boolean {
    let moment: Moment | undefined;
    for (const change of changes) {
      if (change.table === 'task') {
        const service = this.#services.get(change.object.serviceId);
        if (service === undefined) continue;
        if (change.action === 'remove') service.tasks.removed(change.object.id);
        else {
          moment ??= this.#now();
          service.tasks.changed(change.object, moment);
        }
      } else if (change.table === 'service') {
        if (change.action === 'remove') this.#unwatch(change.object.id);
        else this.#watch(change.object);
      } else if (change.table === 'autoscaling') this.#recorded(change);
    }
    return this.#leftOver.size > 0;
  }

  decide(): Round {
    const { outside } = this.#deps;
    const moment = this.#now();
    if (moment.monotonicMs >= this.#nextRoundMs) {
      for (const id of this.#services.keys()) this.#due.add(id);
      this.#nextRoundMs = moment.monotonicMs + DECISION_INTERVAL_MS;
    }
    if (this.#outsideChanged) {
      this.#outsideChanged = false;
      outside.follow([...this.#services.values()].flatMap((service) => [...service.outside()]));
    }
    const units: Unit[] = this.#endings(moment);
    let reasons = MOST_REASONS;
    let looks = MOST_LOOKS;
    for (const id of this.#due) {
      if (units.length >= SLICE || looks === 0) return { units, wakeInMs: 0 };
      looks -= 1;
      this.#due.delete(id);
      const service = this.#services.get(id);
      if (service === undefined) continue;
      const unit = this.#decideOne(service, moment, reasons > 0);
      if (unit === undefined) continue;
      if (unit.length === 1) reasons -= 1;
      units.push(unit);
    }
    return { units, wakeInMs: Math.max(1, this.#nextRoundMs - moment.monotonicMs) };
  }

  /** All that was pending was seen to be committed; what remains was refused, or nobody knows. */
  failed(): void {
    for (const [id, { knocks }] of this.#pending) {
      this.#due.add(id);
      this.#services.get(id)?.knocked(knocks); // they wait still
    }
    this.#pending.clear();
  }

  #now(): Moment {
    const { clock } = this.#deps;
    return { nowMs: clock.now(), monotonicMs: clock.monotonicMs() };
  }

  // ---- which services ----

  #watch(service: Service): void {
    const { store } = this.#deps;
    const spec = scalingOf(service);
    if (spec === undefined) {
      this.#unwatch(service.id);
      return;
    }
    const known = this.#services.get(service.id);
    if (known !== undefined) {
      if (known.changed(service, spec)) this.#outsideChanged = true;
      return;
    }
    const moment = this.#now();
    const stored = store.get('autoscaling', service.id);
    const watched = new WatchedService(service, spec, stored, moment);
    for (const task of store.tasksOfService(service.id)) watched.tasks.found(task, moment);
    this.#services.set(service.id, watched);
    this.#leftOver.delete(service.id);
    this.#due.add(service.id);
    this.#outsideChanged = true;
  }

  #unwatch(id: string): void {
    if (this.#services.delete(id)) this.#outsideChanged = true;
    this.#pending.delete(id);
    this.#complainedAtMs.delete(id);
    this.#checkLeftOver(id);
  }

  #checkLeftOver(id: string): void {
    const { store } = this.#deps;
    const stored = store.get('autoscaling', id);
    const hasEnded =
      stored === undefined || (isSwitchedOff(stored) && store.get('service', id) !== undefined);
    if (hasEnded) this.#leftOver.delete(id);
    else this.#leftOver.add(id);
  }

  #endings({ nowMs }: Moment): Unit[] {
    const { store } = this.#deps;
    const units: Unit[] = [];
    for (const id of this.#leftOver) {
      if (units.length >= SLICE) break;
      const stored = store.get('autoscaling', id);
      const service = store.get('service', id);
      if (stored === undefined) this.#leftOver.delete(id);
      else if (service === undefined) units.push([removeAction('autoscaling', id)]);
      else units.push([switchOff(service, nowMs)]);
    }
    return units;
  }

  // ---- one decision ----

  /** What is to be written of it; undefined: nothing. `mayTell`: also when nothing but the reason changed. */
  #decideOne(service: WatchedService, moment: Moment, mayTell: boolean): Unit | undefined {
    const { monotonicMs } = moment;
    const input = service.input(this.#deps.outside, monotonicMs);
    const decision = this.#ask(service, input, moment);
    if (decision === undefined) return undefined;
    const { record } = decision;
    const asked = { spec: service.spec, memory: service.memory, input };
    if (service.last?.reason !== record.reason) service.reasonSinceMs = monotonicMs;
    service.last = record;
    service.knocks = 0;
    // Whatever was decided: who only recommends writes no count.
    const changes = service.isActive && decision.replicas !== input.replicas;
    const lasts = monotonicMs - service.reasonSinceMs >= LASTING_MS;
    const last = service.stored?.records.at(-1);
    const tells = changes || (mayTell && lasts && worthRecording(last, record));
    const handOn = worthHandingOn(service.handed, decision.memory, decision.replicas, moment.nowMs);
    if (!tells && handOn !== 'now' && !(mayTell && handOn === 'soon')) {
      service.memory = decision.memory;
      return undefined;
    }
    this.#pending.set(service.id, { memory: decision.memory, knocks: input.knocks });
    const kept = keep(service, decision, {
      record: tells ? withQuestion(record, asked) : undefined,
      changes,
      nowMs: moment.nowMs,
    });
    return changes ? [scale(service.service, decision.replicas), kept] : [kept];
  }

  #ask(
    service: WatchedService,
    input: DecisionInput,
    { nowMs, monotonicMs }: Moment,
  ): Decision | undefined {
    try {
      return this.#deps.decide(service.spec, service.memory, input, nowMs);
    } catch (error) {
      const saidAtMs = this.#complainedAtMs.get(service.id) ?? Number.NEGATIVE_INFINITY;
      if (monotonicMs - saidAtMs >= COMPLAIN_MS) {
        this.#complainedAtMs.set(service.id, monotonicMs);
        const stack = error instanceof Error ? error.stack : undefined;
        const fields = { service: service.id, error: messageOf(error), stack };
        this.#deps.log.error('could not decide about a service', fields);
      }
      return undefined;
    }
  }

  /** Of a write of this leader, or of one before it that came late. */
  #recorded(change: Extract<Change, { table: 'autoscaling' }>): void {
    const { id } = change.object;
    const service = this.#services.get(id);
    if (service === undefined) {
      this.#checkLeftOver(id);
      return;
    }
    const stored = change.action === 'remove' ? undefined : change.object;
    service.stored = stored;
    // What nobody waits for any more was written after all: then what goes with it is true.
    const memory = this.#pending.get(id)?.memory ?? stored?.memory;
    if (memory !== undefined) service.memory = memory;
    this.#pending.delete(id);
  }
}

function keep(
  { id, isActive, stored, replicas: present, service }: WatchedService,
  { replicas, memory }: Decision,
  told: Readonly<{ record: ScaleRecord | undefined; changes: boolean; nowMs: number }>,
): StoreAction {
  const { record, changes, nowMs } = told;
  // The count that it begins with is as if it had set it, so that another one is known as set by hand.
  const before = stored?.setReplicas ?? (present > 0 ? present : undefined);
  const setReplicas = changes ? replicas : isActive ? before : undefined;
  return scaleDecisionAction({
    serviceId: id,
    record: record && inShort(record),
    memory: handedOn(memory, replicas, nowMs),
    setReplicas,
    serviceName: service.spec?.name ?? '',
  });
}

/** The service with another count, and nothing else: whoever changed it meanwhile wins. */
function scale(service: Service, replicas: number): StoreAction {
  const { spec, previousSpec } = service;
  return updateAction('service', {
    ...service,
    spec: spec && withReplicas(spec, replicas),
    // A rollback goes back to what was declared before. The count was not declared: it stays what the load asks for.
    previousSpec:
      previousSpec !== undefined && scalingOfSpec(previousSpec) !== undefined
        ? withReplicas(previousSpec, replicas)
        : previousSpec,
  });
}
