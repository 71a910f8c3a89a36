// One manager host without its processes: the Engine API on a real socket, over the real control,
// orchestrator, allocator and scheduler on a store without Raft. Hosts are played: each task becomes
// running a moment after it was assigned, and those of this host show up in its (fake) runtime.

import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ControlAccess } from '../../agent/engine/control-access.ts';
import { engineDispatch } from '../../agent/engine/dispatch.ts';
import { LocalEventBus } from '../../agent/engine/events.ts';
import { watchRequest } from '../../agent/engine/io/control-client.ts';
import { processTable } from '../../agent/engine/io/process-table.ts';
import { EngineServer } from '../../agent/engine/io/server.ts';
import { headOf, openChunk } from '../../agent/engine/list-chunk.ts';
import { engineRoutes } from '../../agent/engine/routes/all.ts';
import type {
  ControlClient,
  HostFacts,
  Membership,
  NodeStanding,
  ObjectKind,
  ObjectOf,
} from '../../agent/engine/types.ts';
import { HealthBook } from '../../agent/task/health-book.ts';
import { LocalVolumes } from '../../agent/volume/io/local-volumes.ts';
import { runAllocator } from '../../manager/allocator/runner.ts';
import { localRoots } from '../../manager/ca/io/roots.ts';
import { Control } from '../../manager/control/control.ts';
import { runOrchestrator } from '../../manager/orchestrator/runner.ts';
import { runScheduler } from '../../manager/scheduler/runner.ts';
import { Store } from '../../manager/store/store.ts';
import { createAction, taskStatusAction } from '../../manager/store/tables.ts';
import { StoreWriter } from '../../manager/store/writer.ts';
import { ShoalError } from '../../shared/errors.ts';
import {
  type GetAutoscalingRequest,
  type GetAutoscalingResponse,
  ListRequest,
  RemoveRequest,
  type WatchChunk,
  type WatchRequest,
} from '../../shared/gen/shoal/v1/control.ts';
import type { LogMessage, LogSubscription } from '../../shared/gen/shoal/v1/logs.ts';
import {
  type Node,
  NodeAvailability,
  NodeRole,
  NodeState,
  StoreObject,
  type Task,
  TaskState,
} from '../../shared/gen/shoal/v1/objects.ts';
import { systemClock, systemRandom } from '../../shared/io/system.ts';
import { silentLog } from '../../shared/log.ts';
import { isTerminal, isWanted } from '../../shared/model/task-state.ts';
import { containerConfig } from './container-config.ts';
import { FakeImages, FakeRuntime, imageFixture } from './fake-host.ts';
import { clusterFixture, networkFixture, nodeFixture } from './objects.ts';
import { InMemoryConsensus } from './store.ts';

const FACTS: HostFacts = {
  hostname: 'h1',
  kernelVersion: '6.1.0',
  operatingSystem: 'Debian GNU/Linux 12',
  osVersion: '12',
  machine: 'x86_64',
  architecture: 'amd64',
  cpus: 2,
  memoryBytes: 4 * 1024 ** 3,
  cgroupVersion: 1,
  stateDirectory: '/var/lib/shoal',
  containerdVersion: '1.7.0',
  runcVersion: '1.1.0',
  shoalVersion: '0.1.0',
};

export type Docker = Readonly<{ code: number; stdout: string; stderr: string }>;

export class EngineHost {
  readonly folder: string;
  readonly socketPath: string;
  readonly runtime = new FakeRuntime();
  readonly images = new FakeImages(imageFixture());
  readonly events = new LocalEventBus(systemClock);
  readonly store = new Store({});
  readonly consensus = new InMemoryConsensus(this.store);
  readonly writer: StoreWriter;
  readonly control: Control;
  /** What the leader's autoscaler would tell. */
  autoscaling: (request: GetAutoscalingRequest) => Promise<GetAutoscalingResponse> = () =>
    Promise.resolve({ services: [] });
  readonly self: Node;
  /** What the host says of itself; tests replace it to play a worker or a host outside of clusters. */
  standing: NodeStanding;
  readonly membershipCalls: unknown[] = [];
  /** What opens it while it is locked. */
  unlockedBy = '';
  readonly #stop = new AbortController();
  #managerGone = new AbortController();
  readonly #running: Promise<unknown>[] = [];
  readonly health = new HealthBook();
  readonly #server: EngineServer;

  static async start(): Promise<EngineHost> {
    const host = new EngineHost(await mkdtemp(join(tmpdir(), 'shoal-engine-')));
    await host.#open();
    return host;
  }

