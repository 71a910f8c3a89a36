import type { Clock, Timer } from '../../shared/clock.ts';
import type { ShoalError } from '../../shared/errors.ts';
import type { LogSubscriptionChange, SessionUpdate } from '../../shared/gen/shoal/v1/dispatcher.ts';
import type { NodeDescription } from '../../shared/gen/shoal/v1/objects.ts';
import { Bell } from './bell.ts';
import { type ItemSource, Outbox } from './outbox.ts';
import { CHUNK_MAX_BYTES, encodeMessage } from './wire.ts';

/** Changes go out when none has come for so long, so that those of one scheduling round go together… */
const QUIET_MS = 10;
/** …but never later than this after the first. */
const MAX_DELAY_MS = 100;
/** Agents wait one second at their end. */
const GOODBYE_KNOWN_WITHIN_MS = 800;

export type SessionDeps = Readonly<{
  id: string;
  nodeId: string;
  clock: Clock;
  /** What the agent is told of its node and the cluster, as it is now. */
  update: () => SessionUpdate;
}>;

/**
 * One agent's stream as the manager sees it: what was heard, and what is still to be said. Of each
 * kind of message at most one is pending, whatever happens while the other side does not read.
 */
export class DispatcherSession {
  readonly id: string;
  readonly nodeId: string;
  /** Monotonic, of the last message of any kind. */
  lastHeardMs: number;
  /** From the hello; undefined before it. */
  hello: { address: string; description: NodeDescription | undefined } | undefined;
  readonly #clock: Clock;
  readonly #update: () => SessionUpdate;
  readonly #bell = new Bell();
  #outbox: Outbox | undefined;
  #appliedRevision = 0;
  #acknowledged = 0;
  #owesAck = false;
  #owesUpdate = false;
  readonly #logs = new Map<string, LogSubscriptionChange>();
  #firstTouchMs = 0;
  #lastTouchMs = 0;
  #timer: Timer | undefined;
  #departure: Timer | undefined;
  #isDeparting = false;
  #isDue = false;
  #end: { error: ShoalError | undefined } | undefined;

  constructor(deps: SessionDeps) {
    this.id = deps.id;
    this.nodeId = deps.nodeId;
    this.#clock = deps.clock;
    this.#update = deps.update;
    this.lastHeardMs = deps.clock.monotonicMs();
  }

  // ---- what came in ----

  greeted(address: string, description: NodeDescription | undefined): void {
    this.hello = { address, description };
    this.#bell.ring();
  }

  /**
   * Each beat is answered at once: that is how an agent knows that its manager lives. True when the agent has
   * applied more than before.
   */
  beat(appliedRevision: number): boolean {
    const isNews = appliedRevision > this.#appliedRevision;
    if (isNews) this.#appliedRevision = appliedRevision;
    this.#owesAck = true;
    this.#bell.ring();
    return isNews;
  }

  /** All reports up to this number are committed. */
  acknowledge(sequence: number): void {
    this.#acknowledged = Math.max(this.#acknowledged, sequence);
    this.#owesAck = true;
    this.#bell.ring();
  }

  /**
   * It said goodbye. The stream's end tells the agent that the cluster knows, so it comes when the node is down in the
   * store: a manager that leaves next could tell nobody any more. Without a leader it comes all the same.
   */
  departs(isKnown: boolean): void {
    this.#isDeparting = true;
    if (isKnown) this.close();
    else this.#departure ??= this.#clock.after(GOODBYE_KNOWN_WITHIN_MS, () => this.close());
  }

  get isDeparting(): boolean {
    return this.#isDeparting;
  }

  // ---- what is to go out ----

  /** From now on the items of `source` are kept up to date on the other side. */
  feed(source: ItemSource): void {
    this.#outbox = new Outbox(source, { chunkMaxBytes: CHUNK_MAX_BYTES });
    this.#bell.ring();
  }

  touch(key: string): void {
    if (this.#outbox === undefined) return; // the first listing will have it
    this.#outbox.touch(key);
    this.#lastTouchMs = this.#clock.monotonicMs();
    if (this.#timer !== undefined || this.#isDue) return;
    this.#firstTouchMs = this.#lastTouchMs;
    this.#timer = this.#clock.after(QUIET_MS, () => this.#settle());
  }

  owesUpdate(): void {
    this.#owesUpdate = true;
    this.#bell.ring();
  }

  sendLogs(change: LogSubscriptionChange): void {
    const id = change.subscription?.id ?? '';
    // Put at the end also when it replaces one: the order among subscriptions means nothing.
    this.#logs.delete(id);
    this.#logs.set(id, change);
    this.#bell.ring();
  }

  /** Ends the stream; with an error: that is what the agent is told. The first call counts. */
  close(error?: ShoalError): void {
    this.#end ??= { error };
    this.#departure?.cancel();
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#bell.ring();
  }

  get isClosed(): boolean {
    return this.#end !== undefined;
  }

  /**
   * Store index the node's kernel is known to be at. An agent that has applied all it was sent is up to
   * date with everything that happened since: none of it was its business.
   */
  appliedRevision(index: number): number {
    const outbox = this.#outbox;
    const isCurrent =
      outbox !== undefined && !outbox.pending && this.#appliedRevision >= outbox.sentRevision;
    return isCurrent ? index : this.#appliedRevision;
  }

  /** Messages as they become due, encoded; ends with the session. Taken one at a time. */
  async *messages(welcome: { heartbeatPeriodMs: () => number }): AsyncGenerator<Uint8Array> {
    while (this.hello === undefined && this.#end === undefined) await this.#bell.heard();
    if (this.#end === undefined) {
      yield encodeMessage({
        $case: 'welcome',
        value: {
          sessionId: this.id,
          heartbeatPeriodMs: welcome.heartbeatPeriodMs(),
          update: this.#update(),
        },
      });
    }
    while (this.#end === undefined) {
      const message = this.#next();
      if (message === undefined) await this.#bell.heard();
      else yield message;
    }
    if (this.#end.error !== undefined) throw this.#end.error;
  }

  #next(): Uint8Array | undefined {
    if (this.#owesAck) {
      this.#owesAck = false;
      return encodeMessage({ $case: 'ack', value: { sequence: this.#acknowledged } });
    }
    if (this.#owesUpdate) {
      this.#owesUpdate = false;
      return encodeMessage({ $case: 'update', value: this.#update() });
    }
    for (const [id, change] of this.#logs) {
      this.#logs.delete(id);
      return encodeMessage({ $case: 'logs', value: change });
    }
    const outbox = this.#outbox;
    if (outbox === undefined || !(outbox.isListing || this.#isDue)) return undefined;
    const message = outbox.next();
    if (!outbox.pending) this.#isDue = false;
    return message;
  }

  #settle(): void {
    const nowMs = this.#clock.monotonicMs();
    const dueMs = Math.min(this.#lastTouchMs + QUIET_MS, this.#firstTouchMs + MAX_DELAY_MS);
    if (nowMs < dueMs) {
      this.#timer = this.#clock.after(dueMs - nowMs, () => this.#settle());
      return;
    }
    this.#timer = undefined;
    this.#isDue = true;
    this.#bell.ring();
  }
}
