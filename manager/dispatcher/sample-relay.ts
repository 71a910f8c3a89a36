import { type Clock, sleep } from '../../shared/clock.ts';
import { messageOf } from '../../shared/errors.ts';
import type { Knock, TaskSample, TaskSamples } from '../../shared/gen/shoal/v1/autoscale.ts';
import type { NodeSamples, SampleBatch } from '../../shared/gen/shoal/v1/peer.ts';
import type { Log } from '../../shared/log.ts';
import { Bell } from './bell.ts';

/** Batches are at least this far apart, but for knocks: somebody waits for those. */
const BATCH_PERIOD_MS = 500;
/** Knocks that come together go together. */
const GATHER_MS = 5;
/** Of one call, with knocks: about half a megabyte. */
const BATCH_MAX_SAMPLES = 5_000;
/** Of one node: seconds that the leader may be away without a loss. Beyond, the newest are kept. */
const NODE_MAX_MESSAGES = 4;
/** Of one message; a node has some hundred tasks. */
const MESSAGE_MAX_SAMPLES = 2_000;
/** Of one node, in one message and in all that wait. */
const NODE_MAX_KNOCKS = 1_000;
/** Ids have 25 characters; what is much longer is none, and would make a batch too large to be sent. */
const ID_MAX_LENGTH = 64;
/** What is older says nothing about now, and of a service that was knocked at so long ago nobody waits. */
const TOO_OLD_MS = 10_000;

export type SampleRelayDeps = Readonly<{
  /** To the leader. */
  send: (batch: SampleBatch, signal: AbortSignal) => Promise<void>;
  clock: Clock;
  log: Log;
}>;

type Received = Readonly<{ atMs: number; samples: readonly TaskSample[] }>;
type Pending = {
  messages: Received[];
  /** By service: connections, and since when the first of them waits. */
  knocks: Map<string, { connections: number; atMs: number }>;
};
type Taken = Readonly<{ nodeId: string; pending: Pending }>;

/**
 * Carries what agents measured to the leader, in batches. Nothing is acknowledged, and what cannot be told in
 * time is dropped: there will be another sample in a second. Knocks are summed up until they are told.
 */
export class SampleRelay {
  readonly #deps: SampleRelayDeps;
  readonly #pending = new Map<string, Pending>();
  readonly #bell = new Bell();
  #isUrgent = false;
  #wakeEarly: (() => void) | undefined;

  constructor(deps: SampleRelayDeps) {
    this.#deps = deps;
  }

  add(nodeId: string, { samples, knocks }: TaskSamples): void {
    const atMs = this.#deps.clock.monotonicMs();
    const pending = this.#of(nodeId);
    if (samples.length > 0) {
      const sound = samples.slice(0, MESSAGE_MAX_SAMPLES).filter(hasIds);
      pending.messages.push({ atMs, samples: sound });
      if (pending.messages.length > NODE_MAX_MESSAGES) pending.messages.shift();
    }
    for (const { serviceId, connections } of knocks.slice(0, NODE_MAX_KNOCKS)) {
      if (connections === 0 || serviceId.length > ID_MAX_LENGTH) continue;
      addKnock(pending, serviceId, connections, atMs);
      this.#isUrgent = true;
    }
    this.#bell.ring();
    if (this.#isUrgent) this.#wakeEarly?.();
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#deps;
    let sentAtMs = Number.NEGATIVE_INFINITY;
    while (!signal.aborted) {
      await this.#bell.heard(signal);
      await this.#pause(sentAtMs + BATCH_PERIOD_MS, signal);
      if (signal.aborted) return;
      sentAtMs = clock.monotonicMs();
      const taken = this.#take();
      let sent = 0;
      try {
        for (const part of inBatches(taken)) {
          await this.#deps.send({ nodes: part.flatMap((each) => this.#message(each)) }, signal);
          sent += part.length;
        }
      } catch (error) {
        if (signal.aborted) return;
        log.debug('the leader is not told what was measured', { error: messageOf(error) });
        // As long as a batch takes, also with knocks: what does not lead now does not in 5 ms either.
        await sleep(clock, BATCH_PERIOD_MS, signal).catch(() => undefined);
        this.#putBack(taken.slice(sent));
      }
    }
  }

  /** Until the next batch is due; not at all when somebody knocks. */
  async #pause(untilMs: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    const hurry = new AbortController();
    this.#wakeEarly = () => hurry.abort();
    if (!this.#isUrgent) {
      const either = AbortSignal.any([signal, hurry.signal]);
      await sleep(clock, Math.max(GATHER_MS, untilMs - clock.monotonicMs()), either).catch(
        () => undefined,
      );
    }
    this.#wakeEarly = undefined;
    if (this.#isUrgent) await sleep(clock, GATHER_MS, signal).catch(() => undefined);
  }

  #of(nodeId: string): Pending {
    const known = this.#pending.get(nodeId);
    if (known !== undefined) return known;
    const pending: Pending = { messages: [], knocks: new Map() };
    this.#pending.set(nodeId, pending);
    return pending;
  }

