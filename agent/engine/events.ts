import type { Clock } from '../../shared/clock.ts';

/** Something that happened on this host or in the cluster, as `docker events` shows it. */
export type EngineEvent = Readonly<{
  type: string; // container, image, volume, network, service, node, secret, config, daemon
  action: string;
  actorId: string;
  attributes: Readonly<Record<string, string>>;
  scope: 'local' | 'swarm';
  atMs: number;
  /** `atMs` in nanoseconds; later events have greater ones. */
  atNs: bigint;
}>;

export type NewEvent = Readonly<{
  type: string;
  action: string;
  actorId: string;
  attributes?: Readonly<Record<string, string>>;
}>;

/** Where this host's happenings are told and heard. */
export interface EventBus {
  publish(event: NewEvent): void;
  /** Past events that are still kept, oldest first. */
  past(): readonly EngineEvent[];
  /** Called synchronously for each event from now on. Returns how to stop it. */
  subscribe(listener: (event: EngineEvent) => void): () => void;
}

/** Docker keeps 256. */
const KEPT_EVENTS = 1024;

export class LocalEventBus implements EventBus {
  readonly #clock: Clock;
  readonly #ring: EngineEvent[] = [];
  readonly #listeners = new Set<(event: EngineEvent) => void>();
  #lastNs = 0n;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  publish(event: NewEvent): void {
    const stamped = stamp(event, 'local', this.#clock.now(), this.#lastNs);
    this.#lastNs = stamped.atNs;
    this.#ring.push(stamped);
    // A shift of 1024 references costs less than a ring's index arithmetic is worth.
    if (this.#ring.length > KEPT_EVENTS) this.#ring.shift();
    for (const listener of this.#listeners) listener(stamped);
  }

  past(): readonly EngineEvent[] {
    return [...this.#ring];
  }

  subscribe(listener: (event: EngineEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }
}

/** Gives an event its time: later than the event before it, so that clients can resume after one. */
export function stamp(
  event: NewEvent,
  scope: EngineEvent['scope'],
  nowMs: number,
  afterNs = 0n,
): EngineEvent {
  const nowNs = BigInt(Math.floor(nowMs)) * 1_000_000n;
  const atNs = nowNs > afterNs ? nowNs : afterNs + 1n;
  return {
    ...event,
    attributes: event.attributes ?? {},
    scope,
    atMs: Number(atNs / 1_000_000n),
    atNs,
  };
}

/** One line of `GET /events`. The nanoseconds do not fit a JavaScript number: they are spliced in. */
export function eventLine(event: EngineEvent): string {
  const hasShortForm = event.type === 'container' || event.type === 'image';
  const head = {
    ...(hasShortForm && { status: event.action, id: event.actorId }),
    ...(event.type === 'container' && { from: event.attributes.image ?? '' }),
    Type: event.type,
    Action: event.action,
    Actor: { ID: event.actorId, Attributes: event.attributes },
    scope: event.scope,
    time: Math.floor(event.atMs / 1000),
  };
  return `${JSON.stringify(head).slice(0, -1)},"timeNano":${event.atNs}}\n`;
}
