import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { isShoalError } from '../../../shared/errors.ts';
import { TasksService } from '../../../shared/gen/containerd/tasks.ts';
import type { OciProcess } from '../oci.ts';
import type { ExecProcess } from '../types.ts';
import type { ContainerdClient } from './containerd.ts';
import { endReader, type Fifos, openReader, openWriter } from './fifos.ts';

const KILLED = 128 + 9;

type Chunk = Readonly<{ stream: 1 | 2; data: Uint8Array }>;

/** Output that nobody has read yet; beyond it the process waits. */
const MAX_HELD_BYTES = 256 << 10;
/** After the process's end, how long its pipes may stay silent before they are cut: a child may hold them. */
const LINGER_MS = 1_000;
/** After the process's end, how long its output waits for somebody to begin reading it. */
const UNREAD_MS = 10_000;
const PROCESS_TYPE = 'types.containerd.io/opencontainers/runtime-spec/1/Process';

export type ExecStreams = Readonly<{ stdin: boolean; stdout: boolean; stderr: boolean }>;

/**
 * Runs a further process in a running container. Throws `internal` with the OCI runtime's text when it
 * cannot be started; nothing is left behind then. When `signal` aborts later, the process goes on and its
 * output is thrown away.
 */
export async function startExec(
  client: ContainerdClient,
  fifos: Fifos,
  containerId: string,
  process: OciProcess,
  streams: ExecStreams,
  signal: AbortSignal,
): Promise<ExecProcess> {
  signal.throwIfAborted();
  const tty = process.terminal === true;
  const exec = new Exec(client, fifos, {
    containerId,
    execId: randomBytes(16).toString('hex'),
    tty,
  });
  try {
    await exec.open({ ...streams, stderr: streams.stderr && !tty });
    await exec.start(process);
    const onAbort = () => exec.discard();
    signal.addEventListener('abort', onAbort, { once: true });
    // Else a signal that lives on, as a task's does beside its health checks, would keep each of them in memory.
    const forget = () => signal.removeEventListener('abort', onAbort);
    exec.wait().then(forget, forget);
    return exec;
  } catch (error) {
    await exec.abandon();
    throw error;
  }
}

class Exec implements ExecProcess {
  pid = 0;
  readonly #client: ContainerdClient;
  readonly #fifos: Fifos;
  readonly #names: Readonly<{ containerId: string; execId: string; tty: boolean }>;
  readonly #paths: { stdin?: string; stdout?: string; stderr?: string } = {};
  readonly #readers: Array<{ stream: 1 | 2; path: string; socket: Socket; ended: boolean }> = [];
  #stdin: Promise<Socket> | undefined;
  #held: Chunk[] = [];
  #heldBytes = 0;
  #lastDataAtMs = 0;
  #wake: (() => void) | undefined;
  #exit: Promise<number> | undefined;
  #finished = false;
  /** Nobody will read any more: the process must not wait for somebody who does. */
  #discarding = false;
  #reading = false;

  constructor(
    client: ContainerdClient,
    fifos: Fifos,
    names: Readonly<{ containerId: string; execId: string; tty: boolean }>,
  ) {
    this.#client = client;
    this.#fifos = fifos;
    this.#names = names;
  }

  async open(streams: ExecStreams): Promise<void> {
    if (streams.stdin) this.#paths.stdin = await this.#fifos.take();
    if (streams.stdout) this.#paths.stdout = await this.#reader(1);
    if (streams.stderr) this.#paths.stderr = await this.#reader(2);
  }

