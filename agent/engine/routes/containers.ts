import { SIGKILL, SIGTERM, signalNumber } from '../../../shared/model/signal.ts';
import type { Image, ImageConfig } from '../../image/types.ts';
import type { Container } from '../../runtime/types.ts';
import { containerEvent } from '../container-events.ts';
import type { EngineDeps } from '../deps.ts';
import { anyOf, booleanIn, type Filters, labelsMatch, parseFilters, valuesIn } from '../filters.ts';
import { type Call, empty, HttpError, isTrue, json, type Reply } from '../http.ts';
import { containerJson, containerSummaryJson, endpointsOf } from '../json/container.ts';
import { topJson } from '../json/top.ts';
import type { Route } from '../router.ts';
import { withDeadline } from './common.ts';
import { findContainer } from './find-container.ts';

const CONTAINER_FILTERS = [
  'id',
  'name',
  'label',
  'status',
  'exited',
  'ancestor',
  'before',
  'since',
  'volume',
  'network',
  'publish',
  'expose',
  'health',
  'is-task',
  'isolation',
];
/** After SIGKILL an end is a matter of the kernel; longer means something is stuck in it. */
const KILL_MS = 10_000;

export function containerRoutes(deps: EngineDeps): Route[] {
  return [
    ['GET /containers/json', (call) => list(deps, call)],
    ['GET /containers/{id}/json', (call) => inspect(deps, call)],
    ['GET /containers/{id}/top', (call) => top(deps, call)],
    ['POST /containers/{id}/kill', (call) => kill(deps, call)],
    ['POST /containers/{id}/stop', (call) => stop(deps, call)],
    ['POST /containers/{id}/wait', (call) => wait(deps, call)],
    ['DELETE /containers/{id}', (call) => remove(deps, call)],
  ];
}

async function list(deps: EngineDeps, call: Call): Promise<Reply> {
  const filters = parseFilters(call.query, CONTAINER_FILTERS);
  const everything = await deps.runtime.list();
  const limit = Number(call.query.get('limit') ?? '0');
  // Asking for the last ones or for a status shows containers that have ended, too.
  const all =
    isTrue(call.query.get('all')) || limit > 0 || filters.has('status') || filters.has('exited');
  const bound = (name: string) => {
    const [value] = valuesIn(filters, name);
    if (value === undefined) return undefined;
    return everything.find(({ config }) => config.name === value || config.id.startsWith(value))
      ?.config.createdAtMs;
  };
  const before = bound('before');
  const since = bound('since');
  const images = new Map((await deps.images.list()).map((image) => [image.id, image]));
  const shown = everything
    .filter(
      (one) =>
        (all || isUp(one)) &&
        matches(filters, one, images, deps.health.of(one.config.id)?.status) &&
        (before === undefined || one.config.createdAtMs < before) &&
        (since === undefined || one.config.createdAtMs > since),
    )
    .sort((a, b) => b.config.createdAtMs - a.config.createdAtMs);
  const now = deps.clock.now();
  return json(
    shown.slice(0, limit > 0 ? limit : shown.length).map((one) => {
      const image = images.get(one.config.imageId)?.config;
      return containerSummaryJson(one, now, image, deps.health.of(one.config.id));
    }),
  );
}

const isUp = ({ state }: Container) => state.status === 'running' || state.status === 'paused';

function matches(
  filters: Filters,
  { config, state }: Container,
  images: ReadonlyMap<string, Image>,
  health = 'none',
): boolean {
  const isTask = booleanIn(filters, 'is-task');
  const image = images.get(config.imageId);
  return (
    anyOf(filters, 'id', (id) => config.id.startsWith(id)) &&
    anyOf(filters, 'name', (name) => nameMatches(name, config.name)) &&
    labelsMatch(filters, config.labels) &&
    anyOf(filters, 'status', (status) => state.status === status) &&
    anyOf(
      filters,
      'exited',
      (code) => state.status === 'exited' && state.exitCode === Number(code),
    ) &&
    anyOf(
      filters,
      'ancestor',
      (name) =>
        config.image === name ||
        config.imageId === name ||
        config.imageId.startsWith(`sha256:${name}`) ||
        (image?.tags ?? []).some((tag) => tag === name || tag === `${name}:latest`),
    ) &&
    anyOf(filters, 'volume', (wanted) =>
      config.mounts.some(
        (mount) => mount.target === wanted || (mount.type === 'volume' && mount.name === wanted),
      ),
    ) &&
    anyOf(
      filters,
      'network',
      (wanted) =>
        config.network.mode === wanted ||
        endpointsOf(config.network).some(
          ({ networkId, networkName }) => networkName === wanted || networkId.startsWith(wanted),
        ),
    ) &&
    anyOf(filters, 'expose', (port) =>
      (image?.config.exposedPorts ?? []).some((one) => one === port || one === `${port}/tcp`),
    ) &&
    // Ports are published by the cluster: containers here have none.
    anyOf(filters, 'publish', () => false) &&
    anyOf(filters, 'health', (wanted) => health === wanted) &&
    (isTask === undefined || isTask === Object.hasOwn(config.labels, 'com.docker.swarm.task.id'))
  );
}

