// A host's images and containers in memory, for tests of what is shown of them. Processes of `exec` are
// real ones of this machine, so that streams and exit codes behave as they do.

import { spawn } from 'node:child_process';
import type { Image, Images } from '../../agent/image/types.ts';
import type {
  Container,
  ContainerConfig,
  ContainerStats,
  ExecConfig,
  ExecProcess,
  LogLine,
  LogQuery,
  Runtime,
  RuntimeEvent,
} from '../../agent/runtime/types.ts';
import { ShoalError } from '../../shared/errors.ts';

type Ended = { exitCode: number; oomKilled: boolean; atMs: number };

export class FakeRuntime implements Runtime {
  readonly containers = new Map<string, Container>();
  readonly lines: LogLine[] = [];
  readonly #waiters = new Map<string, ((ended: Ended) => void)[]>();
  readonly kills: [id: string, signal: number][] = [];
  /** Signals that end a container. */
  deadly = [9, 15];

  add(config: ContainerConfig, state: Partial<Container['state']> = {}): void {
    this.containers.set(config.id, {
      config,
      state: {
        status: 'running',
        pid: process.pid,
        exitCode: 0,
        oomKilled: false,
        startedAtMs: Date.now() - 3_100,
        finishedAtMs: 0,
        error: '',
        ...state,
      },
    });
  }

  end(id: string, exitCode: number): void {
    const container = this.containers.get(id);
    if (container === undefined) return;
    const atMs = Date.now();
    this.containers.set(id, {
      ...container,
      state: { ...container.state, status: 'exited', pid: 0, exitCode, finishedAtMs: atMs },
    });
    for (const tell of this.#waiters.get(id) ?? []) tell({ exitCode, oomKilled: false, atMs });
    this.#waiters.delete(id);
  }

  async create(): Promise<void> {
    throw new Error('not part of this fake');
  }

  async start(): Promise<{ pid: number; startedAtMs: number }> {
    throw new Error('not part of this fake');
  }

  async kill(id: string, signal: number): Promise<void> {
    this.kills.push([id, signal]);
    if (this.deadly.includes(signal)) this.end(id, 128 + signal);
  }

  async remove(id: string): Promise<void> {
    this.containers.delete(id);
  }

  async list(): Promise<readonly Container[]> {
    return [...this.containers.values()];
  }

  async get(id: string): Promise<Container | undefined> {
    return this.containers.get(id);
  }

  async wait(id: string, signal: AbortSignal): Promise<Ended> {
    const state = this.containers.get(id)?.state;
    if (state?.status === 'exited') {
      return { exitCode: state.exitCode, oomKilled: false, atMs: state.finishedAtMs };
    }
    return new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      this.#waiters.set(id, [...(this.#waiters.get(id) ?? []), resolve]);
    });
  }

  async *events(): AsyncGenerator<RuntimeEvent> {
    yield* [];
  }

  async exec(_id: string, exec: ExecConfig): Promise<ExecProcess> {
    const [program = '', ...args] = exec.cmd;
    const child = spawn(program, args, { env: { PATH: process.env.PATH } });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', () =>
        reject(
          new ShoalError(
            'invalid-argument',
            `OCI runtime exec failed: exec failed: unable to start container process: exec: "${program}": executable file not found in $PATH: unknown`,
          ),
        ),
      );
    });
    child.stdin.on('error', () => undefined); // it may end without reading all
    const code = new Promise<number>((resolve) => {
      child.once('close', (exitCode) => resolve(exitCode ?? 137));
    });
    return {
      pid: child.pid ?? 0,
      async *output() {
        const queue: { stream: 1 | 2; data: Uint8Array }[] = [];
        let wake: () => void = () => undefined;
        let isOver = false;
        child.stdout.on('data', (data: Buffer) => {
          queue.push({ stream: 1, data });
          wake();
        });
        child.stderr.on('data', (data: Buffer) => {
          queue.push({ stream: 2, data });
          wake();
        });
        void code.then(() => {
          isOver = true;
          wake();
        });
        while (!isOver || queue.length > 0) {
          const next = queue.shift();
          if (next !== undefined) yield next;
          else {
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
          }
        }
      },
      async writeStdin(data) {
        await new Promise<void>((resolve) => child.stdin.write(data, () => resolve()));
      },
      async closeStdin() {
        child.stdin.end();
      },
      async resize() {
        await code; // the worst case: it has ended by then
        throw new ShoalError('invalid-argument', 'cannot resize a stopped container: unknown');
      },
      wait: () => code,
      async kill(signal) {
        child.kill(signal as never);
      },
    };
  }

  async *logs(_id: string, query: LogQuery, signal: AbortSignal): AsyncGenerator<LogLine> {
    const wanted = this.lines.filter((line) => (line.stream === 1 ? query.stdout : query.stderr));
    const from = query.tail < 0 ? 0 : Math.max(0, wanted.length - query.tail);
    yield* wanted.slice(from);
    if (!query.follow || signal.aborted) return;
    await new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  async stats(id: string): Promise<ContainerStats | undefined> {
    if (this.containers.get(id)?.state.status !== 'running') return undefined;
    const nowMs = Date.now();
    return {
      readAtMs: nowMs,
      cpuTotalNs: (nowMs % 1e9) * 5e5,
      cpuKernelNs: 0,
      cpuUserNs: 0,
      systemCpuNs: (nowMs % 1e9) * 2e6,
      onlineCpus: 2,
      throttledPeriods: 0,
      periods: 0,
      throttledNs: 0,
      memoryUsageBytes: 12 << 20,
      memoryInactiveFileBytes: 2 << 20,
      memoryLimitBytes: 100 << 20,
      pids: 3,
      pidsLimit: 100,
      blockReadBytes: 1000,
      blockWriteBytes: 2000,
      networks: {
        eth0: {
          rxBytes: 10,
          rxPackets: 1,
          txBytes: 20,
          txPackets: 2,
          rxErrors: 0,
          txErrors: 0,
          rxDropped: 0,
          txDropped: 0,
        },
      },
      cgroupVersion: 1,
    };
  }

  async writtenBytes(): Promise<number> {
    return 1_000;
  }

  async processes(): Promise<readonly number[]> {
    return [process.pid];
  }
}

