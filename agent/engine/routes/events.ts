import { Channel } from '../../../shared/channel.ts';
import { type Clock, sleep } from '../../../shared/clock.ts';
import { isShoalError, messageOf } from '../../../shared/errors.ts';
import type { WatchChunk } from '../../../shared/gen/shoal/v1/control.ts';
import type { EngineDeps } from '../deps.ts';
import { type EngineEvent, eventLine, stamp } from '../events.ts';
import { anyOf, type Filters, labelsMatch, parseFilters } from '../filters.ts';
import { type Call, HttpError, type Reply } from '../http.ts';
import type { Route } from '../router.ts';
import { swarmEvent, WATCHED_KINDS } from '../swarm-events.ts';
import { parseTime } from '../times.ts';
import type { WatchStart } from '../types.ts';

const EVENT_FILTERS = [
  'type',
  'event',
  'container',
  'image',
  'label',
  'network',
  'volume',
  'service',
  'node',
  'secret',
  'config',
  'scope',
  'daemon',
  'plugin',
];
/** A reader that is further behind is cut off: it can resume with `since`. */
const QUEUED_EVENTS = 1024;
const LONGEST_TIMER_MS = 2 ** 31 - 1;
/** Between two tries to watch the cluster while its manager is away. */
const RETRY_MS = 1000;
/** How long the past waits for this host's manager. */
const CLUSTER_PAST_MS = 3000;

export function eventRoutes(deps: EngineDeps): Route[] {
  return [['GET /events', (call) => events(deps, call)]];
}

function events(deps: EngineDeps, call: Call): Reply {
  const filters = parseFilters(call.query, EVENT_FILTERS);
  const nowMs = deps.clock.now();
  const sinceMs = parseTime('since', call.query.get('since'), nowMs);
  const untilMs = parseTime('until', call.query.get('until'), nowMs);
  if (sinceMs !== undefined && untilMs !== undefined && untilMs < sinceMs) {
    throw new HttpError(400, '"until" is earlier than "since"');
  }
  const chunks = eventStream(deps, { filters, sinceMs, untilMs }, call.signal);
  return { kind: 'stream', status: 200, contentType: 'application/json', chunks };
}

type Query = Readonly<{
  filters: Filters;
  sinceMs: number | undefined;
  untilMs: number | undefined;
}>;

/** Listens from the call on, and not only from when it is read: what follows the answer's head is told. */
function eventStream(
  deps: EngineDeps,
  query: Query,
  clientSignal: AbortSignal,
): AsyncIterable<string> {
  const { clock, events } = deps;
  const { sinceMs = Number.POSITIVE_INFINITY, untilMs = Number.POSITIVE_INFINITY } = query;
  const stop = new AbortController();
  const signal = AbortSignal.any([clientSignal, stop.signal]);
  const channel = new Channel<EngineEvent>(QUEUED_EVENTS, signal);
  const own = events.past();
  const cluster = listen(deps, query, channel, signal);
  return (async function* () {
    try {
      const past = query.sinceMs === undefined ? [] : [...own, ...(await inTime(cluster))];
      for (const event of past.sort((a, b) => (a.atNs < b.atNs ? -1 : 1))) {
        const isWanted = event.atMs >= sinceMs && event.atMs <= untilMs;
        if (isWanted && matches(event, query.filters)) yield eventLine(event);
      }
      for await (const event of channel) {
        if (matches(event, query.filters)) yield eventLine(event);
      }
    } finally {
      stop.abort(new Error('the reader of events is gone'));
    }
  })();

  /** A manager that does not answer leaves its part of the past out. */
  function inTime(past: Promise<readonly EngineEvent[]>): Promise<readonly EngineEvent[]> {
    const late = sleep(clock, CLUSTER_PAST_MS, signal).then(
      () => [],
      () => [],
    );
    return Promise.race([past, late]);
  }
}

/**
 * This host's events and the cluster's into the channel, until the signal aborts or `until` has come. Resolves
 * with the cluster's events of the past, when they are asked for.
 */
