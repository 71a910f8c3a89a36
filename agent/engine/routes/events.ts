import { sleep } from '../../../shared/clock.ts';
import { messageOf } from '../../../shared/errors.ts';
import { Channel } from '../channel.ts';
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
  return {
    kind: 'stream',
    status: 200,
    contentType: 'application/json',
    chunks: eventStream(deps, { filters, sinceMs, untilMs }, call.signal),
  };
}

type Query = Readonly<{
  filters: Filters;
  sinceMs: number | undefined;
  untilMs: number | undefined;
}>;

async function* eventStream(
  deps: EngineDeps,
  query: Query,
  clientSignal: AbortSignal,
): AsyncGenerator<string> {
  const { clock, events } = deps;
  const stop = new AbortController();
  const signal = AbortSignal.any([clientSignal, stop.signal]);
  const channel = new Channel<EngineEvent>(QUEUED_EVENTS, signal);
  const push = (event: EngineEvent) => {
    if (!channel.push(event)) channel.close();
  };
  const unsubscribe = events.subscribe(push);
  const remainingMs = query.untilMs === undefined ? undefined : query.untilMs - clock.now();
  const timer =
    remainingMs === undefined || remainingMs <= 0
      ? undefined
      : clock.after(remainingMs, () => channel.close());
  // What is past is in the ring only; the cluster's changes are told from now on.
  const watching =
    remainingMs !== undefined && remainingMs <= 0 ? undefined : watch(deps, push, signal);
  try {
    if (query.sinceMs !== undefined) {
      for (const event of events.past()) {
        if (
          event.atMs >= query.sinceMs &&
          isBefore(event, query.untilMs) &&
          matches(event, query.filters)
        ) {
          yield eventLine(event);
        }
      }
    }
    if (remainingMs !== undefined && remainingMs <= 0) return;
    for await (const event of channel) {
      if (matches(event, query.filters)) yield eventLine(event);
    }
  } finally {
    timer?.cancel();
    unsubscribe();
    stop.abort(new Error('the reader of events is gone'));
    await watching;
  }
}

function isBefore(event: EngineEvent, untilMs: number | undefined): boolean {
  return untilMs === undefined || event.atMs <= untilMs;
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
