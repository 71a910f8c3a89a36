import { execFile } from 'node:child_process';
import { request } from 'node:http';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const LOCAL_CLUSTER = `${ROOT}deploy/local-cluster`;
const IMAGE_TAR = `${ROOT}node_modules/.cache/shoal/web.tar`;
export const IMAGE = 'shoal-web:1';
/** Of that image: it says which task answers. */
export const PAGE = '/cgi-bin/index.cgi';
/** For each command: the bound is there to end a broken test, not to time a good one. */
const BOUNDS = { maxBuffer: 1 << 24, timeout: 600_000 };
/** The CLI writes with the version it has read: whoever wrote in between was first, and nothing was done. */
export const OVERTAKEN = /update out of sequence/;
/** A manager that was not heard for a second does not count, and a disk may be slower than that. */
const OTHERS_UNHEARD = /can't remove member from the raft/;

export type Host = Readonly<{ name: string; address: string; socket: string }>;
export type Answer = Readonly<{ status: number; body: unknown; text: string }>;
export type Output = Readonly<{ code: number; stdout: string; stderr: string }>;

/** A task as `GET /tasks` shows it; what the tests look at. */
export type TaskView = Readonly<{
  ID: string;
  NodeID: string;
  Slot: number;
  DesiredState: string;
  Status: Readonly<{
    State: string;
    Err?: string;
    ContainerStatus?: Readonly<{ ContainerID: string; PID: number }>;
  }>;
  Spec: Readonly<{ ContainerSpec: Readonly<{ Env?: readonly string[] | null; Image: string }> }>;
  NetworksAttachments?:
    | readonly Readonly<{ Network: Readonly<{ ID: string }>; Addresses: readonly string[] }>[]
    | null;
}>;
export type NodeView = Readonly<{
  ID: string;
  Version: Readonly<{ Index: number }>;
  Description: Readonly<{ Hostname: string }>;
  Status: Readonly<{ State: string }>;
  ManagerStatus?: Readonly<{ Leader?: boolean; Reachability: string }>;
}>;

/** A local cluster of its own for one test file; `down` in `test.after.always`. */
export class TestCluster {
  readonly name: string;
  hosts: readonly Host[] = [];

  constructor(name: string) {
    this.name = name;
  }

  async up(hosts = 3, managers = 3): Promise<void> {
    await run('sh', [`${ROOT}deploy/images/build.sh`, IMAGE_TAR, IMAGE], BOUNDS);
    this.hosts = parseHosts(
      await this.local('up', '--hosts', String(hosts), '--managers', String(managers)),
    );
    await Promise.all(this.hosts.map((host) => this.loadImage(host)));
  }

  /** One more host, in no cluster. */
  async add(name: string): Promise<Host> {
    const [host] = parseHosts(await this.local('add', '--host', name));
    if (host === undefined) throw new Error('local-cluster add printed no host');
    await this.loadImage(host);
    return host;
  }

  async loadImage(host: Host): Promise<void> {
    const { code, stderr } = await this.docker(host, 'load', '-q', '-i', IMAGE_TAR);
    if (code !== 0) throw new Error(`image load on ${host.name}: ${stderr}`);
  }

  async down(): Promise<void> {
    await this.local('down');
  }

  host(index: number): Host {
    const host = this.hosts[index - 1];
    if (host === undefined) throw new Error(`no host ${index}`);
    return host;
  }

  async local(command: string, ...args: string[]): Promise<string> {
    const { stdout } = await run(LOCAL_CLUSTER, [command, '--name', this.name, ...args], BOUNDS);
    return stdout;
  }

  /** A command in a host's namespaces. */
  async exec(host: Host, ...command: string[]): Promise<Output> {
    return output(LOCAL_CLUSTER, [
      'exec',
      '--name',
      this.name,
      '--host',
      host.name,
      '--',
      ...command,
    ]);
  }

  /** The unmodified docker CLI. Blanks part the words of `command`; `args` go as they are. */
  async docker(host: Host, command: string, ...args: string[]): Promise<Output> {
    return output('docker', [
      '-H',
      `unix://${host.socket}`,
      ...command.trim().split(/\s+/),
      ...args,
    ]);
  }

