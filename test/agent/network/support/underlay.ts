import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import type { LocalTask, Wiring } from '../../../../agent/network/types.ts';
import type { PlainView } from './views.ts';

const exec = promisify(execFile);
const PATH = `/usr/sbin:/usr/bin:/sbin:/bin`;
const env = { PATH, LC_ALL: 'C' };
const HOST_PROCESS = new URL('./host-process.ts', import.meta.url).pathname;
export const UNDERLAY = '172.29.77';

export async function sh(command: string, ...args: string[]): Promise<string> {
  const { stdout } = await exec(command, args, { env, maxBuffer: 1 << 26 });
  return stdout;
}

/** Several hosts on a switch of their own, and a client outside the cluster. All of it goes with `down`. */
export class Underlay {
  readonly prefix = `nt${randomBytes(3).toString('hex')}`;
  readonly hosts: TestHost[] = [];
  readonly #processes = new Set<ChildProcess>();

  async up(count: number): Promise<void> {
    const ul = `${this.prefix}-ul`;
    await sh('ip', 'netns', 'add', ul);
    await sh('ip', '-n', ul, 'link', 'add', 'br0', 'type', 'bridge');
    await sh('ip', '-n', ul, 'link', 'set', 'br0', 'up');
    for (let i = 1; i <= count; i++) await this.#plug(`h${i}`, `${UNDERLAY}.${i}`);
    await this.#plug('cl', `${UNDERLAY}.100`);
    for (let i = 1; i <= count; i++) {
      const host = new TestHost(this, `node${i}`, `${this.prefix}-h${i}`, `${UNDERLAY}.${i}`);
      this.hosts.push(host);
      await host.start();
    }
  }

  get client(): string {
    return `/run/netns/${this.prefix}-cl`;
  }

  host(number: number): TestHost {
    const host = this.hosts[number - 1];
    if (host === undefined) throw new Error(`there is no host ${number}`);
    return host;
  }

  async setView(view: PlainView): Promise<void> {
    await Promise.all(this.hosts.map((host) => host.call('setView', view)));
  }

