import test from 'ava';
import { LogPublisher } from '../../../agent/logs/publisher.ts';
import type { LogLine } from '../../../agent/runtime/types.ts';
import { LogSubscriptionChange } from '../../../shared/gen/shoal/v1/dispatcher.ts';
import type { LogMessage } from '../../../shared/gen/shoal/v1/logs.ts';
import { silentLog } from '../../../shared/log.ts';

const line = (text: string, partial: boolean): LogLine => ({
  stream: 1,
  at: '2026-01-01T00:00:00.000000001Z',
  data: new TextEncoder().encode(text),
  partial,
});

test('parts of a long line are published as parts', async (t) => {
  const published = Promise.withResolvers<readonly LogMessage[]>();
  const publisher = new LogPublisher({
    runtime: {
      async *logs() {
        yield* [line('long ', true), line('line', false)];
      },
    },
    session: {
      publishLogs: async (_id, messages) => published.resolve(await Array.fromAsync(messages)),
    },
    nodeId: 'n1',
    find: (taskId) => (taskId === 't1' ? { containerId: 'c1', serviceId: 's1' } : undefined),
    log: silentLog,
  });
  publisher.handle(
    LogSubscriptionChange.fromPartial({
      subscription: { id: 'sub', options: { stdout: true, tail: -1 } },
      taskIds: ['t1', 'a task without a container'],
    }),
  );
  const messages = await published.promise;
  t.deepEqual(
    messages.map(({ taskId, serviceId, data, partial }) => [taskId, serviceId, `${data}`, partial]),
    [
      ['t1', 's1', 'long ', true],
      ['t1', 's1', 'line', false],
    ],
  );
});
