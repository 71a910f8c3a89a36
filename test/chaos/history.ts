import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { RegisterOperation } from '../sim/linearizability/register.ts';

/** One call of a client, as the checker takes it, and what helps to understand a failure. */
export type Call = RegisterOperation & {
  readonly host: string;
  /** Of the object, where the answer told it. */
  readonly version?: number;
  /** Why the outcome is unknown. */
  readonly why?: string;
};

/** What a run saw, in memory and, as lines of JSON, in a file that outlives a run that dies. */
export class History {
  readonly calls: Call[] = [];
  /** Calls that are known to have done nothing, by reason. */
  readonly refused = new Map<string, number>();
  readonly file: string;
  readonly #startedAt = performance.now();
  #lines: string[] = [];

  constructor(file: string) {
    this.file = file;
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, '');
  }

  /** Milliseconds of the run, to a thousandth; never goes back. */
  now(): number {
    return Math.round((performance.now() - this.#startedAt) * 1_000) / 1_000;
  }

  add(call: Call): void {
    this.calls.push(call);
    this.#write(call);
  }

  refuse(host: string, why: string): void {
    this.refused.set(why, (this.refused.get(why) ?? 0) + 1);
    this.#write({ refused: why, host, at: this.now() });
  }

  fault(what: string): void {
    this.#write({ fault: what, at: this.now() });
    this.flush();
  }

  flush(): void {
    appendFileSync(this.file, this.#lines.join(''));
    this.#lines = [];
  }

  /** Infinity, which JSON does not have, is written as null. */
  #write(line: object): void {
    this.#lines.push(`${JSON.stringify(line)}\n`);
    if (this.#lines.length >= 200) this.flush();
  }
}
