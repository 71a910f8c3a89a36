import { messageOf } from '../../shared/errors.ts';
import type { LogSubscriptionChange } from '../../shared/gen/shoal/v1/dispatcher.ts';
import type { LogMessage, LogOptions } from '../../shared/gen/shoal/v1/logs.ts';
import type { Log } from '../../shared/log.ts';
import type { LogQuery, Runtime } from '../runtime/types.ts';
import type { Session } from '../session/types.ts';
import { Merged } from './merge.ts';

export type LogPublisherDeps = Readonly<{
  runtime: Pick<Runtime, 'logs'>;
  session: Pick<Session, 'publishLogs'>;
  nodeId: string;
  /** Where a task's log is; undefined when the task has no container (yet). */
  find(taskId: string): Readonly<{ containerId: string; serviceId: string }> | undefined;
  log: Log;
}>;

type Open = { end: AbortController; merged: Merged<LogMessage>; tasks: Set<string> };

/** Lines of this host's tasks to whoever asked the managers for them: one stream per subscription. */
export class LogPublisher {
  readonly #deps: LogPublisherDeps;
  readonly #open = new Map<string, Open>();

  constructor(deps: LogPublisherDeps) {
    this.#deps = deps;
  }

  /** A subscription, more tasks for one that follows, or its end. */
  handle(change: LogSubscriptionChange): void {
    const subscription = change.subscription;
    if (subscription === undefined) return;
    const { id } = subscription;
    if (change.close) {
      this.#open.get(id)?.end.abort(new Error('nobody reads it any more'));
      return;
    }
    const options = subscription.options;
    if (options === undefined) return;
    const open = this.#open.get(id) ?? this.#start(id);
    for (const taskId of change.taskIds) this.#add(open, taskId, options);
    if (!options.follow) open.merged.finish();
  }

  close(): void {
    for (const { end } of this.#open.values()) end.abort(new Error('the agent goes'));
  }

  #start(id: string): Open {
    const { session, log } = this.#deps;
    const end = new AbortController();
    const open: Open = { end, merged: new Merged(end.signal), tasks: new Set() };
    this.#open.set(id, open);
    session
      .publishLogs(id, open.merged, open.end.signal)
      .catch((error) =>
        log.warn('cannot publish logs', { subscription: id, error: messageOf(error) }),
      )
      .finally(() => {
        open.end.abort();
        this.#open.delete(id);
      });
    return open;
  }

  #add(open: Open, taskId: string, options: LogOptions): void {
    if (open.tasks.has(taskId)) return;
    open.tasks.add(taskId);
    open.merged.add(this.#lines(taskId, options, open.end.signal), (error) =>
      this.#deps.log.warn('cannot read the log of a task', {
        task: taskId,
        error: messageOf(error),
      }),
    );
  }

  async *#lines(
    taskId: string,
    options: LogOptions,
    signal: AbortSignal,
  ): AsyncGenerator<LogMessage> {
    const found = this.#deps.find(taskId);
    if (found === undefined) return;
    for await (const line of this.#deps.runtime.logs(found.containerId, queryOf(options), signal)) {
      yield {
        nodeId: this.#deps.nodeId,
        serviceId: found.serviceId,
        taskId,
        stream: line.stream,
        at: line.at,
        data: Buffer.from(line.data.buffer, line.data.byteOffset, line.data.byteLength),
        partial: line.partial,
      };
    }
  }
}

function queryOf(options: LogOptions): LogQuery {
  const both = !options.stdout && !options.stderr;
  return {
    stdout: options.stdout || both,
    stderr: options.stderr || both,
    follow: options.follow,
    tail: options.tail,
    sinceMs: options.sinceNs / 1e6,
    untilMs: 0,
  };
}
