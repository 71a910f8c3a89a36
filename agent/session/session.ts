import { type Clock, sleep, type Timer } from '../../shared/clock.ts';
import { isShoalError, messageOf, NodeRemovedError, ShoalError } from '../../shared/errors.ts';
import type { TaskSamples } from '../../shared/gen/shoal/v1/autoscale.ts';
import type {
  AgentMessage,
  ManagerMessage,
  Welcome,
} from '../../shared/gen/shoal/v1/dispatcher.ts';
import type { LogMessage, LogPublication } from '../../shared/gen/shoal/v1/logs.ts';
import type { NodeDescription } from '../../shared/gen/shoal/v1/objects.ts';
import type { TaskStatusChange } from '../../shared/gen/shoal/v1/store.ts';
import type { Log } from '../../shared/log.ts';
import { type Random, randomInt } from '../../shared/random.ts';
import { AssignmentJoiner } from './joiner.ts';
import type { ManagerDirectory } from './managers.ts';
import { ReportQueue } from './reports.ts';
import { newest } from './samples.ts';
import type { Session, SessionHandler } from './types.ts';

/** One stream to one manager. */
export interface SessionStream {
  send(message: AgentMessage): Promise<void>;
  /** Ends with the stream; throws ShoalError when it broke. Read once. */
  readonly messages: AsyncIterable<ManagerMessage>;
  cancel(): void;
}

/** The way to managers, by target (`host:port` or `unix:///path`). */
export interface ManagerLink {
  open(target: string): SessionStream;
  publish(
    target: string,
    publications: AsyncIterable<LogPublication>,
    signal: AbortSignal,
  ): Promise<void>;
  close(): void;
}

