import type { TaskSamples } from '../../shared/gen/shoal/v1/autoscale.ts';
import type {
  Assignments,
  LogSubscriptionChange,
  SessionUpdate,
} from '../../shared/gen/shoal/v1/dispatcher.ts';
import type { LogMessage } from '../../shared/gen/shoal/v1/logs.ts';
import type { NodeDescription } from '../../shared/gen/shoal/v1/objects.ts';
import type { TaskStatusChange } from '../../shared/gen/shoal/v1/store.ts';

/** Who takes what comes from the managers. Calls come one at a time, in order. */
export interface SessionHandler {
  /** The item set changed; a `complete` one replaces all (its chunks arrive joined). */
  assignments(change: Assignments): void;
  update(update: SessionUpdate): void;
  logs(change: LogSubscriptionChange): void;
  /** True between a welcome and the loss of the stream. */
  connected(isConnected: boolean): void;
  /** A manager says that this node was removed from the cluster; told at each try to connect. */
  dismissed?(): void;
  /** A manager does not take this node's certificate; told at each try to connect. */
  refused?(): void;
}

/**
 * The link to the managers: keeps one session, reconnects with back-off to any manager it knows of,
 * re-reports what was not acknowledged.
 */
export interface Session {
  /** Queued (the last status per task is kept), sent in batches, repeated until acknowledged. */
  report(change: TaskStatusChange): void;
  describe(description: NodeDescription): void;
  applied(revision: number): void;
  /** Sent at once or not at all: without a session they are dropped, and behind others only the newest are kept. */
  sample(samples: TaskSamples): void;
  publishLogs(
    subscriptionId: string,
    messages: AsyncIterable<LogMessage>,
    signal: AbortSignal,
  ): Promise<void>;
  /** Tells the managers that this node goes; returns when it was sent, or after a second. */
  goodbye(reason: string): Promise<void>;
  close(): Promise<void>;
}
