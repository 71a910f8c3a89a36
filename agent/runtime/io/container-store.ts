import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isShoalError } from '../../../shared/errors.ts';
import {
  type ContainerRecord,
  ContainersService,
} from '../../../shared/gen/containerd/containers.ts';
import { Options } from '../../../shared/gen/containerd/runc-options.ts';
import { SnapshotsService } from '../../../shared/gen/containerd/snapshots.ts';
import { type TaskProcess, TasksService } from '../../../shared/gen/containerd/tasks.ts';
import type { Mount } from '../../../shared/gen/containerd/types.ts';
import type { OciProcess, OciSpec } from '../oci.ts';
import { CONFIG_EXTENSION, CONFIG_TYPE, decodeConfig, encodeConfig } from '../record.ts';
import type { ContainerConfig } from '../types.ts';
import type { ContainerdClient } from './containerd.ts';
import {
  type Bundle,
  endShim,
  endTask,
  listBundles,
  listShims,
  type Shim,
  type TaskOwner,
} from './orphans.ts';

const RUNTIME = 'io.containerd.runc.v2';
const SPEC_TYPE = 'types.containerd.io/opencontainers/runtime-spec/1/Spec';
/** A shim is there before its task's folder says so. */
const SHIM_GROWN_MS = 1_500;
/** Creating takes 60 ms on an idle machine; seconds when a hundred are created at once. */
const CREATE_DEADLINE_MS = 120_000;

export type TaskStreams = Readonly<{ output: string; tty: boolean }>;

/** Containers and their tasks as containerd keeps them; each method is a call or two. */
export class ContainerStore {
  readonly #client: ContainerdClient;
  readonly #snapshotter: string;
  readonly #runcRoot: string;
  readonly #ociRuntime: string;
  readonly #owner: TaskOwner;