  async start(process: OciProcess): Promise<void> {
    const { containerId, execId, tty } = this.#names;
    const { stdin = '', stdout, stderr } = this.#paths;
    const attached = stdout !== undefined || stderr !== undefined || stdin !== '';
    // One stream empty and another not is refused; all empty means no streams at all.
    const silent = attached ? '/dev/null' : '';
    await this.#client.call(TasksService.exec, {
      containerId,
      execId,
      stdin,
      stdout: stdout ?? silent,
      stderr: tty ? '' : (stderr ?? silent),
      terminal: tty,
      spec: { typeUrl: PROCESS_TYPE, value: Buffer.from(JSON.stringify(process)) },
    });
    try {
      const started = await this.#client.call(TasksService.start, { containerId, execId });
      this.pid = started.pid;
    } catch (error) {
      await this.#delete();
      throw error;
    }
    if (this.#paths.stdin !== undefined) {
      this.#stdin = openWriter(this.#paths.stdin);
      // Whoever writes learns of it; a process that ended before it read is no error.
      this.#stdin.then((socket) => socket.on('error', () => undefined)).catch(() => undefined);
    }
    this.#exit = this.#run();
  }

  async abandon(): Promise<void> {
    for (const reader of this.#readers) {
      reader.ended = true;
      reader.socket.destroy();
    }
    await this.#release();
  }

  async *output(): AsyncGenerator<Chunk, void, void> {
    this.#reading = true;
    try {
      for (;;) {
        const chunk = this.#held.shift();
        if (chunk !== undefined) {
          this.#heldBytes -= chunk.data.length;
          if (this.#heldBytes < MAX_HELD_BYTES) this.#each((socket) => socket.resume());
          yield chunk;
          continue;
        }
        if (this.#finished) return;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      this.discard();
    }
  }

  /** Output from now on is thrown away. */
  discard(): void {
    this.#discarding = true;
    this.#held = [];
    this.#heldBytes = 0;
    this.#each((socket) => socket.resume());
  }

  async writeStdin(data: Uint8Array): Promise<void> {
    const socket = await this.#stdin;
    if (socket === undefined || socket.destroyed) return;
    // A process that reads slowly slows its writer down; one that has ended lets go of it.
    if (!socket.write(data)) await Promise.race([once(socket, 'drain'), once(socket, 'close')]);
  }

  async closeStdin(): Promise<void> {
    // The end of the pipe is the end of the stream; CloseIO would overtake what is still in it.
    const socket = await this.#stdin;
    if (socket === undefined || socket.destroyed) return;
    await new Promise<void>((resolve) => socket.once('close', resolve).end(() => socket.destroy()));
    // The shim holds a writing end of its own, so that the stream outlives whoever feeds it; this closes that
    // one. What is in the pipe is still read first.
    const { containerId, execId } = this.#names;
    try {
      await this.#client.call(TasksService.closeIo, { containerId, execId, stdin: true });
    } catch (error) {
      if (!isShoalError(error, 'not-found')) throw error;
    }
  }

  async resize(width: number, height: number): Promise<void> {
    const { containerId, execId } = this.#names;
    await this.#client.call(TasksService.resizePty, { containerId, execId, width, height });
  }

  wait(): Promise<number> {
    return this.#exit ?? Promise.resolve(0);
  }

  async kill(signal: number): Promise<void> {
    const { containerId, execId } = this.#names;
    try {
      await this.#client.call(TasksService.kill, { containerId, execId, signal, all: false });
    } catch (error) {
      if (!isShoalError(error, 'not-found')) throw error;
    }
  }

  async #reader(stream: 1 | 2): Promise<string> {
    const path = await this.#fifos.take();
    const reader = { stream, path, socket: openReader(path), ended: false };
    this.#readers.push(reader);
    const end = () => {
      reader.ended = true;
      this.#wake?.();
    };
    reader.socket
      .on('data', (data: Buffer) => {
        this.#lastDataAtMs = performance.now();
        if (this.#discarding) return;
        this.#held.push({ stream, data });
        this.#heldBytes += data.length;
        if (this.#heldBytes >= MAX_HELD_BYTES) this.#each((socket) => socket.pause());
        this.#wake?.();
      })
      .on('end', end)
      .on('error', end)
      .on('close', end);
    return path;
  }

  /** From the start to the very end: exit code known, output read, pipes given back. */
  async #run(): Promise<number> {
    try {
      const code = await this.#exitCode();
      this.#lastDataAtMs = Math.max(this.#lastDataAtMs, performance.now());
      const endedAtMs = performance.now();
      while (!this.#drained()) {
        if (!this.#reading && performance.now() - endedAtMs > UNREAD_MS) this.discard();
        const idle = this.#heldBytes === 0 && performance.now() - this.#lastDataAtMs > LINGER_MS;
        if (idle) break;
        await delay(this.#readers.every((reader) => reader.ended) ? 20 : 5);
      }
      return code;
    } finally {
      // Makes the shim close its ends, so that the readers see theirs.
      await this.#delete().catch(() => undefined);
      for (let turn = 0; turn < 100 && !this.#drained(); turn += 1) await delay(10);
      this.#finished = true;
      this.#wake?.();
      await this.#release();
    }
  }

  async #exitCode(): Promise<number> {
    const { containerId, execId } = this.#names;
    for (;;) {
      try {
        const end = await this.#client.call(
          TasksService.wait,
          { containerId, execId },
          { deadlineMs: 0 },
        );
        return end.exitStatus;
      } catch (error) {
        // Its shim is gone and the process with it.
        if (!isShoalError(error, 'unavailable')) return KILLED;
        // containerd is being restarted: the process lives on beside its shim.
        await delay(100);
      }
    }
  }

  #drained(): boolean {
    return this.#heldBytes === 0 && this.#readers.every((reader) => reader.ended);
  }

  #each(apply: (socket: Socket) => void): void {
    for (const { socket } of this.#readers) apply(socket);
  }

  async #delete(): Promise<void> {
    const { containerId, execId } = this.#names;
    await this.#client.call(TasksService.deleteProcess, { containerId, execId });
  }

  async #release(): Promise<void> {
    for (const { socket, path, ended } of this.#readers) {
      socket.destroy();
      await this.#fifos.give(path, ended && this.#finished);
    }
    const { stdin } = this.#paths;
    if (stdin === undefined) return;
    (await this.#stdin?.catch(() => undefined))?.destroy();
    endReader(stdin);
    await this.#fifos.give(stdin, false);
  }
}