  /** As `docker`, but a failure is an error. */
  async ok(host: Host, command: string, ...args: string[]): Promise<string> {
    return saidBy(host, [command, ...args], await this.docker(host, command, ...args));
  }

  /** As `ok`, but asked again while it is refused in words that tell that nothing was done, and that it will pass. */
  async okOnceLet(
    host: Host,
    passing: readonly RegExp[],
    command: string,
    ...args: string[]
  ): Promise<string> {
    const last = await until(`docker ${command} to be let`, async () => {
      const said = await this.docker(host, command, ...args);
      const willPass = said.code !== 0 && passing.some((words) => words.test(said.stderr));
      if (willPass) throw new Error(said.stderr);
      return said;
    });
    return saidBy(host, [command, ...args], last);
  }

  /** `docker node promote` or `demote`: neither does anything to a node that has the role. */
  async giveRole(by: Host, change: 'promote' | 'demote', ...nodes: string[]): Promise<void> {
    await this.okOnceLet(by, [OVERTAKEN, OTHERS_UNHEARD], `node ${change}`, ...nodes);
  }

  /** Until a host that was demoted has put its manager away. */
  async worker(host: Host): Promise<void> {
    await until(`${host.name} to be a worker`, async () => {
      const { stderr } = await this.docker(host, 'node ls');
      return stderr.includes("Worker nodes can't be used to view");
    });
  }

  /** A config, even without a leader at first: of a try whose outcome is not known, the list of configs tells it. */
  async writeConfig(host: Host, name: string): Promise<void> {
    await until(`config ${name} to be written`, async () => {
      const { code, stderr } = await this.docker(host, `config create ${name} /etc/hostname`);
      if (code === 0) return true;
      const written = (await this.ok(host, 'config ls --format {{.Name}}')).split('\n');
      if (written.includes(name)) return true;
      throw new Error(stderr);
    });
  }