  async down(): Promise<void> {
    for (const child of this.#processes) child.kill('SIGKILL');
    await Promise.all(this.hosts.map((host) => host.kill()));
    const names = (await sh('ip', 'netns', 'list'))
      .split('\n')
      .map((line) => line.split(' ')[0] ?? '')
      .filter((name) => name.startsWith(this.prefix));
    for (const name of names) await sh('ip', 'netns', 'del', name);
  }

  /** A program that stays, in a namespace, until `down` or its own end. */
  start(netns: string, command: string, ...args: string[]): ChildProcess {
    const child = spawn('nsenter', [`--net=${netns}`, command, ...args], {
      env,
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#processes.add(child);
    child.on('exit', () => this.#processes.delete(child));
    return child;
  }

  async #plug(name: string, address: string): Promise<void> {
    const ul = `${this.prefix}-ul`;
    const ns = `${this.prefix}-${name}`;
    await sh('ip', 'netns', 'add', ns);
    await sh(
      'ip',
      'link',
      'add',
      name,
      'netns',
      ul,
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      ns,
    );
    await sh('ip', '-n', ul, 'link', 'set', name, 'master', 'br0', 'up');
    await sh('ip', '-n', ns, 'addr', 'add', `${address}/24`, 'dev', 'eth0');
    await sh('ip', '-n', ns, 'link', 'set', 'eth0', 'up');
    await sh('ip', '-n', ns, 'link', 'set', 'lo', 'up');
  }
}

type Answer = { id: number; result?: unknown; error?: string; code?: string };

export class CallError extends Error {
  readonly code: string;
  constructor(message: string, code: string) {
    super(message);
    this.code = code;
  }
}

export class TestHost {
  readonly nodeId: string;
  readonly netns: string;
  readonly address: string;
  readonly #underlay: Underlay;
  #child: ChildProcess | undefined;
  #keeper: ChildProcess | undefined;
  #waiting = new Map<number, (answer: Answer) => void>();
  #sequence = 0;

  constructor(underlay: Underlay, nodeId: string, netns: string, address: string) {
    this.#underlay = underlay;
    this.nodeId = nodeId;
    this.netns = netns;
    this.address = address;
  }

  /** The first start makes the host's mount namespace, which outlives the data plane's process. */
  async start(): Promise<void> {
    if (this.#keeper === undefined) {
      const script =
        'mount -t tmpfs tmpfs /run && mkdir /run/netns && echo ready && exec sleep 100000';
      const keeper = spawn(
        'nsenter',
        [`--net=/run/netns/${this.netns}`, 'unshare', '--mount', 'sh', '-c', script],
        {
          env,
          stdio: ['ignore', 'pipe', 'inherit'],
        },
      );
      this.#keeper = keeper;
      await new Promise((resolve) => keeper.stdout?.once('data', resolve));
    }
    const forwarder = `${UNDERLAY}.100:5353`;
    const child = spawn(
      'nsenter',
      [
        `--target=${this.#keeper.pid}`,
        '--net',
        '--mount',
        process.execPath,
        HOST_PROCESS,
        this.nodeId,
        this.address,
        forwarder,
      ],
      { env, stdio: ['pipe', 'pipe', 'inherit'] },
    );
    this.#child = child;
    if (child.stdout === null) throw new Error('no output');
    const lines = createInterface({ input: child.stdout });
    lines.on('line', (line) => {
      const answer = JSON.parse(line) as Answer;
      this.#waiting.get(answer.id)?.(answer);
      this.#waiting.delete(answer.id);
    });
    child.on('exit', () => {
      for (const [id, answer] of this.#waiting) answer({ id, error: 'the host process ended' });
      this.#waiting.clear();
    });
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  async call<T>(method: string, args: unknown = null): Promise<T> {
    const id = ++this.#sequence;
    const answer = await new Promise<Answer>((resolve) => {
      this.#waiting.set(id, resolve);
      this.#child?.stdin?.write(`${JSON.stringify({ id, method, args })}\n`);
    });
    if (answer.error !== undefined) throw new CallError(answer.error, answer.code ?? '');
    return answer.result as T;
  }

  /** Wires a task and gives its namespace as this process can reach it. */
  async attach(
    task: Partial<LocalTask> & { taskId: string },
  ): Promise<{ netns: string; wiring: Wiring }> {
    const wiring = await this.call<Wiring>('attach', {
      serviceId: 'svc',
      hostname: task.taskId,
      attachments: [],
      hostPorts: [],
      ...task,
    });
    const netns = this.path(wiring.netnsPath);
    for (const [name, value] of Object.entries(wiring.sysctls)) {
      const file = `/proc/sys/${name.replaceAll('.', '/')}`;
      await sh('nsenter', `--net=${netns}`, 'sh', '-c', `echo ${value} > ${file}`);
    }
    return { netns, wiring };
  }

  /** A path of the host's mount namespace, from outside. */
  path(inside: string): string {
    return `/proc/${this.#keeper?.pid}/root${inside}`;
  }

  /** Runs a command in the host's network and mount namespaces. */
  run(...command: string[]): Promise<string> {
    return sh('nsenter', `--target=${this.#keeper?.pid}`, '--net', '--mount', ...command);
  }

  /** Ends the data plane's process at once, as a crash does. */
  async crash(): Promise<void> {
    await ended(this.#child, 'SIGKILL');
  }

  /** As a power loss: the names of all namespaces are gone too, only the host's own one is left. */
  async kill(): Promise<void> {
    await ended(this.#child, 'SIGKILL');
    await ended(this.#keeper, 'SIGKILL');
    this.#keeper = undefined;
  }

  get underlay(): Underlay {
    return this.#underlay;
  }
}

async function ended(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exit = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  await exit;
}