  private constructor(folder: string) {
    this.folder = folder;
    this.socketPath = join(folder, 'shoal.sock');
    const { consensus } = this;
    this.writer = new StoreWriter({
      consensus,
      store: this.store,
      clock: systemClock,
      random: systemRandom,
    });
    this.control = new Control({
      store: this.store,
      writer: this.writer,
      consensus,
      clock: systemClock,
      random: systemRandom,
      log: silentLog,
      rootDigest: () => 'd'.repeat(50),
      roots: localRoots,
    });
    this.self = namedNode('h1', NodeRole.MANAGER);
    this.standing = {
      localState: 'active',
      nodeId: this.self.id,
      nodeAddress: '10.0.0.1',
      isManager: true,
      warnings: [],
      remoteManagers: [{ nodeId: this.self.id, address: '10.0.0.1:2377' }],
      clusterId: 'c',
      description: this.self.description as NodeStanding['description'],
    };
    const membership = this.#membership();
    const routes = engineRoutes({
      membership,
      access: new ControlAccess(membership, () => this.#client()),
      images: this.images,
      runtime: this.runtime,
      health: this.health,
      volumes: new LocalVolumes(join(folder, 'volumes'), systemClock, systemRandom),
      events: this.events,
      host: FACTS,
      processes: processTable(),
      clock: systemClock,
      random: systemRandom,
      log: silentLog,
    });
    this.#server = new EngineServer(engineDispatch(routes), {
      socketPath: this.socketPath,
      log: silentLog,
    });
  }

  async #open(): Promise<void> {
    const ingress = networkFixture({ spec: { name: 'ingress', driver: 'overlay', ingress: true } });
    await this.writer.write([
      createAction('cluster', clusterFixture()),
      createAction('network', ingress),
      createAction('node', this.self),
      createAction('node', namedNode('h2', NodeRole.WORKER)),
    ]);
    const deps = {
      store: this.store,
      writer: this.writer,
      clock: systemClock,
      random: systemRandom,
      log: silentLog,
    };
    const { signal } = this.#stop;
    this.#running.push(
      runAllocator(deps, signal),
      runOrchestrator(deps, signal),
      runScheduler(deps, signal),
      this.#playHosts(signal),
    );
    await this.#server.listen();
  }

  async close(): Promise<void> {
    await this.#server.close();
    this.#stop.abort(new Error('the test is over'));
    await Promise.allSettled(this.#running);
    await rm(this.folder, { recursive: true, force: true });
  }

  /** Runs the docker CLI against this host; ends it after `limitMs`. */
  docker(args: readonly string[], options: { input?: string; limitMs?: number } = {}) {
    return new Promise<Docker>((resolve) => {
      const child = execFile(
        'docker',
        ['-H', `unix://${this.socketPath}`, ...args],
        {
          timeout: options.limitMs ?? 30_000,
          maxBuffer: 16 << 20,
          env: {
            PATH: process.env.PATH,
            HOME: this.folder,
            DOCKER_CONFIG: join(this.folder, '.d'),
          },
        },
        (error, stdout, stderr) => {
          const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
          resolve({ code, stdout, stderr });
        },
      );
      child.stdin?.on('error', () => undefined); // it may end without reading all
      child.stdin?.end(options.input ?? '');
    });
  }

  #membership(): Membership {
    const refuse = (kind: string, request: unknown) => {
      this.membershipCalls.push([kind, request]);
      if (this.standing.localState !== 'inactive') {
        throw new ShoalError(
          'unavailable',
          'This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one.',
        );
      }
      this.standing = { ...this.standing, localState: 'active', isManager: true };
    };
    return {
      standing: () => this.standing,
      init: async (request) => {
        refuse('init', request);
        return this.self.id;
      },
      join: async (request) => refuse('join', request),
      leave: async (force) => {
        if (!force) {
          throw new ShoalError(
            'unavailable',
            'You are attempting to leave the swarm on a node that is participating as a manager. Use `--force` to suppress this message.',
          );
        }
        this.standing = { ...this.standing, localState: 'inactive', isManager: false };
      },
      unlock: async (key) => {
        if (key !== this.unlockedBy) {
          throw new ShoalError(
            'unauthenticated',
            'swarm could not be unlocked: invalid key provided',
          );
        }
        this.standing = { ...this.standing, localState: 'active' };
      },
      clusterInfo: () => this.control.getCluster(),
      backup: async function* () {
        yield Uint8Array.of(1, 2, 3);
      },
      restore: async ({ messages, ...request }) => {
        const parts: number[][] = [];
        for await (const part of messages) parts.push([...part]);
        refuse('restore', { ...request, parts });
        return this.self.id;
      },
    };
  }

  #client(): ControlClient {
    const { control } = this;
    const value = <K extends ObjectKind>(kind: K, object: StoreObject | undefined): ObjectOf<K> => {
      if (object?.kind?.$case !== kind) throw new Error(`not a ${kind}`);
      return object.kind.value as ObjectOf<K>;
    };
    return {
      get: async (kind, id, _signal, reads) => {
        const stale = reads?.stale ?? false;
        const { object, index } = await control.get({ kind, id, stale });
        reads?.note(index);
        return value(kind, object);
      },
      list: async (kind, request, _signal, reads) => {
        const stale = reads?.stale ?? false;
        const result = await control.list(ListRequest.fromPartial({ ...request, kind, stale }));
        reads?.note(result.index);
        return { ...result, objects: result.objects.map((object) => value(kind, object)) };
      },
      listHeads: async (kind, request, each, _signal, reads) => {
        const stale = reads?.stale ?? false;
        const message = ListRequest.fromPartial({ ...request, kind, stale });
        const chunks = [...(await control.listChunks(message))].map(openChunk);
        for (const { index } of chunks) reads?.note(index);
        return {
          items: chunks.flatMap(({ entries }) =>
            entries.map((entry) =>
              each(headOf(entry), () => value(kind, StoreObject.decode(entry))),
            ),
          ),
          serviceStatus: chunks.flatMap(({ serviceStatus }) => serviceStatus),
        };
      },
      create: (object) => control.create({ object }),
      update: (request) => control.update(request),
      remove: async (kind, id, force) => {
        await control.remove(RemoveRequest.fromPartial({ kind, id, force }));
      },
      getCluster: (_signal, reads) => control.getCluster({ stale: reads?.stale ?? false }),
      autoscaling: (request) => this.autoscaling(request),
      updateCluster: (request) => control.updateCluster(request),
      unlockKey: async () => this.store.cluster()?.unlockKey ?? new Uint8Array(0),
      watch: (kinds, start, signal) => this.#watch(watchRequest(kinds, start), signal),
      serviceLogs: (subscription) => this.#serviceLogs(subscription),
    };
  }

  /** Ends the streams of the manager, as if it were started anew. */
  cutStreams(): void {
    this.#managerGone.abort();
    this.#managerGone = new AbortController();
  }

  async *#watch(request: WatchRequest, signal: AbortSignal): AsyncGenerator<WatchChunk> {
    const gone = this.#managerGone.signal;
    yield* this.control.watch(request, AbortSignal.any([signal, gone]));
    if (gone.aborted) throw new ShoalError('unavailable', 'the manager went away');
  }

  async *#serviceLogs({ selector }: LogSubscription): AsyncGenerator<LogMessage> {
    for (const task of this.store.all('task')) {
      const isWantedTask =
        selector?.serviceIds.includes(task.serviceId) || selector?.taskIds.includes(task.id);
      if (!isWantedTask || task.nodeId === '') continue;
      for (const line of this.runtime.lines) {
        yield {
          nodeId: task.nodeId,
          serviceId: task.serviceId,
          taskId: task.id,
          stream: line.stream,
          at: line.at,
          data: Buffer.from(line.data),
          partial: line.partial,
        };
      }
    }
  }

  async #playHosts(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      const reports = [];
      for (const task of this.store.all('task')) {
        const state = nextState(task);
        if (state === undefined || task.status === undefined) continue;
        if (task.nodeId === this.self.id) this.#showContainer(task, state);
        reports.push(
          taskStatusAction(task.id, { ...task.status, atMs: Date.now(), state, message: 'played' }),
        );
      }
      if (reports.length > 0) await this.writer.write(reports).catch(() => undefined);
    }
  }

  #showContainer(task: Task, state: TaskState): void {
    const id = Buffer.from(task.id).toString('hex').padEnd(64, '0').slice(0, 64);
    if (state === TaskState.RUNNING) {
      const image = imageFixture();
      this.runtime.add(
        containerConfig('', {
          id,
          name: `${task.serviceName}.${task.slot}.${task.id}`,
          image: task.spec?.container?.image ?? '',
          imageId: image.id,
          labels: {
            'com.docker.swarm.task.id': task.id,
            'com.docker.swarm.service.name': task.serviceName,
          },
        }),
      );
    } else if (isTerminal(state)) this.runtime.end(id, 0);
  }
}

function nextState(task: Task): TaskState | undefined {
  const state = task.status?.state ?? TaskState.NEW;
  if (state < TaskState.ASSIGNED || isTerminal(state)) return undefined;
  if (!isWanted(task.desiredState)) return TaskState.SHUTDOWN;
  if (state === TaskState.RUNNING) return undefined;
  if (task.spec?.container?.image.startsWith('missing')) return TaskState.REJECTED;
  if (state < TaskState.READY) return TaskState.READY;
  return task.desiredState === TaskState.RUNNING ? TaskState.RUNNING : undefined;
}

function namedNode(hostname: string, role: NodeRole): Node {
  const node = nodeFixture();
  return {
    ...node,
    spec: { name: '', labels: {}, role, availability: NodeAvailability.ACTIVE },
    certificateRole: role,
    description: node.description && {
      ...node.description,
      hostname,
      dataPathAddress: `10.0.0.${hostname.slice(1)}`,
    },
    status: { state: NodeState.READY, message: '', address: `10.0.0.${hostname.slice(1)}` },
    managerStatus:
      role === NodeRole.MANAGER
        ? { raftId: '1', address: '10.0.0.1:2377', raftAddress: '', leader: true, reachable: true }
        : undefined,
  };
}
