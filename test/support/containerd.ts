// A private containerd in a temporary folder, for tests on the real thing. Needs root.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pack } from 'tar-stream';
import { ContainerdImages } from '../../agent/image/images.ts';
import type { RegistryOptions } from '../../agent/image/io/registry.ts';
import { ContainerdClient } from '../../agent/runtime/io/containerd.ts';
import { containerdCommand, waitReady } from '../../agent/runtime/io/containerd-daemon.ts';
import { ContainerdRuntime, type RuntimeOptions } from '../../agent/runtime/runtime.ts';
import { systemClock } from '../../shared/io/system.ts';
import { silentLog } from '../../shared/log.ts';

export class TestContainerd {
  readonly folder: string;
  readonly name: string;
  readonly paths: { root: string; state: string; address: string };
  readonly cgroupParent: string;
  #process: ChildProcess | undefined;
  readonly #clients: ContainerdClient[] = [];
  readonly #runtimes: ContainerdRuntime[] = [];

  private constructor(folder: string) {
    this.folder = folder;
    this.name = folder.slice(folder.lastIndexOf('-') + 1).toLowerCase();
    this.cgroupParent = `/shoal-test-${this.name}`;
    this.paths = {
      root: join(folder, 'root'),
      state: join(folder, 'run/state'),
      address: join(folder, 'run/c.sock'),
    };
  }

  static async start(): Promise<TestContainerd> {
    // The socket's path must stay below 108 bytes.
    const made = new TestContainerd(await mkdtemp(join(tmpdir(), 'shoal-')));
    mkdirSync(join(made.folder, 'run'));
    execFileSync('sh', ['agent/runtime/logger/build.sh', join(made.folder, 'bin')]);
    await made.startDaemon();
    return made;
  }

  async startDaemon(): Promise<void> {
    const { argv, env } = containerdCommand(this.paths);
    const [command = '', ...args] = argv;
    this.#process = spawn(command, args, {
      env,
      stdio: ['ignore', 'ignore', process.env.SHOAL_TEST_DEBUG ? 'inherit' : 'ignore'],
      detached: true,
    });
    await waitReady(this.paths.address, AbortSignal.timeout(20_000));
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  /** Containers run on. */
  async killDaemon(): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((done) => child.once('exit', done));
    child.kill('SIGKILL');
    await ended;
  }

  client(): ContainerdClient {
    const client = new ContainerdClient({ address: this.paths.address, namespace: this.name });
    this.#clients.push(client);
    return client;
  }

  images(registries: RegistryOptions = {}, client = this.client()): ContainerdImages {
    return new ContainerdImages({ client, registries, clock: systemClock, log: silentLog });
  }

  async runtime(options: Partial<RuntimeOptions> = {}): Promise<ContainerdRuntime> {
    const runtime = new ContainerdRuntime({
      client: this.client(),
      stateDir: join(this.folder, 'state'),
      runDir: join('/dev/shm', `shoal-test-${this.name}`),
      cgroupParent: this.cgroupParent,
      runcRoot: join(this.folder, 'run/runc'),
      containerdState: this.paths.state,
      loggerPath: join(this.folder, 'bin/shoal-logger'),
      clock: systemClock,
      log: silentLog,
      ...options,
    });
    this.#runtimes.push(runtime);
    await runtime.open(AbortSignal.timeout(20_000));
    return runtime;
  }

  /** Removes everything; returns what should not have been there any more. */
  async stop(): Promise<string[]> {
    const leftovers: string[] = [];
    const runtime = this.#runtimes.at(-1);
    if (runtime !== undefined) {
      const all = await runtime.list();
      await Promise.all(all.map(({ config }) => runtime.remove(config.id, { force: true })));
    }
    await Promise.all(this.#runtimes.map((each) => each.close()));
    for (const client of this.#clients) client.close();
    // Loggers and shims end a moment after their container.
    for (let turn = 0; turn < 500 && this.processes().length > 0; turn += 1) await delay(20);
    leftovers.push(...this.processes());
    await this.killDaemon();
    const mounts = readFileSync('/proc/mounts', 'utf8').split('\n');
    leftovers.push(...mounts.filter((line) => line.includes(this.folder)));
    for (const folder of [
      'state/containers',
      'run/runc',
      'run/state/io.containerd.runtime.v2.task',
    ]) {
      leftovers.push(...leaves(join(this.folder, folder)));
    }
    leftovers.push(...this.#cgroups());
    rmSync(join('/dev/shm', `shoal-test-${this.name}`), { recursive: true, force: true });
    rmSync(this.folder, { recursive: true, force: true });
    return leftovers;
  }

  /** Shims and log helpers of this containerd. */
  processes(): string[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .flatMap((pid) => {
        try {
          const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
          return line.includes(this.folder) && !line.startsWith('containerd --config')
            ? [`${pid} ${line}`]
            : [];
        } catch {
          return [];
        }
      });
  }

  #cgroups(): string[] {
    const left: string[] = [];
    for (const root of ['/sys/fs/cgroup', ...leavesOf('/sys/fs/cgroup')]) {
      const parent = join(root, this.cgroupParent);
      if (!existsSync(parent)) continue;
      left.push(...leavesOf(parent));
      try {
        rmdirSync(parent);
      } catch {
        left.push(parent);
      }
    }
    return left;
  }
}

/** Paths below a folder, its namespace folders left out. */
function leaves(folder: string): string[] {
  return leavesOf(folder).flatMap((path) =>
    path.includes('containers/') ? [path] : leavesOf(path),
  );
}

function leavesOf(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(folder, entry.name));
  } catch {
    return [];
  }
}

/** A tar of a small root file system: busybox with the usual commands, and two users. */
export async function* busyboxRootfs(): AsyncGenerator<Uint8Array> {
  const tar = pack();
  for (const name of ['bin', 'etc', 'tmp', 'proc', 'sys', 'dev', 'home']) {
    tar.entry({ name: `${name}/`, type: 'directory', mode: name === 'tmp' ? 0o1777 : 0o755 });
  }
  tar.entry({ name: 'bin/busybox', mode: 0o755 }, readFileSync('/bin/busybox'));
  const commands =
    `sh cat echo sleep id ls true false env pwd hostname stat mount head tail seq yes dd tr
    wc sort grep kill trap touch mkdir ps date sync stty test usleep`.split(/\s+/);
  for (const name of commands) {
    tar.entry({ name: `bin/${name}`, type: 'symlink', linkname: 'busybox' });
  }
  tar.entry(
    { name: 'etc/passwd' },
    'root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001:web:/home:/bin/sh\n',
  );
  tar.entry({ name: 'etc/group' }, 'root:x:0:\nwheel:x:10:root\nweb:x:1001:\nlog:x:1002:web\n');
  tar.entry({ name: 'bin/not-executable', mode: 0o644 }, '#!/bin/sh\n');
  tar.finalize();
  for await (const chunk of tar as AsyncIterable<Buffer>) yield chunk;
}
