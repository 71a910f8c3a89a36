import type { Clock, Timer } from '../../shared/clock.ts';
import { messageOf, ShoalError } from '../../shared/errors.ts';
import type { TaskSamples } from '../../shared/gen/shoal/v1/autoscale.ts';
import type {
  AgentMessage,
  ManagerMessage,
  Welcome,
} from '../../shared/gen/shoal/v1/dispatcher.ts';
import type { NodeDescription } from '../../shared/gen/shoal/v1/objects.ts';
import type { Log } from '../../shared/log.ts';
import { AssignmentJoiner } from './joiner.ts';
import type { ManagerLink, SessionStream } from './link.ts';
import type { ManagerDirectory } from './managers.ts';
import type { ReportQueue } from './reports.ts';
import { newest } from './samples.ts';
import type { SessionHandler } from './types.ts';

export type OpenSessionDeps = Readonly<{
  link: ManagerLink;
  managers: ManagerDirectory;
  handler: SessionHandler;
  clock: Clock;
  log: Log;
  /** IP address of this node. */
  address: string;
}>;

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

/** One session with one manager, from the hello to its end. */
export class OpenSession {
  readonly target: string;
  wasWelcome = false;
  readonly #deps: OpenSessionDeps;
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

  constructor(deps: OpenSessionDeps, target: string, reports: ReportQueue, applied: () => number) {
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
