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

/** What a tool answered to one batch; `shown` is empty where nothing is asked for. */
type Said = Readonly<{ output: string; linesBefore: number; shown: string }>;

/**
 * A tool that reads commands from a pipe, kept running between batches: 0.3 ms each instead of 4 ms for a new
 * process. The end of a batch is marked by a command that must fail with a text of its own.
 */
abstract class Shell {
  readonly #clock: Clock;
  readonly #command: readonly string[];
  readonly #shows: boolean;
  #child: ChildProcess | undefined;
  #output = '';
  /** Answers of a tool that is asked to show something. */
  #shown = '';
  #waiting: { done: () => boolean; reject: (error: Error) => void } | undefined;
  #idle: Timer | undefined;
  /** Never rejects. */
  #queue: Promise<void> = Promise.resolve();
  #sequence = 0;
  /** Lines this child has been fed: `ip` counts them from its start. */
  #linesFed = 0;

  constructor(clock: Clock, namespace: Namespace, tool: readonly string[], shows = false) {
    this.#clock = clock;
    this.#shows = shows;
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

  /**
   * Feeds `text` and gives what the tool says before `end`; one batch at a time. What it shows comes by another
   * pipe, so that `complete` has to tell whether all of it is there.
   */
  protected batch(
    text: (sequence: number) => string,
    end: (sequence: number) => string,
    complete: (output: string, shown: string) => boolean = () => true,
  ): Promise<Said> {
    const next = this.#queue.then(() => {
      this.#sequence += 1;
      return this.#exchange(text(this.#sequence), end(this.#sequence), complete);
    });
    this.#queue = next.then(
      () => undefined,
      () => undefined,
    );
    return next;
  }

  async #exchange(
    text: string,
    end: string,
    complete: (output: string, shown: string) => boolean,
  ): Promise<Said> {
    this.#idle?.cancel();
    const child = this.#start();
    this.#output = '';
    this.#shown = '';
    const linesBefore = this.#linesFed;
    this.#linesFed += text.split('\n').length - 1;
    const limit = this.#clock.after(ANSWER_MS, () => child.kill('SIGKILL'));
    try {
      const output = await new Promise<string>((resolve, reject) => {
        const done = () => {
          const at = this.#output.indexOf(end);
          if (at < 0 || !complete(this.#output.slice(0, at), this.#shown)) return false;
          resolve(this.#output.slice(0, at));
          return true;
        };
        this.#waiting = { done, reject };
        child.stdin?.write(text);
      });
      return { output, linesBefore, shown: this.#shown };
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
    const shows = this.#shows ? 'pipe' : 'ignore';
    const child = spawn(command, args, { env: TOOL_ENV, stdio: ['pipe', shows, 'pipe'] });
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
    const heard = () => {
      if (this.#waiting?.done()) this.#waiting = undefined;
    };
    child.stderr?.on('data', (chunk: string) => {
      this.#output += chunk;
      heard();
    });
    child.stdout?.setEncoding('utf8');
    child.stdout?.on('data', (chunk: string) => {
      this.#shown += chunk;
      heard();
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
    const said = errorsOf(output);
    if (said.length > 0) {
      throw new ShoalError('internal', `nft: ${oneLine(said.join(' '))}`);
    }
  }
}

/** Shows sets of one namespace: 0.3 ms each, where a process of its own takes 5 ms. */
export class NftReader extends Shell {
  constructor(clock: Clock, namespace: Namespace) {
    super(clock, namespace, ['nft', '-j', '-i'], true);
  }

  /** Each set as nft's JSON. Throws what nft says when one of them is not there. */
  async sets(table: string, names: readonly string[]): Promise<string[]> {
    const lines = names.map((name) => `list set ip ${table} ${name}\n`).join('');
    const { output, shown } = await this.batch(
      (n) => `${lines}list map ip shoal sync${n}\n`,
      (n) => `list map ip shoal sync${n}`,
      (said, text) => newlines(text) + errorsOf(said).length >= names.length,
    );
    const [error] = errorsOf(output);
    if (error !== undefined) throw new ShoalError('internal', `nft: ${oneLine(error)}`);
    return shown.trim().split('\n');
  }
}

/** What went wrong before the marker, whose own failure is the last one that is said before its text. */
function errorsOf(output: string): string[] {
  return output.split(/^Error: /m).slice(1, -1);
}

function newlines(text: string): number {
  let count = 0;
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) count += 1;
  return count;
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
