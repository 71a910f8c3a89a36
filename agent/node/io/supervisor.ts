import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Clock, sleep } from '../../../shared/clock.ts';
import { messageOf } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/log.ts';

export type ProcessSpec = Readonly<{
  name: string;
  argv: readonly [string, ...string[]];
  env?: Readonly<Record<string, string>>;
  pidFile: string;
  /** File that takes its output; default: this process's own. */
  logFile?: string;
  /** Written to its standard input, which is then closed. The first start may differ from later ones. */
  input?: (start: number) => string;
}>;

const RESTART_FIRST_MS = 100;
const RESTART_MOST_MS = 10_000;
/** A process that ran this long was well: the next restart waits the first delay again. */
const WELL_AFTER_MS = 10_000;
const POLL_MS = 250;
/** After SIGKILL an end is a matter of the kernel; whoever waits for it has something to answer. */
const KILL_WAIT_MS = 10_000;

/**
 * Keeps one daemon running in a session of its own, so that it outlives this process; after a restart of this
 * process the running one is adopted by its pid file. Ends with the signal, and leaves the daemon alone then.
 */
export class Supervisor {
  readonly #spec: ProcessSpec;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #ending = new AbortController();
  #loop: Promise<void> | undefined;
  #pid = 0;
  #starts = 0;

  constructor(spec: ProcessSpec, clock: Clock, log: Log) {
    this.#spec = spec;
    this.#clock = clock;
    this.#log = log.with({ process: spec.name });
  }

  get pid(): number {
    return this.#pid;
  }

  start(): void {
    this.#loop ??= this.#run().catch((error) => {
      if (!this.#ending.signal.aborted)
        this.#log.error('supervision broke', { error: messageOf(error) });
    });
  }

  /** Stops supervising; the daemon goes on. */
  async release(): Promise<void> {
    this.#ending.abort(new Error('released'));
    await this.#loop;
  }

  /** SIGTERM, after `graceMs` SIGKILL. Returns when it is gone, or stuck in the kernel. */
  async stop(graceMs: number): Promise<void> {
    await this.release();
    const pid = this.#pid || readPid(this.#spec.pidFile);
    if (pid === 0 || !isAlive(pid)) return;
    signal(pid, 'SIGTERM');
    const deadline = this.#clock.monotonicMs() + graceMs;
    while (isAlive(pid)) {
      const lateMs = this.#clock.monotonicMs() - deadline;
      if (lateMs > KILL_WAIT_MS) {
        this.#log.error('it does not end: its process is stuck in the kernel', { pid });
        return;
      }
      if (lateMs > 0) signal(pid, 'SIGKILL');
      await sleep(this.#clock, 20);
    }
    rmSync(this.#spec.pidFile, { force: true });
  }

  async #run(): Promise<void> {
    const { signal: ending } = this.#ending;
    let delayMs = RESTART_FIRST_MS;
    while (!ending.aborted) {
      const startedAt = this.#clock.monotonicMs();
      const adopted = readPid(this.#spec.pidFile);
      if (adopted !== 0 && isAlive(adopted)) {
        this.#pid = adopted;
        this.#starts++;
        this.#log.info('adopted', { pid: adopted });
        while (isAlive(adopted)) await sleep(this.#clock, POLL_MS, ending);
      } else {
        await this.#once(ending);
      }
      if (ending.aborted) return;
      this.#pid = 0;
      if (this.#clock.monotonicMs() - startedAt > WELL_AFTER_MS) delayMs = RESTART_FIRST_MS;
      this.#log.warn('ended, starting it again', { afterMs: delayMs });
      await sleep(this.#clock, delayMs, ending);
      delayMs = Math.min(delayMs * 2, RESTART_MOST_MS);
    }
  }

  /** One life of the daemon. */
  async #once(ending: AbortSignal): Promise<void> {
    const { argv, env, pidFile, logFile, input } = this.#spec;
    mkdirSync(dirname(pidFile), { recursive: true });
    const output = logFile === undefined ? 'inherit' : openSync(logFile, 'a', 0o640);
    let child: ChildProcess;
    try {
      child = spawn(argv[0], argv.slice(1), {
        detached: true,
        stdio: [input === undefined ? 'ignore' : 'pipe', output, output],
        env: { ...process.env, ...env },
      });
    } finally {
      if (typeof output === 'number') closeSync(output);
    }
    const ended = new Promise<string>((resolve) => {
      child.once('exit', (code, by) => resolve(`code=${code ?? ''} signal=${by ?? ''}`));
      child.once('error', (error) => resolve(error.message));
    });
    if (child.pid !== undefined) {
      this.#pid = child.pid;
      writeFileSync(pidFile, `${child.pid} ${startTime(child.pid)}\n`, { mode: 0o600 });
      child.stdin?.on('error', (error) =>
        this.#log.warn('cannot write its input', { error: error.message }),
      );
      child.stdin?.end(input?.(this.#starts));
    }
    this.#starts++;
    child.unref();
    const released = new Promise<undefined>((resolve) => {
      if (ending.aborted) resolve(undefined);
      ending.addEventListener('abort', () => resolve(undefined), { once: true });
    });
    const why = await Promise.race([ended, released]);
    if (why !== undefined) this.#log.warn('exited', { why });
  }
}

/** Of the process the pid file names; 0 when that process is gone or another one has its number. */
function readPid(pidFile: string): number {
  try {
    const [pid = '', started = ''] = readFileSync(pidFile, 'utf8').trim().split(' ');
    return startTime(Number(pid)) === started ? Number(pid) : 0;
  } catch {
    // No pid file, or no such process.
    return 0;
  }
}

/** Field 22 of /proc/PID/stat: with the pid it names a process for ever. Throws when there is none. */
function startTime(pid: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}

function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const state = stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3);
    return state !== 'Z' && state !== 'X';
  } catch {
    return false;
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
