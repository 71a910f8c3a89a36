import { execFile, spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const LOCAL_CLUSTER = fileURLToPath(new URL('../../deploy/local-cluster', import.meta.url));
const NFT = '/usr/sbin/nft'; // another program of that name may come first in an npm script's PATH
const BASE = process.env.SHOAL_LOCAL_STATE ?? '/var/lib/shoal-local';
/** For a manager's log and snapshots: memory, so that it fills at once. */
const DISK_MIB = 512;

/** What came of a request: an answer, nothing that could have reached the server, or no answer. */
export type Reply =
  | Readonly<{ kind: 'answer'; status: number; text: string }>
  | Readonly<{ kind: 'unsent'; why: string }>
  | Readonly<{ kind: 'lost'; why: string }>;

/** Three managers made by `deploy/local-cluster`, and what can be done to their hosts. */
export class ChaosCluster {
  readonly hosts = ['h1', 'h2', 'h3'] as const;
  readonly #name: string;

  /** `name` of the local cluster; one that there is already is taken down by `up`. */
  constructor(name: string) {
    this.#name = name;
  }

  async up(): Promise<void> {
    await this.down();
    for (const host of this.hosts) {
      mkdirSync(this.#disk(host), { recursive: true });
      await run('mount', [
        '-t',
        'tmpfs',
        '-o',
        `size=${DISK_MIB}m,mode=700`,
        'tmpfs',
        this.#disk(host),
      ]);
    }
    await this.local('up', '--hosts', '3', '--managers', '3');
  }

  async down(): Promise<void> {
    await this.local('down');
  }

  async local(command: string, ...args: string[]): Promise<string> {
    return (await run(LOCAL_CLUSTER, [command, '--name', this.#name, ...args])).stdout;
  }

  /** One request to a host's Engine API, by a connection of its own. */
  ask(host: string, method: string, path: string, body: unknown, withinMs: number): Promise<Reply> {
    return new Promise((resolve) => {
      let isConnected = false;
      const fail = (error: Error) =>
        resolve({ kind: isConnected ? 'lost' : 'unsent', why: error.message });
      const headers = body === undefined ? {} : { 'content-type': 'application/json' };
      const socketPath = `${this.folder(host)}/shoal.sock`;
      const sent = request(
        { socketPath, agent: false, host: 'docker', method, path: `/v1.41${path}`, headers },
        (response) => {
          const parts: Buffer[] = [];
          response.on('data', (part: Buffer) => parts.push(part));
          response.on('error', fail);
          response.on('end', () => {
            clearTimeout(timer);
            const text = Buffer.concat(parts).toString();
            if (!response.complete) fail(new Error('the answer was cut off'));
            else resolve({ kind: 'answer', status: response.statusCode ?? 0, text });
          });
        },
      );
      const timer = setTimeout(() => sent.destroy(new Error('no answer in time')), withinMs);
      sent.on('socket', (socket) => {
        socket.once('connect', () => {
          isConnected = true;
        });
      });
      sent.on('error', (error) => {
        clearTimeout(timer);
        fail(error);
      });
      sent.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  /** What the daemons said, for a run that failed: `down` deletes it. */
  keepLogs(folder: string): void {
    mkdirSync(folder, { recursive: true });
    for (const host of this.hosts) {
      for (const log of ['shoald.log', 'host.log']) {
        const file = `${this.folder(host)}/${log}`;
        if (existsSync(file)) copyFileSync(file, `${folder}/${host}-${log}`);
      }
    }
  }

  /** How many lines of the daemons' logs have these words. */
  said(words: string): number {
    const lines = this.hosts.flatMap((host) =>
      readFileSync(`${this.folder(host)}/shoald.log`, 'utf8').split('\n'),
    );
    return lines.filter((line) => line.includes(words)).length;
  }

  folder(host: string): string {
    return `${BASE}/${this.#name}/${host}`;
  }

  /** Pid of the host's manager, as this machine counts. */
  async managerPid(host: string): Promise<number | undefined> {
    const pids = await this.local('pids', '--host', host);
    const pid = /^shoal-manager (\d+)$/m.exec(pids)?.[1];
    return pid === undefined ? undefined : Number(pid);
  }

  /** What is dropped of what the host receives and sends: percent each. */
  async drop(host: string, received: number, sent: number): Promise<void> {
    const rule = (name: string, percent: number) =>
      `meta ${name} "eth0" ${percent < 100 ? `numgen random mod 100 < ${percent} ` : ''}drop`;
    await this.#inHost(
      host,
      NFT,
      ['-f', '-'],
      [
        'table inet chaos',
        'delete table inet chaos',
        'table inet chaos {',
        'chain in {',
        'type filter hook input priority -300',
        ...(received > 0 ? [rule('iifname', received)] : []),
        '}',
        'chain out {',
        'type filter hook output priority -300',
        ...(sent > 0 ? [rule('oifname', sent)] : []),
        '}',
        '}\n',
      ].join('\n'),
    );
  }

  async narrow(host: string, kbit: number): Promise<void> {
    const shape = `qdisc replace dev eth0 root tbf rate ${kbit}kbit burst 8kbit latency 1500ms`;
    await this.#inHost(host, 'tc', shape.split(' '));
  }

  /** All of the link's faults end. A host without power has no link, and gets a new one. */
  async mend(host: string): Promise<void> {
    await this.local('heal', '--host', host).catch(gone);
    await this.drop(host, 0, 0).catch(gone);
    await this.#inHost(host, 'tc', ['qdisc', 'del', 'dev', 'eth0', 'root']).catch(gone);
  }

  /** Takes all room on the disk of the manager's log. */
  fill(host: string): void {
    const zeros = new Uint8Array(1 << 20);
    try {
      for (;;) writeFileSync(this.#ballast(host), zeros, { flag: 'a' });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    }
  }

  makeRoom(host: string): void {
    rmSync(this.#ballast(host), { force: true });
  }

  #disk(host: string): string {
    return `${this.folder(host)}/state/manager/raft`;
  }

  #ballast(host: string): string {
    return `${this.#disk(host)}/ballast`;
  }

  #inHost(host: string, command: string, args: readonly string[], input = ''): Promise<void> {
    return new Promise((resolve, reject) => {
      const namespace = `--net=/run/netns/shoal-${this.#name}-${host}`;
      const child = spawn('nsenter', [namespace, command, ...args], {
        stdio: ['pipe', 'ignore', 'pipe'],
      });
      let said = '';
      child.stderr.on('data', (part) => {
        said += part;
      });
      child.on('error', reject);
      child.stdin.on('error', reject);
      child.on('close', (code) =>
        code === 0 ? resolve() : reject(new Error(`${command} on ${host}: ${said.trim()}`)),
      );
      child.stdin.end(input);
    });
  }
}

/** For undoing what may not be there any more. */
function gone(): undefined {
  return undefined;
}
