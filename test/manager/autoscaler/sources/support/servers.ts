// Debian's redis-server and nats-server, each on a free port of 127.0.0.1 with a folder of its own under /tmp.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import * as tls from 'node:tls';
import { freePort } from '../../../../support/ports.ts';

const UP_WITHIN_MS = 20_000;

/** Waits until `check` holds, at most `withinMs`. */
export async function soon(check: () => boolean | Promise<boolean>, withinMs = UP_WITHIN_MS) {
  const untilMs = performance.now() + withinMs;
  while (!(await check())) {
    if (performance.now() > untilMs) throw new Error('it does not happen');
    await delay(20);
  }
}

/** How a server is seen to speak: the kernel takes connections for it before that. */
type Greeting = Readonly<{ says: string; answer: RegExp }>;
/** LOADING is no answer yet: it reads its data. */
const REDIS: Greeting = { says: 'PING\r\n', answer: /^(\+PONG|-NOAUTH)/ };
const NATS: Greeting = { says: '', answer: /^INFO / };

function speaks(port: number, { says, answer }: Greeting, secure: boolean): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const address = { host: '127.0.0.1', port };
  const socket = secure ? tls.connect({ ...address, rejectUnauthorized: false }) : connect(address);
  // With TLS its answer to a stranger is a certificate.
  socket.once('secureConnect', () => resolve(true));
  socket.once('connect', () => socket.write(says));
  socket.once('data', (data) => resolve(answer.test(String(data))));
  socket.setTimeout(2_000, () => resolve(false));
  socket.on('error', () => resolve(false));
  return promise.finally(() => socket.destroy());
}

/** A server of its own that can be killed, stopped for a while, and started again on the same port and data. */
export class TestServer {
  readonly port: number;
  readonly dir: string;
  readonly #command: string;
  readonly #args: readonly string[];
  #child: ChildProcess | undefined;

  private constructor(command: string, port: number, dir: string, args: readonly string[]) {
    this.#command = command;
    this.port = port;
    this.dir = dir;
    this.#args = args;
  }

  static async redis(...options: readonly string[]): Promise<TestServer> {
    const [port, dir] = [await freePort(), folder()];
    const where = options.includes('--tls-port') ? [] : ['--port', String(port)];
    const own = ['--bind', '127.0.0.1', '--dir', dir, '--save', '', '--appendonly', 'yes'];
    const filled = options.map((option) => option.replaceAll('PORT', String(port)));
    return await TestServer.#started('redis-server', port, dir, [...where, ...own, ...filled]);
  }

  /** A node of a cluster, which has no slots yet. */
  static async clusterNode(): Promise<TestServer> {
    const bus = ['--cluster-enabled', 'yes', '--cluster-port', String(await freePort())];
    return await TestServer.redis(...bus);
  }

  /** A Sentinel that watches one master. */
  static async sentinel(name: string, master: TestServer, password = ''): Promise<TestServer> {
    const [port, dir] = [await freePort(), folder()];
    const file = join(dir, 'sentinel.conf');
    const lines = [`port ${port}`, 'bind 127.0.0.1', `dir ${dir}`];
    if (password !== '') lines.push(`requirepass ${password}`);
    lines.push(`sentinel monitor ${name} 127.0.0.1 ${master.port} 1`);
    writeFileSync(file, `${lines.join('\n')}\n`);
    return await TestServer.#started('redis-server', port, dir, [file, '--sentinel']);
  }

  static async nats(...options: readonly string[]): Promise<TestServer> {
    const [port, dir] = [await freePort(), folder()];
    const own = ['-a', '127.0.0.1', '-p', String(port), '-js', '-sd', dir];
    return await TestServer.#started('nats-server', port, dir, [...own, ...options]);
  }

  static async natsWithoutJetStream(): Promise<TestServer> {
    const [port, dir] = [await freePort(), folder()];
    return await TestServer.#started('nats-server', port, dir, [
      ...['-a', '127.0.0.1', '-p', String(port)],
    ]);
  }

  static async #started(command: string, port: number, dir: string, args: readonly string[]) {
    const server = new TestServer(command, port, dir, args);
    await server.start();
    return server;
  }

  async start(): Promise<void> {
    const child = spawn(this.#command, this.#args, { stdio: 'ignore' });
    this.#child = child;
    const greeting = this.#command === 'nats-server' ? NATS : REDIS;
    const secure = this.#args.includes('--tls-port');
    await soon(() => {
      if (child.exitCode !== null) throw new Error(`${this.#command} ended: ${child.exitCode}`);
      return speaks(this.port, greeting, secure);
    });
  }

  /** With SIGKILL: nothing is said to clients. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    child.once('exit', () => resolve());
    child.kill('SIGKILL');
    await promise;
  }

  /** Every thread of it stands still when this resolves. */
  async pause(): Promise<void> {
    const child = this.#child;
    if (child?.pid === undefined) throw new Error('it does not run');
    const threads = `/proc/${child.pid}/task`;
    child.kill('SIGSTOP');
    await soon(() =>
      readdirSync(threads).every((id) =>
        /^State:\s+T/m.test(readFileSync(`${threads}/${id}/status`, 'utf8')),
      ),
    );
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
  }

  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** A root certificate and the files of a certificate that it made for `name`. */
export function testCertificate(name: string): {
  ca: string;
  cert: string;
  key: string;
  dir: string;
} {
  const dir = folder();
  const at = (file: string) => join(dir, file);
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'pipe' });
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  openssl(
    'req',
    '-x509',
    ...curve,
    '-subj',
    '/CN=test root',
    '-keyout',
    at('ca.key'),
    '-out',
    at('ca.pem'),
  );
  openssl(
    'req',
    ...curve.slice(0, 5),
    '-subj',
    `/CN=${name}`,
    '-keyout',
    at('key.pem'),
    '-out',
    at('csr.pem'),
  );
  writeFileSync(at('ext'), `subjectAltName=DNS:${name}\n`);
  openssl(
    ...['x509', '-req', '-in', at('csr.pem'), '-CA', at('ca.pem'), '-CAkey', at('ca.key')],
    ...['-CAcreateserial', '-days', '2', '-extfile', at('ext'), '-out', at('cert.pem')],
  );
  return { ca: at('ca.pem'), cert: at('cert.pem'), key: at('key.pem'), dir };
}

function folder(): string {
  return mkdtempSync(join(tmpdir(), 'shoal-source-'));
}
