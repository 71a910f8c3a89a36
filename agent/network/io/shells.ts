import { type ChildProcess, spawn } from 'node:child_process';
import type { Clock, Timer } from '../../../shared/clock.ts';
import { ShoalError } from '../../../shared/errors.ts';
import type { Namespace } from '../kernel.ts';
import { TOOL_ENV } from './run.ts';

/** An idle tool is ended after this time: each holds about 6 MiB (nft) or 1 MiB (ip). */
const IDLE_MS = 5_000;
/** A batch that takes longer has hung: the tool is killed. */
const ANSWER_MS = 30_000;

/** A line of a batch that failed, by its place in the batch. */
export type LineError = Readonly<{ index: number; message: string }>;

/**
 * A tool that reads commands from a pipe, kept running between batches: 0.3 ms each instead of 4 ms for a new
 * process. The end of a batch is marked by a command that must fail with a text of its own.
 */
abstract class Shell {
  readonly #clock: Clock;
  readonly #command: readonly string[];
  #child: ChildProcess | undefined;
  #output = '';
  #waiting: { done: (output: string) => boolean; reject: (error: Error) => void } | undefined;
  #idle: Timer | undefined;
  /** Never rejects. */
  #queue: Promise<void> = Promise.resolve();
  #sequence = 0;
  /** Lines this child has been fed: `ip` counts them from its start. */
  #linesFed = 0;

  constructor(clock: Clock, namespace: Namespace, tool: readonly string[]) {
    this.#clock = clock;
    // Not `ip -n`: it would hold a copy of all mounts for as long as it runs.
    this.#command =
      namespace === undefined ? tool : ['nsenter', `--net=/run/netns/${namespace}`, ...tool];
  }

  /** Ends the tool, after the batches before; it starts again with the next one. */
  close(): Promise<void> {
    this.#idle?.cancel();
    const ended = this.#queue.then(() => this.#end());
    this.#queue = ended;
    return ended;
  }

  /** Feeds `text` and gives what the tool says before `end`; one batch at a time. */
  protected batch(
    text: (sequence: number) => string,
    end: (sequence: number) => string,
  ): Promise<{ output: string; linesBefore: number }> {
    const next = this.#queue.then(() => {
      this.#sequence += 1;
      return this.#exchange(text(this.#sequence), end(this.#sequence));
    });
    this.#queue = next.then(
      () => undefined,
      () => undefined,
    );
    return next;
  }

  async #exchange(text: string, end: string): Promise<{ output: string; linesBefore: number }> {
    this.#idle?.cancel();
    const child = this.#start();
    this.#output = '';
    const linesBefore = this.#linesFed;
    this.#linesFed += text.split('\n').length - 1;
    const limit = this.#clock.after(ANSWER_MS, () => child.kill('SIGKILL'));
    try {
      const output = await new Promise<string>((resolve, reject) => {
        const done = (output: string) => {
          const at = output.indexOf(end);
          if (at >= 0) resolve(output.slice(0, at));
          return at >= 0;
        };
        this.#waiting = { done, reject };
        child.stdin?.write(text);
      });
      return { output, linesBefore };
    } finally {
      limit.cancel();
      this.#waiting = undefined;
      this.#idle = this.#clock.after(IDLE_MS, () => void this.close());
    }
  }

  async #end(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    await new Promise<void>((resolve) => {
      child.once('exit', () => resolve());
      child.stdin?.end();
    });
  }

  #start(): ChildProcess {
    if (this.#child !== undefined) return this.#child;
    const [command = '', ...args] = this.#command;
    const child = spawn(command, args, { env: TOOL_ENV, stdio: ['pipe', 'ignore', 'pipe'] });
    this.#child = child;
    this.#linesFed = 0;
    const fail = (reason: string) => {
      if (this.#child === child) this.#child = undefined;
      this.#waiting?.reject(
        new ShoalError('internal', `${this.#command.join(' ')} ${reason}: ${this.#output.trim()}`),
      );
    };
    child.on('error', (error) => fail(error.message));
    child.on('exit', (code, signal) => fail(`ended (${signal ?? code})`));
    child.stdin?.on('error', () => undefined); // its exit says it all
    child.stderr?.setEncoding('utf8');
    child.stderr?.on('data', (chunk: string) => {
      this.#output += chunk;
      if (this.#waiting?.done(this.#output)) this.#waiting = undefined;
    });
    return child;
  }
}

/** `ip -batch` or `bridge -batch` in one namespace. */
export class IpShell extends Shell {
  constructor(clock: Clock, namespace: Namespace, tool: 'ip' | 'bridge') {
    super(clock, namespace, [tool, '-force', '-batch', '-']);
  }

  /** Runs all lines, also past failures, which it gives back. */
  async run(lines: readonly string[]): Promise<LineError[]> {
    if (lines.length === 0) return [];
    const { output, linesBefore } = await this.batch(
      (n) => `${lines.join('\n')}\nsync${n}\n`,
      (n) => `"sync${n}"`,
    );
    return lineErrors(output, lines.length, linesBefore);
  }
}

/** `nft -i` in one namespace: one line is one transaction. */
export class NftShell extends Shell {
  constructor(clock: Clock, namespace: Namespace) {
    super(clock, namespace, ['nft', '-i']);
  }

  /** Applies one transaction (its lines must be free of comments and blocks). Throws what nft says. */
  async apply(transaction: string): Promise<void> {
    const { output } = await this.batch(
      (n) => `${transaction.trim().replaceAll('\n', '; ')}\nlist map ip shoal sync${n}\n`,
      (n) => `list map ip shoal sync${n}`,
    );
    // The marker's own failure is the last one that is said before its text.
    const said = output.split(/^Error: /m).slice(1, -1);
    if (said.length > 0) {
      throw new ShoalError('internal', `nft: ${oneLine(said.join(' '))}`);
    }
  }
}

/** Reads "MESSAGE / Command failed -:LINE" pairs; `before` lines were read in former batches. */
export function lineErrors(output: string, count: number, before: number): LineError[] {
  const errors: LineError[] = [];
  let message = '';
  for (const line of output.split('\n')) {
    const number = /^Command failed -:(\d+)$/.exec(line)?.[1];
    if (number === undefined) {
      if (line.trim() !== '') message = message === '' ? line : `${message}; ${line}`;
      continue;
    }
    const index = Number(number) - before - 1;
    if (index >= 0 && index < count) errors.push({ index, message });
    message = '';
  }
  return errors;
}

/** What a tool said, for an error's message. */
export function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim().slice(0, 300);
}