/** A regular expression as in Docker; what is none is a part of the name. */
function nameMatches(pattern: string, name: string): boolean {
  try {
    return new RegExp(pattern).test(name) || new RegExp(pattern).test(`/${name}`);
  } catch {
    return name.includes(pattern);
  }
}

async function inspect(deps: EngineDeps, call: Call): Promise<Reply> {
  const container = await findContainer(deps.runtime, call.params.id ?? '');
  // The image may have been removed by force: its part is left out then.
  const config: ImageConfig | undefined = await deps.images.get(container.config.imageId).then(
    (image) => image.config,
    () => undefined,
  );
  return json(containerJson(container, config, deps.health.of(container.config.id)));
}

async function running(deps: EngineDeps, call: Call): Promise<Container> {
  const container = await findContainer(deps.runtime, call.params.id ?? '');
  if (!isUp(container)) {
    throw new HttpError(409, `container ${container.config.id} is not running`);
  }
  return container;
}

async function top(deps: EngineDeps, call: Call): Promise<Reply> {
  const { config } = await running(deps, call);
  const pids = await deps.runtime.processes(config.id);
  const rows = await deps.processes.describe(pids);
  return json(topJson(rows, call.query.get('ps_args') ?? '-ef', deps.clock.now()));
}

async function kill(deps: EngineDeps, call: Call): Promise<Reply> {
  const signal = signalAsked(call) ?? SIGKILL;
  const container = await findContainer(deps.runtime, call.params.id ?? '');
  const { config } = container;
  if (!isUp(container)) {
    throw new HttpError(
      409,
      `cannot kill container: ${call.params.id}: container ${config.id} is not running`,
    );
  }
  await deps.runtime.kill(config.id, signal);
  deps.events.publish(containerEvent(config, 'kill', { signal: String(signal) }));
  return empty(204);
}

function signalAsked(call: Call): number | undefined {
  const word = call.query.get('signal') ?? '';
  const signal = word === '' ? undefined : signalNumber(word);
  if (word !== '' && signal === undefined) throw new HttpError(400, `invalid signal: ${word}`);
  return signal;
}

/** Stop signal, grace, SIGKILL. Goes on when the client leaves: half a stop helps nobody. */
async function stop(deps: EngineDeps, call: Call): Promise<Reply> {
  const container = await findContainer(deps.runtime, call.params.id ?? '');
  if (!isUp(container)) return empty(304);
  const { config } = container;
  const signal = signalAsked(call) ?? signalNumber(config.stopSignal) ?? SIGTERM;
  const asked = call.query.get('t');
  const graceMs = asked === null || asked === '' ? config.stopGraceMs : Number(asked) * 1000;
  if (Number.isNaN(graceMs)) throw new HttpError(400, `invalid value for "t": "${asked}"`);
  await deps.runtime.kill(config.id, signal);
  deps.events.publish(containerEvent(config, 'kill', { signal: String(signal) }));
  const never = new AbortController().signal;
  const ended = (limitMs: number) =>
    withDeadline(deps.clock, limitMs, never, (limited) => deps.runtime.wait(config.id, limited));
  if (graceMs < 0) {
    await deps.runtime.wait(config.id, never); // -1: Docker waits for ever, too
  } else {
    await ended(graceMs).catch(async () => {
      await deps.runtime.kill(config.id, SIGKILL);
      deps.events.publish(containerEvent(config, 'kill', { signal: String(SIGKILL) }));
      await ended(KILL_MS);
    });
  }
  deps.events.publish(containerEvent(config, 'stop'));
  return empty(204);
}

const WAIT_CONDITIONS = ['', 'not-running', 'next-exit', 'removed'];

async function wait(deps: EngineDeps, call: Call): Promise<Reply> {
  const condition = call.query.get('condition') ?? '';
  if (!WAIT_CONDITIONS.includes(condition)) {
    throw new HttpError(400, `invalid condition: "${condition}"`);
  }
  const { config } = await findContainer(deps.runtime, call.params.id ?? '');
  // Headers go out at once: clients wait for them before they go on.
  const chunks = (async function* () {
    yield '';
    const { exitCode } = await deps.runtime.wait(config.id, call.signal);
    yield `${JSON.stringify({ StatusCode: exitCode })}\n`;
  })();
  return { kind: 'stream', status: 200, contentType: 'application/json', chunks };
}

async function remove(deps: EngineDeps, call: Call): Promise<Reply> {
  const container = await findContainer(deps.runtime, call.params.id ?? '');
  const { config } = container;
  const force = isTrue(call.query.get('force'));
  if (isUp(container) && !force) {
    throw new HttpError(
      409,
      `cannot remove container "/${config.name}": container is running: stop the container before removing or force remove`,
    );
  }
  await deps.runtime.remove(config.id, { force });
  deps.events.publish(containerEvent(config, 'destroy'));
  if (isTrue(call.query.get('v'))) {
    const names = config.mounts.flatMap((mount) => (mount.type === 'volume' ? [mount.name] : []));
    await deps.volumes.removeAnonymous(names);
  }
  return empty(204);
}