export function imageFixture(fields: Partial<Image> = {}): Image {
  return {
    id: `sha256:${'ab'.repeat(32)}`,
    tags: ['web:1'],
    repoDigests: [],
    architecture: 'amd64',
    os: 'linux',
    createdAt: '2024-05-01T10:00:00Z',
    author: '',
    sizeBytes: 5_000_000,
    layerBytes: [5_000_000],
    diffIds: [`sha256:${'cd'.repeat(32)}`],
    chainId: `sha256:${'cd'.repeat(32)}`,
    targetDigest: `sha256:${'ef'.repeat(32)}`,
    history: [
      { createdAt: '2024-05-01T10:00:00Z', createdBy: 'COPY . /', emptyLayer: false, comment: '' },
    ],
    config: {
      env: ['PATH=/bin'],
      entrypoint: [],
      cmd: ['/bin/web'],
      workingDir: '/',
      user: '',
      exposedPorts: ['80/tcp'],
      volumes: [],
      labels: { maker: 'us' },
      stopSignal: '',
      healthcheck: undefined,
    },
    ...fields,
  };
}

/** Any name that begins with `missing` is in no registry; loads and imports count bytes. */
export class FakeImages implements Images {
  readonly images = new Map<string, Image>();
  receivedBytes = 0;

  constructor(...images: Image[]) {
    for (const image of images) this.images.set(image.id, image);
  }

  async list(): Promise<readonly Image[]> {
    return [...this.images.values()];
  }

  async get(nameOrId: string): Promise<Image> {
    const found = [...this.images.values()].find(
      ({ id, tags }) =>
        id === nameOrId || id.startsWith(`sha256:${nameOrId}`) || tags.includes(nameOrId),
    );
    if (found === undefined) throw new ShoalError('not-found', `No such image: ${nameOrId}`);
    return found;
  }

  ensure(reference: string): Promise<Image> {
    return this.get(reference);
  }

  async pull(reference: string, options: Parameters<Images['pull']>[1]): Promise<Image> {
    if (/(^|\/)missing/.test(reference)) {
      throw new ShoalError(
        'not-found',
        `pull access denied for ${reference}, repository does not exist or may require 'docker login'`,
      );
    }
    options.onProgress({ id: 'latest', status: `Pulling from ${reference}` });
    options.onProgress({ id: 'abcdef012345', status: 'Downloading', current: 5, total: 10 });
    const image = imageFixture({ id: `sha256:${'12'.repeat(32)}`, tags: [reference] });
    this.images.set(image.id, image);
    options.onProgress({ status: `Status: Downloaded newer image for ${reference}` });
    return image;
  }

  async load(tar: AsyncIterable<Uint8Array>): Promise<readonly string[]> {
    for await (const chunk of tar) this.receivedBytes += chunk.length;
    return ['web:1'];
  }

  async import(
    tar: AsyncIterable<Uint8Array>,
    options: Parameters<Images['import']>[1],
  ): Promise<Image> {
    for await (const chunk of tar) this.receivedBytes += chunk.length;
    const image = imageFixture({
      id: `sha256:${'34'.repeat(32)}`,
      tags: options.reference === undefined ? [] : [options.reference],
    });
    this.images.set(image.id, image);
    return image;
  }

  async *save(names: readonly string[]): AsyncGenerator<Uint8Array> {
    for (const name of names) await this.get(name);
    yield new TextEncoder().encode('tar bytes');
  }

  async tag(source: string, reference: string): Promise<void> {
    const image = await this.get(source);
    this.images.set(image.id, { ...image, tags: [...image.tags, reference] });
  }

  async remove(name: string, options: Parameters<Images['remove']>[1]) {
    const image = await this.get(name);
    const user = options.inUse(image.id);
    if (user !== undefined && !options.force) {
      throw new ShoalError(
        'failed-precondition',
        `conflict: unable to remove repository reference "${name}" (must force) - container ${user} is using its referenced image`,
      );
    }
    this.images.delete(image.id);
    return [...image.tags.map((untagged) => ({ untagged })), { deleted: image.id }];
  }

  async resolve(reference: string): Promise<Awaited<ReturnType<Images['resolve']>>> {
    throw new ShoalError('unavailable', `registry of ${reference} cannot be reached`);
  }
}