  /**
   * `runcRoot` belongs to one containerd namespace of one containerd alone; `ociRuntime` is a name in
   * containerd's PATH or a path.
   */
  constructor(
    client: ContainerdClient,
    options: Readonly<{
      snapshotter: string;
      runcRoot: string;
      ociRuntime: string;
      containerdState: string | undefined;
    }>,
  ) {
    const { address, namespace } = client;
    this.#owner = {
      address,
      namespace,
      state: options.containerdState,
      command: options.ociRuntime,
      root: join(options.runcRoot, namespace),
    };
    this.#client = client;
    this.#snapshotter = options.snapshotter;
    this.#runcRoot = options.runcRoot;
    this.#ociRuntime = options.ociRuntime;
  }

  /**
   * The record first, then the snapshot: the record's key is what keeps a fresh snapshot from containerd's
   * garbage collector, which any deletion anywhere may set off.
   */
  async create(config: ContainerConfig, spec: OciSpec): Promise<readonly Mount[]> {
    const snapshotter = this.#snapshotter;
    const options = Options.encode(
      Options.fromPartial({ binaryName: this.#ociRuntime, root: this.#runcRoot }),
    ).finish();
    const container: ContainerRecord = {
      id: config.id,
      labels: {},
      image: config.image,
      runtime: {
        name: RUNTIME,
        options: { typeUrl: 'containerd.runc.v1.Options', value: Buffer.from(options) },
      },
      spec: { typeUrl: SPEC_TYPE, value: Buffer.from(JSON.stringify(spec)) },
      snapshotter,
      snapshotKey: config.id,
      createdAt: undefined,
      updatedAt: undefined,
      extensions: {
        [CONFIG_EXTENSION]: { typeUrl: CONFIG_TYPE, value: Buffer.from(encodeConfig(config)) },
      },
    };
    await this.#client.call(ContainersService.create, { container });
    const snapshot = { snapshotter, key: config.id, parent: config.chainId, labels: {} };
    return (await this.#client.call(SnapshotsService.prepare, snapshot)).mounts;
  }

  /** Of a container made earlier; makes the snapshot when a crash came between the record and it. */
  async mounts(config: ContainerConfig): Promise<readonly Mount[]> {
    const key = { snapshotter: this.#snapshotter, key: config.id };
    try {
      return (await this.#client.call(SnapshotsService.mounts, key)).mounts;
    } catch (error) {
      if (!isShoalError(error, 'not-found')) throw error;
      const prepare = { ...key, parent: config.chainId, labels: {} };
      return (await this.#client.call(SnapshotsService.prepare, prepare)).mounts;
    }
  }

  async writtenBytes(id: string): Promise<number> {
    const snapshot = { snapshotter: this.#snapshotter, key: id };
    return (await this.#client.call(SnapshotsService.usage, snapshot)).size;
  }

  /** Record and snapshot; its task must be gone. */
  async remove(id: string): Promise<void> {
    const snapshot = { snapshotter: this.#snapshotter, key: id };
    await ignoreMissing(this.#client.call(ContainersService.delete, { id }));
    await ignoreMissing(this.#client.call(SnapshotsService.remove, snapshot));
  }

  /** What the OCI runtime left of a container whose shim was killed. */
  async removeRuntimeState(id: string): Promise<void> {
    const folder = join(this.#runcRoot, this.#client.namespace, id);
    await rm(folder, { recursive: true, force: true });
  }

  /** Tasks of which something is there, whether or not containerd knows them. */
  bundles(): Bundle[] {
    return listBundles(this.#owner);
  }

  /** Ends what containerd has lost of a task. */
  endLostTask(bundle: Bundle): Promise<void> {
    return endTask(bundle, this.#owner);
  }

  /** Ends shims that no task refers to (any more); not those that have only just begun. */
  async endIdleShims(): Promise<void> {
    const isIdle = (shim: Shim) => {
      const addresses = new Set(
        this.bundles().map(({ address }) => address.replace('unix://', '')),
      );
      return shim.ageMs > SHIM_GROWN_MS && !shim.sockets.some((path) => addresses.has(path));
    };
    for (const shim of listShims(this.#owner)) {
      if (isIdle(shim)) await endShim(shim, this.#owner, () => isIdle(shim));
    }
  }

  /** Our containers; records that others made in this namespace are left out. */
  async configs(): Promise<readonly ContainerConfig[]> {
    const reply = await this.#client.call(ContainersService.list, { filters: [] });
    return reply.containers.flatMap(
      ({ extensions }) => decodeConfig(extensions[CONFIG_EXTENSION]?.value) ?? [],
    );
  }

  async exists(id: string): Promise<boolean> {
    try {
      await this.#client.call(ContainersService.get, { id });
      return true;
    } catch (error) {
      if (isShoalError(error, 'not-found')) return false;
      throw error;
    }
  }

  /** The first process as it was specified, which further ones take after. */
  async firstProcess(id: string): Promise<OciProcess> {
    const { container } = await this.#client.call(ContainersService.get, { id });
    return (JSON.parse(container?.spec?.value.toString() ?? '{}') as OciSpec).process;
  }

  async createTask(
    id: string,
    rootfs: readonly Mount[],
    { output, tty }: TaskStreams,
  ): Promise<number> {
    const request = {
      containerId: id,
      rootfs: [...rootfs],
      stdin: '',
      stdout: output,
      stderr: output,
      terminal: tty,
      options: undefined,
    };
    const call = { deadlineMs: CREATE_DEADLINE_MS };
    return (await this.#client.call(TasksService.create, request, call)).pid;
  }

  async startTask(id: string): Promise<void> {
    await this.#client.call(TasksService.start, { containerId: id, execId: '' });
  }

  /** Also one that runs or was never started. */
  async killAndDeleteTask(id: string): Promise<void> {
    await this.kill(id, 9);
    const wait = { containerId: id, execId: '' };
    await ignoreMissing(this.#client.call(TasksService.wait, wait, { deadlineMs: 10_000 }));
    await this.deleteTask(id);
  }

  async deleteTask(id: string): Promise<void> {
    await ignoreMissing(this.#client.call(TasksService.delete, { containerId: id }));
  }

  /** No error when the process has ended. */
  async kill(id: string, signal: number): Promise<void> {
    const request = { containerId: id, execId: '', signal, all: false };
    await ignoreMissing(this.#client.call(TasksService.kill, request));
  }

  async tasks(): Promise<ReadonlyMap<string, TaskProcess>> {
    const { tasks } = await this.#client.call(TasksService.list, { filter: '' });
    return new Map(tasks.map((task) => [task.id || task.containerId, task]));
  }

  async task(id: string): Promise<TaskProcess | undefined> {
    try {
      const request = { containerId: id, execId: '' };
      return (await this.#client.call(TasksService.get, request)).process;
    } catch (error) {
      if (isShoalError(error, 'not-found')) return undefined;
      throw error;
    }
  }

  async pids(id: string): Promise<number[]> {
    const { processes } = await this.#client.call(TasksService.listPids, { containerId: id });
    return processes.map(({ pid }) => pid);
  }
}

async function ignoreMissing(call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!isShoalError(error, 'not-found')) throw error;
  }
}