export type SessionDeps = Readonly<{
  link: ManagerLink;
  managers: ManagerDirectory;
  handler: SessionHandler;
  clock: Clock;
  random: Random;
  log: Log;
  description: NodeDescription;
  /** IP address of this node. */
  address: string;
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
const WELCOME_WITHIN_MS = 2_000;
/**
 * Managers answer each heartbeat: silence this long means that the host behind the stream is gone. Two
 * periods, so that another manager hears of the node before the third is over, when it would be down.
 */
const SILENT_PERIODS = 2;
/** With very short periods a busy manager must not look like a dead one. */
const SILENT_LEAST_MS = 1_500;
/** What was carried into the kernel is told soon, not at the next beat: updates wait for it. */
const APPLIED_SOON_MS = 50;
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

/** One session with one manager, from the hello to its end. */
class OpenSession {
  readonly target: string;
  wasWelcome = false;
  readonly #deps: SessionDeps;
  readonly #reports: ReportQueue;
  readonly #applied: () => number;
  readonly #stream: SessionStream;
  readonly #joiner = new AssignmentJoiner();
  #outgoing: AgentMessage[] = [];
  #samples: TaskSamples | undefined;
  #isSampling = false;
  #sending: Promise<void> = Promise.resolve();
  #beat: Timer | undefined;
  #soonBeat: Timer | undefined;
  #watchdog: Timer | undefined;
  #periodMs = 1_000;
  #heardMs: number;
  #isOver = false;
  #failure: ShoalError | undefined;

  constructor(deps: SessionDeps, target: string, reports: ReportQueue, applied: () => number) {
    this.#deps = deps;
    this.target = target;
    this.#reports = reports;
    this.#applied = applied;
    this.#heardMs = deps.clock.monotonicMs();
    this.#stream = deps.link.open(target);
  }

  async run(description: NodeDescription): Promise<void> {
    this.#reports.restart();
    this.say({ message: { $case: 'hello', value: { description, address: this.#deps.address } } });
    this.#watchdog = this.#deps.clock.after(WELCOME_WITHIN_MS, () => this.#fail('no welcome'));
    try {
      for await (const { message } of this.#stream.messages) {
        this.#heardMs = this.#deps.clock.monotonicMs();
        if (message !== undefined) this.#take(message);
      }
      throw this.#failure ?? new ShoalError('unavailable', 'the manager ended the session');
    } catch (error) {
      throw this.#failure ?? error;
    } finally {
      this.#isOver = true;
      this.#beat?.cancel();
      this.#soonBeat?.cancel();
      this.#watchdog?.cancel();
      this.#stream.cancel();
      this.#reports.restart();
    }
  }

  get periodMs(): number {
    return this.#periodMs;
  }

  /** Sends the statuses that wait, if none are under way. */
  wake(): void {
    if (!this.wasWelcome) return;
    const value = this.#reports.next();
    if (value !== undefined) this.say({ message: { $case: 'report', value } });
  }

  /** One message of samples is under way at a time: a manager that is slow to read gets fewer, never older ones. */
  sample(samples: TaskSamples): void {
    if (!this.wasWelcome || this.#isOver) return;
    this.#samples = newest(this.#samples, samples);
    if (!this.#isSampling) void this.#sendSamples();
  }

  async #sendSamples(): Promise<void> {
    this.#isSampling = true;
    try {
      while (this.#samples !== undefined) {
        const value = this.#samples;
        this.#samples = undefined;
        await this.sayNow({ message: { $case: 'samples', value } });
      }
    } catch (error) {
      this.#fail(messageOf(error));
    } finally {
      this.#isSampling = false;
    }
  }

  say(message: AgentMessage): void {
    this.sayNow(message).catch((error) => this.#fail(messageOf(error)));
  }

  /** After what was said before; resolves when the transport took it. */
  sayNow(message: AgentMessage): Promise<void> {
    this.#outgoing.push(message);
    this.#sending = this.#sending.then(async () => {
      const next = this.#outgoing.shift();
      if (next !== undefined) await this.#stream.send(next);
    });
    return this.#sending;
  }

  cancel(): void {
    this.#stream.cancel();
  }

  #take(message: NonNullable<ManagerMessage['message']>): void {
    const { handler } = this.#deps;
    switch (message.$case) {
      case 'welcome':
        this.#welcome(message.value);
        return;
      case 'assignments': {
        const whole = this.#joiner.take(message.value);
        if (whole !== undefined) handler.assignments(whole);
        return;
      }
      case 'ack':
        this.#reports.acknowledge(message.value.sequence);
        this.wake();
        return;
      case 'update':
        this.#update(message.value);
        return;
      case 'logs':
        handler.logs(message.value);
        return;
    }
  }

  #welcome(welcome: Welcome): void {
    const { handler, log } = this.#deps;
    this.wasWelcome = true;
    this.#watchdog?.cancel();
    this.#periodMs = welcome.heartbeatPeriodMs || this.#periodMs;
    log.info('session opened', { manager: this.target, session: welcome.sessionId });
    handler.connected(true);
    if (welcome.update !== undefined) this.#update(welcome.update);
    this.#scheduleBeat();
    this.#watch();
    this.wake();
  }

  #update(update: NonNullable<Welcome['update']>): void {
    this.#deps.managers.learn(update.managers);
    this.#periodMs = update.heartbeatPeriodMs || this.#periodMs;
    this.#deps.handler.update(update);
  }

  /** A heartbeat before its time; several wishes are one. */
  beatSoon(): void {
    if (!this.wasWelcome || this.#isOver || this.#soonBeat !== undefined) return;
    this.#soonBeat = this.#deps.clock.after(APPLIED_SOON_MS, () => {
      this.#soonBeat = undefined;
      this.#sayBeat();
    });
  }

  #scheduleBeat(): void {
    this.#beat = this.#deps.clock.after(this.#periodMs, () => {
      this.#sayBeat();
      this.#scheduleBeat();
    });
  }

  #sayBeat(): void {
    this.say({ message: { $case: 'heartbeat', value: { appliedRevision: this.#applied() } } });
  }

  #watch(): void {
    const silentMostMs = Math.max(SILENT_LEAST_MS, SILENT_PERIODS * this.#periodMs);
    const silentMs = this.#deps.clock.monotonicMs() - this.#heardMs;
    if (silentMs >= silentMostMs) {
      this.#fail(`the manager was silent for ${Math.round(silentMs)} ms`);
      return;
    }
    this.#watchdog = this.#deps.clock.after(silentMostMs - silentMs, () => this.#watch());
  }

  #fail(why: string): void {
    this.#failure ??= new ShoalError('unavailable', why);
    this.#stream.cancel();
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
