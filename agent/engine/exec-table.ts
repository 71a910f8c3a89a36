import { ShoalError } from '../../shared/errors.ts';
import { newHexId } from '../../shared/ids.ts';
import type { Random } from '../../shared/random.ts';
import type { ExecConfig, ExecProcess } from '../runtime/types.ts';
import { HttpError } from './http.ts';

/** A process asked for in a container: created by one request, started by another, inspected by a third. */
export type Exec = {
  readonly id: string;
  readonly containerId: string;
  readonly config: ExecConfig;
  readonly detachKeys: string;
  state: 'created' | 'starting' | 'running' | 'ended';
  process: ExecProcess | undefined;
  exitCode: number | undefined;
  /** Asked for before the process was there to take it. */
  size: Readonly<{ width: number; height: number }> | undefined;
};

/** Ended ones are kept so that their exit codes can be read, and forgotten oldest first. */
const KEPT_EXECS = 1024;

export class ExecTable {
  readonly #random: Random;
  readonly #execs = new Map<string, Exec>();

  constructor(random: Random) {
    this.#random = random;
  }

  /** Throws `resource-exhausted` when as many as are kept have not ended yet. */
  add(containerId: string, config: ExecConfig, detachKeys: string): Exec {
    if (this.#execs.size >= KEPT_EXECS) this.#makeRoom();
    const id = newHexId(this.#random);
    const exec: Exec = {
      id,
      containerId,
      config,
      detachKeys,
      state: 'created',
      process: undefined,
      exitCode: undefined,
      size: undefined,
    };
    this.#execs.set(id, exec);
    return exec;
  }

  get(id: string): Exec {
    const exec = this.#execs.get(id);
    if (exec === undefined) throw new HttpError(404, `No such exec instance: ${id}`);
    return exec;
  }

  #makeRoom(): void {
    // Those never started count as ended: their client has gone away long ago.
    for (const exec of this.#execs.values()) {
      if (exec.state === 'running' || exec.state === 'starting') continue;
      this.#execs.delete(exec.id);
      return;
    }
    throw new ShoalError('resource-exhausted', `${KEPT_EXECS} exec processes run already`);
  }
}
