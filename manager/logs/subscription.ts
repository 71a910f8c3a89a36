import { Channel } from '../../shared/channel.ts';
import type { Clock } from '../../shared/clock.ts';
import type { LogSubscriptionChange } from '../../shared/gen/shoal/v1/dispatcher.ts';
import type { LogMessage, LogSelector, LogSubscription } from '../../shared/gen/shoal/v1/logs.ts';
import { type Task, TaskState } from '../../shared/gen/shoal/v1/objects.ts';
import type { Log } from '../../shared/log.ts';
import type { ReadView } from '../store/types.ts';
import { matches, tasksByNode } from './select.ts';

/** Messages that wait for a slow reader; behind it the agents' streams are held up. */
const CAPACITY = 256;
/** An agent that says nothing for so long, though it could, is not waited for. */
export const NODE_PATIENCE_MS = 10_000;

type Asked = {
  readonly taskIds: Set<string>;
  progressMs: number;
  /** Streams of this node that are under way. */
  publishing: number;
};

export type SubscriptionDeps = Readonly<{
  view: ReadView;
  clock: Clock;
  log: Log;
  /** False: the node has no session here. */
  send: (nodeId: string, change: LogSubscriptionChange) => boolean;
}>;

/** A subscription as one manager serves it: the nodes it has asked, and what they sent. */
export class LocalSubscription {
  readonly messages = new Channel<LogMessage>(CAPACITY);
  readonly #deps: SubscriptionDeps;
  readonly #subscription: LogSubscription;
  readonly #selector: LogSelector;
  readonly #asked = new Map<string, Asked>();

  constructor(deps: SubscriptionDeps, subscription: LogSubscription, selector: LogSelector) {
    this.#deps = deps;
    this.#subscription = subscription;
    this.#selector = selector;
  }

  get isFollowing(): boolean {
    return this.#subscription.options?.follow === true;
  }

  /** Asks every node that has matching tasks and a session here. */
  start(): void {
    for (const [nodeId, taskIds] of this.#tasks()) {
      this.#ask(nodeId, taskIds, this.#subscription);
    }
    this.#endWhenDone();
  }

  /** While following: a task that has a container by now is asked for when it was not before. */
  taskChanged(task: Task): void {
    if (!this.isFollowing || !matches(this.#selector, task) || !hasStarted(task)) return;
    const taskId = task.id;
    const present = this.#asked.get(task.nodeId)?.taskIds;
    if (present?.has(taskId)) return;
    this.#ask(task.nodeId, new Set([...(present ?? []), taskId]), this.#subscription);
  }

  /** A node has a new session. What it wrote before was sent on its old one, or lost with it. */
  sessionOpened(nodeId: string): void {
    if (!this.isFollowing || (this.#asked.get(nodeId)?.publishing ?? 0) > 0) return;
    const taskIds = this.#tasks().get(nodeId);
    const { options } = this.#subscription;
    if (taskIds === undefined || options === undefined) return;
    this.#ask(nodeId, taskIds, { ...this.#subscription, options: { ...options, tail: 0 } });
  }

  sessionEnded(nodeId: string): void {
    const asked = this.#asked.get(nodeId);
    if (asked === undefined || asked.publishing > 0 || this.isFollowing) return;
    this.#giveUp(nodeId, 'its session ended');
  }

  /** False: this node was not asked, or nobody reads any more. */
  publishStarts(nodeId: string): boolean {
    const asked = this.#asked.get(nodeId);
    if (asked === undefined) return false;
    asked.publishing += 1;
    asked.progressMs = this.#deps.clock.monotonicMs();
    return true;
  }

  /** Resolves when there was room; false: nobody reads any more. A node speaks for its own tasks only. */
  async publish(nodeId: string, messages: readonly LogMessage[]): Promise<boolean> {
    const asked = this.#asked.get(nodeId);
    for (const message of messages) {
      if (asked?.taskIds.has(message.taskId) !== true) continue;
      const serviceId = this.#deps.view.get('task', message.taskId)?.serviceId ?? '';
      if (!(await this.messages.push({ ...message, nodeId, serviceId }))) return false;
      asked.progressMs = this.#deps.clock.monotonicMs();
    }
    return asked !== undefined;
  }

  publishEnds(nodeId: string, error: string): void {
    const asked = this.#asked.get(nodeId);
    if (asked === undefined) return;
    asked.publishing -= 1;
    if (error !== '') this.#note(nodeId, error);
    if (this.isFollowing || asked.publishing > 0) return;
    this.#asked.delete(nodeId);
    this.#endWhenDone();
  }

  /** To be called now and then. While the reader is what holds things up, the nodes have time. */
  checkPatience(): void {
    if (this.isFollowing) return;
    const nowMs = this.#deps.clock.monotonicMs();
    for (const [nodeId, asked] of [...this.#asked]) {
      if (this.messages.isFull) asked.progressMs = nowMs;
      else if (nowMs - asked.progressMs >= NODE_PATIENCE_MS) {
        this.#giveUp(nodeId, `nothing came for ${NODE_PATIENCE_MS} ms`);
      }
    }
  }

  /** Tells the nodes to stop, and the reader that no more comes. */
  close(): void {
    this.messages.close();
    for (const nodeId of this.#asked.keys()) {
      this.#deps.send(nodeId, { subscription: this.#subscription, close: true, taskIds: [] });
    }
    this.#asked.clear();
  }

  /** Whose logs can be had now; who follows is told of the others when they have begun. */
  #tasks(): Map<string, Set<string>> {
    const isWanted = this.isFollowing ? hasStarted : () => true;
    return tasksByNode(this.#deps.view, this.#selector, isWanted);
  }

  #ask(nodeId: string, taskIds: Set<string>, subscription: LogSubscription): void {
    const change = { subscription, close: false, taskIds: [...taskIds] };
    if (!this.#deps.send(nodeId, change)) return; // another manager has it, or none
    const progressMs = this.#deps.clock.monotonicMs();
    const publishing = this.#asked.get(nodeId)?.publishing ?? 0;
    this.#asked.set(nodeId, { taskIds, progressMs, publishing });
  }

  #giveUp(nodeId: string, why: string): void {
    this.#note(nodeId, why);
    this.#asked.delete(nodeId);
    this.#endWhenDone();
  }

  #endWhenDone(): void {
    if (!this.isFollowing && this.#asked.size === 0) this.messages.close();
  }

  #note(nodeId: string, why: string): void {
    const subscription = this.#subscription.id;
    this.#deps.log.warn('logs of a node are incomplete', { nodeId, subscription, why });
  }
}

/** A node that reports RUNNING, or an end, has a container whose log it can read. */
function hasStarted(task: Task): boolean {
  return (task.status?.state ?? TaskState.NEW) >= TaskState.RUNNING;
}
