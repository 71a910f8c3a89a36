import { backoffMs } from '../../shared/backoff.ts';
import { type Clock, sleep } from '../../shared/clock.ts';
import { messageOf, ShoalError } from '../../shared/errors.ts';
import type { TaskStatusReport } from '../../shared/gen/shoal/v1/dispatcher.ts';
import type { TaskStatusBatch } from '../../shared/gen/shoal/v1/peer.ts';
import type { TaskStatusChange } from '../../shared/gen/shoal/v1/store.ts';
import type { Log } from '../../shared/log.ts';
import type { Random } from '../../shared/random.ts';
import type { ReadView } from '../store/types.ts';
import { Bell } from './bell.ts';
import type { DispatcherSession } from './session.ts';

/** The first report after quiet waits this long for others… */
const GATHER_MS = 10;
/**
 * …and batches are at least this far apart: each is an entry of the log, on every manager's disk. While many
 * tasks start, entries cost more CPU than the statuses in them.
 */
const BATCH_PERIOD_MS = 80;
/** Of one batch, which becomes one entry of the log. */
const BATCH_MAX_CHANGES = 1_000;
/** A node has some hundred tasks. One that reports more unsent ones than this is out of its mind. */
const SESSION_MAX_CHANGES = 10_000;
const RETRY = { firstMs: 100, lastMs: 2_000 };

export type StatusRelayDeps = Readonly<{
  view: ReadView;
  /** Resolves when the replica has all that was committed before. */
  barrier: (signal: AbortSignal) => Promise<unknown>;
  /** To the leader; resolves once committed. */
  send: (batch: TaskStatusBatch, signal: AbortSignal) => Promise<void>;
  clock: Clock;
  random: Random;
  log: Log;
}>;

/** Of a status's texts: what a process printed before it died may be of any length. */
const TEXT_MAX_CHARACTERS = 2_048;

type Pending = { sequence: number; changes: Map<string, TaskStatusChange> };
type Taken = Readonly<{ session: DispatcherSession; pending: Pending }>;

/**
 * Carries what agents report to the leader, in batches, and acknowledges it once committed. While it
 * waits only the last status of each task is kept. A node speaks for its own tasks only.
 */
export class StatusRelay {
  readonly #deps: StatusRelayDeps;
  readonly #pending = new Map<DispatcherSession, Pending>();
  readonly #bell = new Bell();

  constructor(deps: StatusRelayDeps) {
    this.#deps = deps;
  }

  add(session: DispatcherSession, report: TaskStatusReport): void {
    const pending = this.#pending.get(session) ?? { sequence: 0, changes: new Map() };
    pending.sequence = Math.max(pending.sequence, report.sequence);
    for (const change of report.changes) {
      if (change.status !== undefined) pending.changes.set(change.taskId, clipped(change));
    }
    if (pending.changes.size > SESSION_MAX_CHANGES) {
      this.#pending.delete(session);
      const why = `more than ${SESSION_MAX_CHANGES} unsent task statuses of one node`;
      session.close(new ShoalError('resource-exhausted', why));
      return;
    }
    this.#pending.set(session, pending);
    this.#bell.ring();
  }

  /** What was not sent is reported again by the agent, to whoever serves it next. */
  forget(session: DispatcherSession): void {
    this.#pending.delete(session);
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, random, log } = this.#deps;
    let failures = 0;
    let sentAtMs = Number.NEGATIVE_INFINITY;
    while (!signal.aborted) {
      await this.#bell.heard(signal);
      const taken: Taken[] = [];
      try {
        const nextAtMs = sentAtMs + BATCH_PERIOD_MS;
        await sleep(clock, Math.max(GATHER_MS, nextAtMs - clock.monotonicMs()), signal);
        sentAtMs = clock.monotonicMs();
        taken.push(...this.#take());
        await this.#relay(taken, signal);
        failures = 0;
        if (this.#pending.size > 0) this.#bell.ring();
      } catch (error) {
        if (signal.aborted) return;
        this.#putBack(taken);
        failures += 1;
        const code = error instanceof ShoalError ? error.code : 'internal';
        log.debug('task statuses are not reported yet', { code, error: messageOf(error) });
        await sleep(clock, backoffMs(failures, RETRY, random), signal).catch(() => undefined);
        this.#bell.ring();
      }
    }
  }

  /** Whole sessions, so that one number acknowledges all that is in it. */
  #take(): Taken[] {
    const taken: Taken[] = [];
    let count = 0;
    for (const [session, pending] of this.#pending) {
      taken.push({ session, pending });
      this.#pending.delete(session);
      count += pending.changes.size;
      if (count >= BATCH_MAX_CHANGES) break;
    }
    return taken;
  }

  #putBack(taken: readonly Taken[]): void {
    for (const { session, pending } of taken) {
      if (session.isClosed) continue;
      const newer = this.#pending.get(session);
      const changes = new Map([...pending.changes, ...(newer?.changes ?? [])]);
      this.#pending.set(session, { sequence: newer?.sequence ?? pending.sequence, changes });
    }
  }

  async #relay(taken: readonly Taken[], signal: AbortSignal): Promise<void> {
    // A task that this replica does not know yet may have been given to the node by another manager.
    if (taken.some((one) => this.#own(one).length < one.pending.changes.size)) {
      await this.#deps.barrier(signal);
    }
    const changes = taken.flatMap((one) => this.#own(one));
    for (let at = 0; at < changes.length; at += BATCH_MAX_CHANGES) {
      await this.#deps.send({ changes: changes.slice(at, at + BATCH_MAX_CHANGES) }, signal);
    }
    for (const { session, pending } of taken) session.acknowledge(pending.sequence);
  }

  #own({ session, pending }: Taken): TaskStatusChange[] {
    const isOwn = ({ taskId }: TaskStatusChange) =>
      this.#deps.view.get('task', taskId)?.nodeId === session.nodeId;
    return [...pending.changes.values()].filter(isOwn);
  }
}

function clipped({ taskId, status }: TaskStatusChange): TaskStatusChange {
  if (status === undefined) return { taskId, status };
  const clip = (text: string) => text.slice(0, TEXT_MAX_CHARACTERS);
  return { taskId, status: { ...status, message: clip(status.message), err: clip(status.err) } };
}
