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

test('a subscription that ends lets go of logs whose lines nobody took', async (t) => {
  const read = Promise.withResolvers<void>();
  const left = Promise.withResolvers<void>();
  const publisher = new LogPublisher({
    runtime: {
      async *logs() {
        try {
          for (let i = 0; ; i++) {
            // More than fits in between.
            if (i === 1_000) t.fail('the reader did not hold the log back');
            if (i === 200) read.resolve();
            yield line('line', false);
          }
        } finally {
          left.resolve();
        }
      },
    },
    session: { publishLogs: () => new Promise(() => undefined) },
    nodeId: 'n1',
    find: () => ({ containerId: 'c1', serviceId: 's1' }),
    log: silentLog,
  });
  const subscription = { id: 'sub', options: { stdout: true, follow: true } };
  publisher.handle(LogSubscriptionChange.fromPartial({ subscription, taskIds: ['t1'] }));
  await read.promise;
  await new Promise((resolve) => setImmediate(resolve));
  publisher.handle(LogSubscriptionChange.fromPartial({ subscription, close: true }));
  await left.promise;
  t.pass();
});
