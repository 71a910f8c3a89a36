import type { AgentMessage, ManagerMessage } from '../../shared/gen/shoal/v1/dispatcher.ts';
import type { LogPublication } from '../../shared/gen/shoal/v1/logs.ts';

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
