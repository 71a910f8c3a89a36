import { Channel } from '../../../shared/channel.ts';
import { type Clock, sleep } from '../../../shared/clock.ts';
import { messageOf } from '../../../shared/errors.ts';
import type { EngineDeps } from '../deps.ts';
import { type EngineEvent, eventLine, stamp } from '../events.ts';
import { anyOf, type Filters, labelsMatch, parseFilters } from '../filters.ts';
import { type Call, HttpError, type Reply } from '../http.ts';
import type { Route } from '../router.ts';
import { swarmEvent, WATCHED_KINDS } from '../swarm-events.ts';
import { parseTime } from '../times.ts';

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
  const isPast = query.untilMs !== undefined && query.untilMs <= clock.now();
  const past = query.sinceMs === undefined ? [] : events.past();
  const stop = new AbortController();
  const signal = AbortSignal.any([clientSignal, stop.signal]);
  const channel = new Channel<EngineEvent>(QUEUED_EVENTS, signal);
  if (isPast) channel.close();
  else listen(deps, query, channel, signal);
  return (async function* () {
    try {
      for (const event of past) {
        const isWanted =
          event.atMs >= (query.sinceMs ?? 0) &&
          event.atMs <= (query.untilMs ?? Number.POSITIVE_INFINITY);
        if (isWanted && matches(event, query.filters)) yield eventLine(event);
      }
      for await (const event of channel) {
        if (matches(event, query.filters)) yield eventLine(event);
      }
    } finally {
      stop.abort(new Error('the reader of events is gone'));
    }
  })();
}

/** This host's events and the cluster's into the channel, until the signal aborts or `until` has come. */
function listen(
  deps: EngineDeps,
  { untilMs }: Query,
  channel: Channel<EngineEvent>,
  signal: AbortSignal,
): void {
  const push = (event: EngineEvent) => {
    if (!channel.offer(event)) channel.close();
  };
  const unsubscribe = deps.events.subscribe(push);
  signal.addEventListener('abort', unsubscribe, { once: true });
  if (untilMs !== undefined) {
    sleepUntil(deps.clock, untilMs, signal).then(
      () => channel.close(),
      () => undefined, // the reader is gone
    );
  }
  watch(deps, push, signal).catch((error: unknown) => channel.fail(error));
}

/** Timers count milliseconds in 31 bits: the way to a far end is gone in steps. */
async function sleepUntil(clock: Clock, atMs: number, signal: AbortSignal): Promise<void> {
  while (clock.now() < atMs) {
    await sleep(clock, Math.min(atMs - clock.now(), LONGEST_TIMER_MS), signal);
  }
}

/** Tells the cluster's changes while this host is a manager; waits while it is not. Never throws. */
async function watch(
  { access, clock, log }: EngineDeps,
  push: (event: EngineEvent) => void,
  signal: AbortSignal,
): Promise<void> {
  let lastNs = 0n;
  while (!signal.aborted) {
    try {
      const chunks = access.controlIfManager()?.watch(WATCHED_KINDS, signal) ?? [];
      for await (const chunk of chunks) {
        for (const change of chunk.events) {
          const event = swarmEvent(change);
          if (event === undefined) continue;
          const stamped = stamp(event, 'swarm', clock.now(), lastNs);
          lastNs = stamped.atNs;
          push(stamped);
        }
      }
    } catch (error) {
      if (!signal.aborted) log.debug('watching the cluster ended', { error: messageOf(error) });
    }
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