function listen(
  deps: EngineDeps,
  { sinceMs, untilMs }: Query,
  channel: Channel<EngineEvent>,
  signal: AbortSignal,
): Promise<readonly EngineEvent[]> {
  const push = (event: EngineEvent) => {
    if (!channel.offer(event)) channel.close();
  };
  if (untilMs !== undefined && untilMs <= deps.clock.now()) {
    channel.close();
    if (sinceMs === undefined) return Promise.resolve([]);
  }
  const unsubscribe = deps.events.subscribe(push);
  signal.addEventListener('abort', unsubscribe, { once: true });
  if (untilMs !== undefined) {
    sleepUntil(deps.clock, untilMs, signal).then(
      () => channel.close(),
      () => undefined, // the reader is gone
    );
  }
  const past = Promise.withResolvers<readonly EngineEvent[]>();
  // Times in the cluster are whole milliseconds; 0 would mean no past at all.
  const fromMs = sinceMs === undefined ? 0 : Math.max(1, Math.floor(sinceMs));
  watch(deps, fromMs, { past: past.resolve, push }, signal).catch((error: unknown) =>
    channel.fail(error),
  );
  return past.promise;
}

/** Timers count milliseconds in 31 bits: the way to a far end is gone in steps. */
async function sleepUntil(clock: Clock, atMs: number, signal: AbortSignal): Promise<void> {
  while (clock.now() < atMs) {
    await sleep(clock, Math.min(atMs - clock.now(), LONGEST_TIMER_MS), signal);
  }
}

type Told = Readonly<{
  /** Once: what happened before; nothing when this host is no manager or its manager is away. */
  past: (events: readonly EngineEvent[]) => void;
  push: (event: EngineEvent) => void;
}>;

/** Tells the cluster's changes while this host is a manager; waits while it is not. Never throws. */
async function watch(
  { access, clock, log, membership }: EngineDeps,
  sinceMs: number,
  told: Told,
  signal: AbortSignal,
): Promise<void> {
  let lastNs = 0n;
  let start: WatchStart = sinceMs > 0 ? { kind: 'since', ms: sinceMs } : 'now';
  let { clusterId } = membership.standing();
  while (!signal.aborted) {
    const before = clusterId;
    clusterId = membership.standing().clusterId;
    if (clusterId !== before) start = 'now'; // another cluster counts for itself
    const past: EngineEvent[] = [];
    let isPast = sinceMs > 0 && start !== 'now' && start.kind === 'since';
    try {
      const chunks: AsyncIterable<WatchChunk> | [] =
        access.controlIfManager()?.watch(WATCHED_KINDS, start, signal) ?? [];
      for await (const { index, events, atMs } of chunks) {
        if (events.length === 0) {
          told.past(past);
          isPast = false;
        }
        // What happens while the manager is away is told when it is back.
        if (!isPast) start = { kind: 'after', index };
        for (const change of events) {
          const event = swarmEvent(change);
          if (event === undefined) continue;
          const stamped = stamp(event, 'swarm', atMs || clock.now(), lastNs);
          lastNs = stamped.atNs;
          if (isPast) past.push(stamped);
          else told.push(stamped);
        }
      }
    } catch (error) {
      if (!signal.aborted) log.debug('watching the cluster ended', { error: messageOf(error) });
      const isLost =
        isShoalError(error, 'failed-precondition') || isShoalError(error, 'invalid-argument');
      if (isLost) start = 'now'; // no longer kept, or of a state that was given up
    }
    told.past(past);
    if (isPast) start = 'now';
    await sleep(clock, RETRY_MS, signal).catch(() => undefined);
  }
}

const KIND_FILTERS = ['network', 'volume', 'service', 'node', 'secret', 'config', 'daemon'];

export function matches(event: EngineEvent, filters: Filters): boolean {
  const isActor = (value: string) =>
    event.actorId === value ||
    event.attributes.name === value ||
    (value.length >= 4 && event.actorId.startsWith(value));
  const ofKind = (kind: string) =>
    anyOf(filters, kind, (value) => event.type === kind && isActor(value));
  return (
    anyOf(filters, 'type', (type) => event.type === type) &&
    anyOf(filters, 'scope', (scope) => event.scope === scope) &&
    anyOf(
      filters,
      'event',
      (action) => event.action === action || event.action.startsWith(`${action}:`),
    ) &&
    ofKind('container') &&
    anyOf(
      filters,
      'image',
      (value) =>
        (event.type === 'image' && isActor(value)) ||
        (event.type === 'container' && isImage(event.attributes.image ?? '', value)),
    ) &&
    labelsMatch(filters, event.attributes) &&
    KIND_FILTERS.every(ofKind)
  );
}

function isImage(image: string, wanted: string): boolean {
  return image === wanted || image.split(/[@:]/)[0] === wanted;
}
