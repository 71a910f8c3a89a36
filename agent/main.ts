import 'reflect-metadata'; // tsyringe does not load without it
import { hostname as osHostname } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { container, type InjectionToken, instanceCachingFactory as once } from 'tsyringe';
import { aborted } from '../shared/abort.ts';
import { messageOf } from '../shared/errors.ts';
import { newId } from '../shared/ids.ts';
import { consoleLog } from '../shared/io/console-log.ts';
import { trimWhenIdle } from '../shared/io/idle-trim.ts';
import { systemClock, systemRandom } from '../shared/io/system.ts';
import type { Log } from '../shared/log.ts';
import { publishContainerEnds, publishHealth } from './engine/container-events.ts';
import { ControlAccess } from './engine/control-access.ts';
import { engineDispatch } from './engine/dispatch.ts';
import { type EventBus, LocalEventBus } from './engine/events.ts';
import { managerControlClient } from './engine/io/control-client.ts';
import { hostFacts } from './engine/io/host-facts.ts';
import { processTable } from './engine/io/process-table.ts';
import { EngineServer } from './engine/io/server.ts';
import { engineRoutes } from './engine/routes/all.ts';
import type { ControlClient } from './engine/types.ts';
import { SHOAL_VERSION } from './engine/version.ts';
import { type AgentFlags, agentFlags } from './flags.ts';
import { ContainerdImages } from './image/images.ts';
import { hostInterfaces } from './node/io/description.ts';
import { enroll, foundCluster, refoundCluster } from './node/io/enroll.ts';
import { describeBy, endTasks, type HostParts } from './node/io/host-work.ts';
import { NodeStore } from './node/io/node-store.ts';
import { startSide } from './node/io/start-side.ts';
import { Supervisor } from './node/io/supervisor.ts';
import { NodeMembership } from './node/membership.ts';
import { ContainerdClient } from './runtime/io/containerd.ts';
import { containerdCommand, waitReady } from './runtime/io/containerd-daemon.ts';
import { ContainerdRuntime } from './runtime/runtime.ts';
import { shimGroups } from './runtime/shim-group.ts';
import { SERVICE_ID_LABEL } from './task/container-config.ts';
import { HealthBook } from './task/health-book.ts';
import { LocalVolumes } from './volume/io/local-volumes.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const STOP_MANAGER_MS = 5_000;
const CONTAINERD_WITHIN_MS = 30_000;

const token = <T>(name: string) => Symbol(name) as InjectionToken<T>; // keeps T through resolve()
const FLAGS = token<AgentFlags>('Flags');
const LOG = token<Log>('Log');
const NODE_STORE = token<NodeStore>('NodeStore');
const CONTAINERD = token<ContainerdClient>('Containerd');
const RUNTIME = token<ContainerdRuntime>('Runtime');
const IMAGES = token<ContainerdImages>('Images');
const VOLUMES = token<LocalVolumes>('Volumes');
const EVENTS = token<EventBus>('Events');
const HEALTH = token<HealthBook>('Health');
const MEMBERSHIP = token<NodeMembership>('Membership');

container.register(FLAGS, { useFactory: once(() => readFlags()) });
container.register(LOG, { useFactory: once((c) => consoleLog(c.resolve(FLAGS).logLevel)) });
container.register(NODE_STORE, {
  useFactory: once((c) => new NodeStore(c.resolve(FLAGS).stateDir)),
});
container.register(HEALTH, {
  useFactory: once((c) => {
    const deps = {
      runtime: c.resolve(RUNTIME),
      events: c.resolve(EVENTS),
      log: c.resolve(LOG),
    };
    return new HealthBook((id, status) => void publishHealth(deps, id, status));
  }),
});
container.register(EVENTS, { useFactory: once(() => new LocalEventBus(systemClock)) });
container.register(VOLUMES, {
  useFactory: once(
    (c) => new LocalVolumes(join(c.resolve(FLAGS).stateDir, 'volumes'), systemClock, systemRandom),
  ),
});
container.register(CONTAINERD, {
  useFactory: once(
    (c) =>
      new ContainerdClient({ address: containerdSocket(c.resolve(FLAGS)), namespace: 'shoal' }),
  ),
});
container.register(IMAGES, {
  useFactory: once(
    (c) =>
      new ContainerdImages({
        client: c.resolve(CONTAINERD),
        registries: { insecure: c.resolve(FLAGS).insecureRegistries },
        clock: systemClock,
        log: c.resolve(LOG),
      }),
  ),
});
container.register(RUNTIME, {
  useFactory: once((c) => {
    const flags = c.resolve(FLAGS);
    return new ContainerdRuntime({
      client: c.resolve(CONTAINERD),
      stateDir: join(flags.stateDir, 'containers'),
      runDir: join(flags.runDir, 'containers'),
      cgroupParent: flags.cgroupParent,
      runcRoot: join(flags.runDir, 'runc'),
      // Of a containerd that is not ours nothing is known but its socket.
      ...(flags.containerd === '' ? { containerdState: join(flags.runDir, 'containerd') } : {}),
      loggerPath: flags.loggerPath,
      shimGroup: shimGroups((config) => config.labels[SERVICE_ID_LABEL], newId(systemRandom)),
      clock: systemClock,
      log: c.resolve(LOG),
    });
  }),
});
container.register(MEMBERSHIP, {
  useFactory: once((c) => {
    const flags = c.resolve(FLAGS);
    return new NodeMembership({
      store: c.resolve(NODE_STORE),
      clock: systemClock,
      log: c.resolve(LOG),
      hostname: flags.hostname,
      advertiseAddress: flags.advertiseAddress,
      interfaces: hostInterfaces,
      describe: () => describeBy(flags, ''),
      found: (validityMs) => foundCluster(systemRandom, systemClock.now(), validityMs),
      refound: (root, validityMs) =>
        refoundCluster(root, systemRandom, systemClock.now(), validityMs),
      enroll,
      endManager: () => endLeftManager(flags),
      endTasks: (record) => endTasks(hostParts(), record),
      startSide: (record, identity, mode) => {
        const parts = {
          ...hostParts(),
          store: c.resolve(NODE_STORE),
          managerProgram: join(ROOT, 'manager/main.ts'),
          managerSocket: managerSocket(flags),
          managerPidFile: managerPidFile(flags),
          dismissed: () => c.resolve(MEMBERSHIP).dismissed(),
        };
        return startSide(parts, record, identity, mode);
      },
    });
  }),
});

