import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, constants, mkdirSync, openSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { messageOf, ShoalError } from '../../../shared/errors.ts';

/** How many are made by one mkfifo: Node has no call for it, and a process costs a millisecond. */
const BATCH = 24;
const OPEN_TRIES = 1000;
const OPEN_DELAY_MS = 10;

/** Named pipes for the streams of processes, made in batches and used again where that is safe. */
export class Fifos {
  readonly #folder: string;
  readonly #spare: string[] = [];
  #making: Promise<void> | undefined;

  /** `folder` is emptied: pipes of an earlier process of ours have nobody at our end any more. */
  constructor(folder: string) {
    this.#folder = folder;
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  async take(): Promise<string> {
    for (;;) {
      const path = this.#spare.pop();
      if (path !== undefined) return path;
      this.#making ??= this.#make().finally(() => {
        this.#making = undefined;
      });
      await this.#making;
    }
  }

  /** `drained`: its end was seen, so nobody has it open and nothing is in it. */
  async give(path: string, drained: boolean): Promise<void> {
    if (drained && this.#spare.length < BATCH) this.#spare.push(path);
    else await rm(path, { force: true });
  }

  async #make(): Promise<void> {
    const paths = Array.from({ length: BATCH }, () => join(this.#folder, randomUUID()));
    try {
      await promisify(execFile)('mkfifo', ['-m', '600', ...paths]);
    } catch (error) {
      throw new ShoalError('internal', `cannot make named pipes: ${messageOf(error)}`, {
        cause: error,
      });
    }
    this.#spare.push(...paths);
  }
}

/**
 * Our reading end. To be opened before the writer's, whose blocking open waits for it. Without O_NONBLOCK and
 * a socket around it each pipe would hold a thread of the pool: four of them stop all file access.
 */
export function openReader(path: string): Socket {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  return new Socket({ fd, readable: true, writable: false });
}

/** Our writing end; waits up to ten seconds until the reader has opened its own. */
export async function openWriter(path: string): Promise<Socket> {
  for (let tries = 0; ; tries += 1) {
    try {
      const fd = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
      return new Socket({ fd, readable: false, writable: true });
    } catch (error) {
      const refused = (error as NodeJS.ErrnoException).code === 'ENXIO';
      if (!refused || tries >= OPEN_TRIES) throw error;
    }
    await delay(OPEN_DELAY_MS);
  }
}

/** Wakes a reader that waits in vain for a writer: opens and closes the writing end. */
export function endReader(path: string): void {
  try {
    closeSync(openSync(path, constants.O_WRONLY | constants.O_NONBLOCK));
  } catch {
    // ENXIO: there is no reader any more, which is what was wanted.
  }
}
