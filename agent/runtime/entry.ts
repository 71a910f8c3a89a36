import type { Mount } from '../../shared/gen/containerd/types.ts';
import { Limiter } from './limiter.ts';
import { type LifeRecord, NEW_LIFE, restingState } from './record.ts';
import type { ContainerConfig, ContainerState } from './types.ts';

export type ContainerEnd = Readonly<{ exitCode: number; oomKilled: boolean; atMs: number }>;

type Waiter = Readonly<{ resolve: (end: ContainerEnd) => void; reject: (error: unknown) => void }>;

/** What this process knows of one container. Changes are made inside `serial`, one at a time. */
export class Entry {
  readonly config: ContainerConfig;
  readonly serial = new Limiter(1);
  life: LifeRecord;
  state: ContainerState;
  /** From the snapshot's making, so that the first start need not ask for them. */
  mounts: readonly Mount[] | undefined;
  /** The kernel killed a process of it for lack of memory. */
  oomSeen = false;
  /** containerd may still have an ended task of it. */
  taskLeft = false;
  /** Nothing more will come into its log. */
  logsDone = true;
  /** On its way out: how it ended need not be kept. */
  removing = false;
  readonly #waiters = new Set<Waiter>();

  constructor(config: ContainerConfig, life: LifeRecord) {
    this.config = config;
    this.life = life;
    this.state = restingState(life);
  }

  get alive(): boolean {
    return this.state.status === 'running' || this.state.status === 'paused';
  }

  /** It was alive when last heard of, and its end is not known yet. */
  get unresolved(): boolean {
    return this.life.startedAtMs > 0 && this.life.finishedAtMs === 0;
  }

  began(pid: number, startedAtMs: number, paused = false): void {
    this.life = { ...NEW_LIFE, startedAtMs };
    this.state = { ...this.life, status: paused ? 'paused' : 'running', pid };
    this.taskLeft = true;
    this.logsDone = false;
  }

  ended(life: LifeRecord): void {
    this.life = life;
    this.state = { ...restingState(life), status: 'exited' };
    const end = this.end();
    for (const waiter of this.#waiters) waiter.resolve(end);
    this.#waiters.clear();
  }

  failedToStart(error: string, exitCode: number): void {
    this.life = { ...this.life, error, exitCode };
    this.state = restingState(this.life);
  }

  gone(error: unknown): void {
    for (const waiter of this.#waiters) waiter.reject(error);
    this.#waiters.clear();
  }

  end(): ContainerEnd {
    const { exitCode, oomKilled, finishedAtMs } = this.life;
    return { exitCode, oomKilled, atMs: finishedAtMs };
  }

  /** Resolves at its next end. */
  nextEnd(signal: AbortSignal): Promise<ContainerEnd> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason);
        return;
      }
      const onAbort = () => {
        this.#waiters.delete(waiter);
        reject(signal.reason);
      };
      const leave = () => signal.removeEventListener('abort', onAbort);
      const waiter: Waiter = {
        resolve: (end) => {
          leave();
          resolve(end);
        },
        reject: (error) => {
          leave();
          reject(error);
        },
      };
      this.#waiters.add(waiter);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }
}
