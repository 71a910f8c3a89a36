import type { Image, Images } from '../../../agent/image/types.ts';
import type { DataPlane, LocalTask, Wiring } from '../../../agent/network/types.ts';
import type {
  Container,
  ContainerConfig,
  ExecProcess,
  Runtime,
} from '../../../agent/runtime/types.ts';
import { ShoalError } from '../../../shared/errors.ts';

export const IMAGE: Image = {
  id: 'sha256:1111',
  tags: ['web:1'],
  repoDigests: [],
  architecture: 'amd64',
  os: 'linux',
  createdAt: '',
  author: '',
  sizeBytes: 1,
  diffIds: [],
  layerBytes: [],
  chainId: 'sha256:2222',
  targetDigest: 'sha256:3333',
  history: [],
  config: {
    env: ['PATH=/bin', 'A=image'],
    entrypoint: ['/entry'],
    cmd: ['serve'],
    workingDir: '/www',
    user: 'www',
    exposedPorts: [],
    volumes: [],
    labels: { from: 'image' },
    stopSignal: '',
    healthcheck: undefined,
  },
};

type Life = {
  container: Container;
  ended: PromiseWithResolvers<{ exitCode: number; oomKilled: boolean; atMs: number }>;
};

/** Containers that live in memory and end when they are told, or killed by a signal they listen to. */
export class FakeRuntime
  implements
    Pick<Runtime, 'create' | 'start' | 'kill' | 'remove' | 'list' | 'get' | 'wait' | 'exec'>
{
  readonly lives = new Map<string, Life>();
  readonly log: string[] = [];
  /** Signals the first process dies of. */
  diesOf = new Set([15, 9]);
  failCreate: Error | undefined;
  failStart: Error | undefined;
  /** Exit codes of the processes that are run in containers, in order; 0 when there are no more. */
  execs: number[] = [];

  put(container: Container): void {
    this.lives.set(container.config.id, { container, ended: Promise.withResolvers() });
  }

  async create(config: ContainerConfig): Promise<void> {
    this.log.push('create');
    if (this.failCreate) throw this.failCreate;
    this.put({ config, state: stateOf('created') });
  }
  async start(id: string): Promise<{ pid: number; startedAtMs: number }> {
    this.log.push('start');
    if (this.failStart) throw this.failStart;
    const life = this.#life(id);
    life.container = { ...life.container, state: stateOf('running') };
    return { pid: 42, startedAtMs: 1 };
  }
  async kill(id: string, signal: number): Promise<void> {
    this.log.push(`kill ${signal}`);
    if (this.diesOf.has(signal)) this.end(id, signal === 15 ? 143 : 137);
  }
  async remove(id: string): Promise<void> {
    this.log.push('remove');
    this.lives.delete(id);
  }
  async list(): Promise<readonly Container[]> {
    return [...this.lives.values()].map(({ container }) => container);
  }
  async get(id: string): Promise<Container | undefined> {
    return this.lives.get(id)?.container;
  }
  wait(id: string): Promise<{ exitCode: number; oomKilled: boolean; atMs: number }> {
    return this.#life(id).ended.promise;
  }
  async exec(): Promise<ExecProcess> {
    const exitCode = this.execs.shift() ?? 0;
    return {
      pid: 7,
      output: async function* () {
        yield { stream: 1, data: new TextEncoder().encode(`exit ${exitCode}`) };
      },
      writeStdin: async () => undefined,
      closeStdin: async () => undefined,
      resize: async () => undefined,
      wait: async () => exitCode,
      kill: async () => undefined,
    };
  }
  end(id: string, exitCode: number, oomKilled = false): void {
    const life = this.#life(id);
    life.container = { ...life.container, state: { ...stateOf('exited'), exitCode, oomKilled } };
    life.ended.resolve({ exitCode, oomKilled, atMs: 2 });
  }
  get onlyId(): string {
    const [id] = this.lives.keys();
    if (id === undefined) throw new Error('no container');
    return id;
  }
  #life(id: string): Life {
    const life = this.lives.get(id);
    if (life === undefined) throw new ShoalError('not-found', `no container ${id}`);
    return life;
  }
}

export function stateOf(status: Container['state']['status']): Container['state'] {
  return {
    status,
    pid: status === 'running' ? 42 : 0,
    exitCode: 0,
    oomKilled: false,
    startedAtMs: 1,
    finishedAtMs: 0,
    error: '',
  };
}

export class FakeDataPlane implements Pick<DataPlane, 'attach' | 'detach' | 'adopt' | 'setView'> {
  readonly log: string[] = [];
  failures: Error[] = [];
  async attach(task: LocalTask): Promise<Wiring> {
    this.log.push('attach');
    const failure = this.failures.shift();
    if (failure) throw failure;
    return {
      netnsPath: `/run/netns/${task.taskId}`,
      nameservers: ['169.254.1.1'],
      sysctls: {},
      hostPorts: [],
      interfaces: [],
    };
  }
  async detach(): Promise<void> {
    this.log.push('detach');
  }
  async adopt(tasks: readonly LocalTask[]): Promise<void> {
    this.log.push(`adopt ${tasks.map(({ taskId }) => taskId).join()}`);
  }
  setView(): void {
    this.log.push('view');
  }
}

export class FakeImages implements Pick<Images, 'ensure' | 'get'> {
  failure: Error | undefined;
  async ensure(): Promise<Image> {
    if (this.failure) throw this.failure;
    return IMAGE;
  }
  async get(): Promise<Image> {
    return IMAGE;
  }
}