  #take(): Taken[] {
    const taken: Taken[] = [];
    for (const [nodeId, pending] of this.#pending) taken.push({ nodeId, pending });
    this.#pending.clear();
    this.#isUrgent = false;
    this.#bell.hush();
    return taken;
  }

  #putBack(taken: readonly Taken[]): void {
    const oldestMs = this.#deps.clock.monotonicMs() - TOO_OLD_MS;
    for (const { nodeId, pending } of taken) {
      const recent = pending.messages.filter(({ atMs }) => atMs > oldestMs);
      const knocks = [...pending.knocks].filter(([, { atMs }]) => atMs > oldestMs);
      if (recent.length === 0 && knocks.length === 0) continue;
      const into = this.#of(nodeId);
      into.messages = [...recent, ...into.messages].slice(-NODE_MAX_MESSAGES);
      for (const [serviceId, { connections, atMs }] of knocks) {
        addKnock(into, serviceId, connections, atMs);
        this.#isUrgent = true;
      }
      this.#bell.ring();
    }
  }

  #message({ nodeId, pending: { messages, knocks } }: Taken): NodeSamples[] {
    const nowMs = this.#deps.clock.monotonicMs();
    const parts = messages.map(({ atMs, samples }) => nodeSamples(nodeId, nowMs - atMs, samples));
    if (knocks.size === 0) return parts;
    const told = [...knocks].map(([serviceId, { connections }]) => ({ serviceId, connections }));
    return [...parts, nodeSamples(nodeId, 0, [], told)];
  }
}

function nodeSamples(
  nodeId: string,
  ageMs: number,
  samples: readonly TaskSample[],
  knocks: Knock[] = [],
): NodeSamples {
  return { nodeId, ageMs: Math.round(ageMs), samples: { samples: [...samples], knocks } };
}

const MOST_CONNECTIONS = 0xffff_ffff;

function hasIds({ taskId, serviceId }: TaskSample): boolean {
  return taskId.length <= ID_MAX_LENGTH && serviceId.length <= ID_MAX_LENGTH;
}

function addKnock(pending: Pending, serviceId: string, connections: number, atMs: number): void {
  const known = pending.knocks.get(serviceId);
  if (known === undefined && pending.knocks.size >= NODE_MAX_KNOCKS) return;
  const sum = Math.min(MOST_CONNECTIONS, (known?.connections ?? 0) + connections);
  pending.knocks.set(serviceId, {
    connections: sum,
    atMs: Math.min(atMs, known?.atMs ?? atMs),
  });
}

function inBatches(taken: readonly Taken[]): Taken[][] {
  const batches: Taken[][] = [];
  let batch: Taken[] = [];
  let size = 0;
  for (const one of taken) {
    const { messages, knocks } = one.pending;
    const count = messages.reduce((sum, { samples }) => sum + samples.length, knocks.size);
    if (batch.length > 0 && size + count > BATCH_MAX_SAMPLES) {
      batches.push(batch);
      batch = [];
      size = 0;
    }
    batch.push(one);
    size += count;
  }
  if (batch.length > 0) batches.push(batch);
  return batches;
}