  async api(
    host: Host,
    method: string,
    path: string,
    body?: unknown,
    timeoutMs = 30_000,
  ): Promise<Answer> {
    const data =
      body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const sent = request(
        {
          socketPath: host.socket,
          host: 'docker',
          method,
          path: `/v1.41${path}`,
          headers: data === undefined ? {} : { 'content-type': 'application/json' },
        },
        (response) => {
          const parts: Buffer[] = [];
          response.on('data', (part: Buffer) => parts.push(part));
          response.on('error', reject);
          response.on('end', () => {
            const text = Buffer.concat(parts).toString();
            resolve({ status: response.statusCode ?? 0, text, body: parse(text) });
          });
        },
      );
      sent.setTimeout(timeoutMs, () =>
        sent.destroy(new Error(`no answer to ${method} ${path} in ${timeoutMs} ms`)),
      );
      sent.on('error', reject);
      sent.end(data);
    });
  }

  async tasks(
    host: Host,
    service: string,
    desired: readonly string[] = ['running'],
  ): Promise<readonly TaskView[]> {
    const filters = encodeURIComponent(
      JSON.stringify({
        service: [service],
        ...(desired.length > 0 ? { 'desired-state': desired } : {}),
      }),
    );
    const { status, body, text } = await this.api(host, 'GET', `/tasks?filters=${filters}`);
    if (status !== 200) throw new Error(`tasks of ${service}: ${status} ${text}`);
    return body as readonly TaskView[];
  }

  async nodes(host: Host): Promise<readonly NodeView[]> {
    const { status, body, text } = await this.api(host, 'GET', '/nodes');
    if (status !== 200) throw new Error(`nodes: ${status} ${text}`);
    return body as readonly NodeView[];
  }

  /** The host that leads, as `host` sees it. */
  async leader(host: Host): Promise<Host> {
    const found = await until('a leader', async () => {
      const name = (await this.nodes(host)).find((node) => node.ManagerStatus?.Leader)?.Description
        .Hostname;
      return this.hosts.find((candidate) => candidate.name === name);
    });
    return found;
  }

  running(host: Host, service: string, count: number): Promise<readonly TaskView[]> {
    return until(`${count} running tasks of ${service}`, async () => {
      const tasks = (await this.tasks(host, service)).filter(
        ({ Status }) => Status.State === 'running',
      );
      return tasks.length === count ? tasks : undefined;
    });
  }

  ready(host: Host, count: number): Promise<unknown> {
    return until(`${count} ready nodes`, async () => {
      const nodes = await this.nodes(host);
      const good = nodes.filter(
        ({ Status, ManagerStatus }) =>
          Status.State === 'ready' &&
          (ManagerStatus === undefined || ManagerStatus.Reachability === 'reachable'),
      );
      return good.length >= count ? good : undefined;
    });
  }

  /** `docker service create` of a service of the test image; `args` are its command. */
  create(host: Host, name: string, flags: string, ...args: string[]): Promise<string> {
    return this.ok(host, `service create --name ${name} ${flags}`, IMAGE, ...args);
  }

  /** The first line of `GET http://address:port/path` from a host's namespace; undefined when nobody answers. */
  async fetchFrom(host: Host, url: string): Promise<string | undefined> {
    const limits = ['--connect-timeout', '5', '--max-time', '10'];
    const { code, stdout } = await this.exec(host, 'curl', '-sS', ...limits, url);
    return code === 0 ? stdout.trim() : undefined;
  }

  /** Output of a command in a task's container. Blanks part the words of `command`; `args` go as they are. */
  async execIn(task: TaskView, command: string, ...args: string[]): Promise<Output> {
    const id = task.Status.ContainerStatus?.ContainerID;
    const node = (await this.nodes(await this.anyAlive())).find(({ ID }) => ID === task.NodeID);
    const host = this.hosts.find(({ name }) => name === node?.Description.Hostname);
    if (id === undefined || host === undefined)
      throw new Error(`task ${task.ID} has no container on a known host`);
    return this.docker(host, `exec ${id} ${command}`, ...args);
  }

  async anyAlive(): Promise<Host> {
    for (const host of this.hosts) {
      if ((await this.docker(host, 'node', 'ls', '-q')).code === 0) return host;
    }
    throw new Error('no manager answers');
  }
}

/** How many of the tasks each node has, the fewest first. */
export function spread(tasks: readonly TaskView[]): number[] {
  const counts = new Map<string, number>();
  for (const { NodeID } of tasks) counts.set(NodeID, (counts.get(NodeID) ?? 0) + 1);
  return [...counts.values()].sort((a, b) => a - b);
}

/** Asks again until there is an answer; the bound is there to end a broken test, not to time a good one. */
export async function until<T>(
  what: string,
  ask: () => Promise<T | undefined | false>,
  withinMs = 90_000,
): Promise<T> {
  const end = Date.now() + withinMs;
  let last = '';
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== undefined && answer !== false) return answer;
      last = '';
    } catch (error) {
      last = error instanceof Error ? `: ${error.message}` : '';
    }
    if (Date.now() > end) throw new Error(`waited in vain for ${what}${last}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

function parseHosts(text: string): Host[] {
  return text
    .trim()
    .split('\n')
    .flatMap((line) => {
      const [name, address, socket] = line.split(' ');
      return name && address && socket
        ? [{ name, address, socket: socket.replace('unix://', '') }]
        : [];
    });
}

function saidBy(host: Host, words: readonly string[], { code, stdout, stderr }: Output): string {
  if (code !== 0) throw new Error(`docker ${words.join(' ')} on ${host.name}: ${stderr}${stdout}`);
  return stdout.trim();
}

async function output(file: string, args: readonly string[]): Promise<Output> {
  try {
    const { stdout, stderr } = await run(file, args, BOUNDS);
    return { code: 0, stdout, stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code?: number; stdout?: string; stderr?: string };
    return {
      code: typeof code === 'number' ? code : 1,
      stdout: stdout ?? '',
      stderr: stderr ?? String(error),
    };
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON: the caller looks at `text`.
    return undefined;
  }
}
