import { sleep } from '../../shared/clock.ts';
import { isShoalError, messageOf, NodeRemovedError, ShoalError } from '../../shared/errors.ts';
import type { TaskSamples } from '../../shared/gen/shoal/v1/autoscale.ts';
import type { LogMessage, LogPublication } from '../../shared/gen/shoal/v1/logs.ts';
import type { NodeDescription } from '../../shared/gen/shoal/v1/objects.ts';
import type { TaskStatusChange } from '../../shared/gen/shoal/v1/store.ts';
import { type Random, randomInt } from '../../shared/random.ts';
import { OpenSession, type OpenSessionDeps } from './open-session.ts';
import { ReportQueue } from './reports.ts';
import type { Session } from './types.ts';

export type SessionDeps = OpenSessionDeps &
  Readonly<{
    random: Random;
    description: NodeDescription;
  }>;

// Swarm's agents: 100 ms doubling to 8 s. With several managers the next one is tried at once.
const BACKOFF_FIRST_MS = 100;
const BACKOFF_MOST_MS = 8_000;
/** This host's own manager is being started or restarted: no crowd is to be kept off it. */
const LOCAL_BACKOFF_MOST_MS = 200;
/**
 * At its start an agent gives its own manager, which starts with it, this time before it looks elsewhere: a session
 * there outlives the network, and the manager knows that its host lives while the agent restarts.
 */
const LOCAL_START_MS = 10_000;
/**
 * Never longer than this many heartbeats between two tries: a leader that has just begun counts a node as
 * down after three, and after an outage of the managers their agents must be back by then.
 */
const BACKOFF_MOST_PERIODS = 2;
/** After a session that worked: agents of a manager that died do not come to the others in one moment. */
const SPREAD_MS = 50;
const GOODBYE_WITHIN_MS = 1_000;

export class AgentSession implements Session {
  readonly #deps: SessionDeps;
  readonly #end = new AbortController();
  readonly #reports = new ReportQueue();
  #description: NodeDescription;
  #applied = 0;
  #isLeaving = false;
  #current: OpenSession | undefined;
  #loop: Promise<void> | undefined;

  constructor(deps: SessionDeps) {
    this.#deps = deps;
    this.#description = deps.description;
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  report(change: TaskStatusChange): void {
    this.#reports.put(change);
    this.#current?.wake();
  }

  describe(description: NodeDescription): void {
    this.#description = description;
    this.#current?.say({ message: { $case: 'description', value: description } });
  }

  applied(revision: number): void {
    if (revision === this.#applied) return;
    this.#applied = revision;
    this.#current?.beatSoon();
  }

  sample(samples: TaskSamples): void {
    this.#current?.sample(samples);
  }

  async publishLogs(
    subscriptionId: string,
    messages: AsyncIterable<LogMessage>,
    signal: AbortSignal,
  ): Promise<void> {
    const target = this.#current?.target;
    if (target === undefined) throw new ShoalError('unavailable', 'no session with a manager');
    await this.#deps.link.publish(target, publications(subscriptionId, messages), signal);
  }

  async goodbye(reason: string): Promise<void> {
    this.#isLeaving = true; // no new session: it would bring the node back
    const current = this.#current;
    if (current === undefined) return;
    const late = new AbortController();
    await Promise.race([
      // The manager ends the stream when it has taken note.
      current.sayNow({ message: { $case: 'goodbye', value: { reason } } }).then(() => this.#loop),
      sleep(
        this.#deps.clock,
        GOODBYE_WITHIN_MS,
        AbortSignal.any([late.signal, this.#end.signal]),
      ).then(() => {
        throw new ShoalError('deadline-exceeded', 'the manager did not take note in time');
      }),
    ]).catch((error) => this.#deps.log.warn('left without a goodbye', { error: messageOf(error) }));
    late.abort();
  }

  async close(): Promise<void> {
    this.#end.abort(new ShoalError('cancelled', 'the session is closed'));
    this.#current?.cancel();
    await this.#loop;
    this.#deps.link.close();
  }

  async #run(): Promise<void> {
    const { clock, random, log, managers, handler } = this.#deps;
    let backoffMs = BACKOFF_FIRST_MS;
    let periodMs = 1_000;
    let lost: string | undefined;
    const localOnlyUntilMs = clock.monotonicMs() + LOCAL_START_MS;
    while (!this.#isOver()) {
      let wasWelcome = false;
      const localOnly = lost === undefined && clock.monotonicMs() < localOnlyUntilMs;
      for (const target of managers.targets(lost, localOnly)) {
        if (this.#isOver()) return;
        const session = new OpenSession(this.#deps, target, this.#reports, () => this.#applied);
        this.#current = session;
        try {
          await session.run(this.#description);
        } catch (error) {
          if (!this.#isOver()) {
            log.warn('session lost', { manager: target, error: messageOf(error) });
            if (error instanceof NodeRemovedError) handler.dismissed?.();
            else if (isShoalError(error, 'unauthenticated')) handler.refused?.();
          }
        }
        this.#current = undefined;
        if (!session.wasWelcome) continue;
        handler.connected(false);
        periodMs = session.periodMs;
        wasWelcome = true;
        lost = target;
        break;
      }
      const mostMs = managers.hasLocal
        ? LOCAL_BACKOFF_MOST_MS
        : Math.min(BACKOFF_MOST_MS, BACKOFF_MOST_PERIODS * periodMs);
      backoffMs = wasWelcome ? BACKOFF_FIRST_MS : backoffMs;
      const pauseMs = wasWelcome
        ? randomInt(random, 0, SPREAD_MS)
        : randomInt(random, backoffMs / 2, backoffMs);
      if (!wasWelcome) backoffMs = Math.min(backoffMs * 2, mostMs);
      if (this.#isOver()) return;
      try {
        await sleep(clock, pauseMs, this.#end.signal);
      } catch {
        return; // closed
      }
    }
  }

  #isOver(): boolean {
    return this.#isLeaving || this.#end.signal.aborted;
  }
}

/** The lines as they come, so that a follower does not wait for a batch to fill; the end is told last. */
async function* publications(
  subscriptionId: string,
  messages: AsyncIterable<LogMessage>,
): AsyncGenerator<LogPublication> {
  let failure = '';
  try {
    for await (const message of messages)
      yield { subscriptionId, messages: [message], done: false, error: '' };
  } catch (error) {
    failure = messageOf(error);
  }
  yield { subscriptionId, messages: [], done: true, error: failure };
}
