import { randomUUID } from 'node:crypto';
import { EventsService } from '../../../shared/gen/containerd/events.ts';
import { TaskExit, TaskOOM } from '../../../shared/gen/containerd/task-events.ts';
import type { Timestamp } from '../../../shared/gen/containerd/types.ts';
import type { ContainerdClient } from './containerd.ts';

export type TaskEvent =
  /** From here on nothing is missed: what was before is to be listed now. */
  | Readonly<{ kind: 'subscribed' }>
  /** `id` is the container's for its first process, else an exec's. */
  | Readonly<{
      kind: 'exit';
      containerId: string;
      id: string;
      pid: number;
      exitCode: number;
      atMs: number;
    }>
  | Readonly<{ kind: 'oom'; containerId: string }>;

const MARK_TOPIC = '/shoal/mark';
const MARK_INTERVAL_MS = 25;

/**
 * Ends of processes as containerd tells them; throws when the connection breaks. containerd does not say when
 * a subscription has begun, so we publish marks of our own until one comes back.
 */
export async function* taskEvents(
  client: ContainerdClient,
  signal: AbortSignal,
): AsyncGenerator<TaskEvent, void, void> {
  const mark = Buffer.from(randomUUID());
  const filters = ['/tasks/exit', '/tasks/oom', MARK_TOPIC].map(
    (topic) => `namespace==${client.namespace},topic=="${topic}"`,
  );
  const publish = () =>
    client
      .call(EventsService.publish, { topic: MARK_TOPIC, event: { typeUrl: 'mark', value: mark } })
      .catch(() => undefined); // the subscription itself fails too, and says so
  const timer = setInterval(publish, MARK_INTERVAL_MS);
  let subscribed = false;
  try {
    for await (const { topic, event } of client.stream(
      EventsService.subscribe,
      { filters },
      { signal },
    )) {
      const value = event?.value ?? Buffer.alloc(0);
      if (topic === MARK_TOPIC && !subscribed && mark.equals(value)) {
        subscribed = true;
        clearInterval(timer);
        yield { kind: 'subscribed' };
      } else if (topic === '/tasks/exit') {
        const { containerId, id, pid, exitStatus, exitedAt } = TaskExit.decode(value);
        yield { kind: 'exit', containerId, id, pid, exitCode: exitStatus, atMs: toMs(exitedAt) };
      } else if (topic === '/tasks/oom') {
        yield { kind: 'oom', containerId: TaskOOM.decode(value).containerId };
      }
    }
  } finally {
    clearInterval(timer);
  }
}

/** Whole milliseconds; 0 for a time that was not given (Go's zero time is before 1970). */
export function toMs(time: Timestamp | undefined): number {
  return time === undefined || time.seconds <= 0
    ? 0
    : time.seconds * 1000 + Math.floor(time.nanos / 1e6);
}