function readFlags(): AgentFlags {
  const text = { type: 'string' } as const;
  const list = { type: 'string', multiple: true } as const;
  const { values } = parseArgs({
    options: {
      'state-dir': text,
      'run-dir': text,
      socket: text,
      hostname: text,
      'advertise-address': text,
      'cgroup-parent': text,
      containerd: text,
      logger: text,
      'insecure-registry': list,
      label: list,
      'log-level': text,
    },
  });
  return agentFlags(values, {
    hostname: osHostname(),
    loggerPath: join(ROOT, 'node_modules/.cache/shoal/shoal-logger'),
  });
}

function containerdSocket(flags: AgentFlags): string {
  return flags.containerd || join(flags.runDir, 'containerd.sock');
}

function managerPidFile(flags: AgentFlags): string {
  return join(flags.runDir, 'manager.pid');
}

function managerSocket(flags: AgentFlags): string {
  return join(flags.runDir, 'manager.sock');
}

/** One that an earlier shoald left running, if there is one. */
function endLeftManager(flags: AgentFlags): Promise<void> {
  const left = { name: 'shoal-manager', argv: ['false'] as const, pidFile: managerPidFile(flags) };
  return new Supervisor(left, systemClock, container.resolve(LOG)).stop(STOP_MANAGER_MS);
}

/** What memberships need of the host, whoever begins or ends one. */
function hostParts(): HostParts {
  return {
    flags: container.resolve(FLAGS),
    runtime: container.resolve(RUNTIME),
    images: container.resolve(IMAGES),
    volumes: container.resolve(VOLUMES),
    events: container.resolve(EVENTS),
    health: container.resolve(HEALTH),
    log: container.resolve(LOG),
  };
}

async function main(): Promise<void> {
  const flags = container.resolve(FLAGS);
  const log = container.resolve(LOG);
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const)
    process.once(name, () => stop.abort(new Error(name)));

  await using cleanup = new AsyncDisposableStack();
  if (flags.containerd === '') {
    const { argv, env } = containerdCommand({
      root: join(flags.stateDir, 'containerd'),
      state: join(flags.runDir, 'containerd'),
      address: containerdSocket(flags),
    });
    const [program = 'containerd', ...args] = argv;
    const supervisor = new Supervisor(
      {
        name: 'containerd',
        argv: [program, ...args],
        env,
        pidFile: join(flags.runDir, 'containerd.pid'),
        logFile: join(flags.stateDir, 'containerd.log'),
      },
      systemClock,
      log,
    );
    supervisor.start();
    // Released and not stopped: containers shall outlive this process.
    cleanup.defer(() => supervisor.release());
  }
  const containerdVersion = await waitReady(
    containerdSocket(flags),
    AbortSignal.any([stop.signal, AbortSignal.timeout(CONTAINERD_WITHIN_MS)]),
  );
  const runtime = container.resolve(RUNTIME);
  await runtime.open(AbortSignal.any([stop.signal, AbortSignal.timeout(CONTAINERD_WITHIN_MS)]));
  cleanup.defer(() => runtime.close());

  const events = container.resolve(EVENTS);
  const telling = publishContainerEnds({ runtime, events, log }, stop.signal).catch((error) => {
    if (!stop.signal.aborted)
      log.error('events of containers end here', { error: messageOf(error) });
  });
  cleanup.defer(() => telling);
  const membership = container.resolve(MEMBERSHIP);
  const saved = await container.resolve(NODE_STORE).load();
  if (saved?.identity !== undefined) await membership.resume(saved.record, saved.identity);
  else if (saved !== undefined) {
    // One that outlived the shoald before this one has the key in memory, and shall not go on.
    await endLeftManager(flags);
    membership.lock(saved.record);
    log.warn('this node is locked: unlock it with docker swarm unlock');
  }
  cleanup.defer(() => membership.close());

  let control: ControlClient | undefined;
  const connect = () => {
    control ??= managerControlClient(managerSocket(flags));
    return control;
  };
  const routes = engineRoutes({
    membership,
    access: new ControlAccess(membership, connect),
    images: container.resolve(IMAGES),
    runtime,
    volumes: container.resolve(VOLUMES),
    health: container.resolve(HEALTH),
    events,
    host: await hostFacts({
      hostname: flags.hostname,
      stateDirectory: flags.stateDir,
      containerdVersion,
      shoalVersion: SHOAL_VERSION,
    }),
    processes: processTable(),
    clock: systemClock,
    random: systemRandom,
    log,
  });
  const server = new EngineServer(engineDispatch(routes), { socketPath: flags.socket, log });
  await server.listen();
  cleanup.defer(() => server.close());
  trimWhenIdle();
  log.info('shoald is up', { socket: flags.socket, version: SHOAL_VERSION });
  await aborted(stop.signal);
  log.info('shoald stops; containers run on');
}

try {
  await main();
  process.exit(0);
} catch (error) {
  process.stderr.write(`shoald: ${messageOf(error)}\n`);
  process.exit(1);
}
