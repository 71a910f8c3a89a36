import test from 'ava';
import fc from 'fast-check';
import { LineJoiner } from '../../../agent/engine/log-lines.ts';
import type { LogMessage } from '../../../shared/gen/shoal/v1/logs.ts';

function part(taskId: string, text: string, partial: boolean, stream = 1): LogMessage {
  const data = Buffer.from(text);
  return { nodeId: 'n', serviceId: 's', taskId, stream, at: `${text}@`, data, partial };
}

const told = (messages: readonly (LogMessage | undefined)[]) =>
  messages.flatMap((line) => (line ? [[line.taskId, String(line.data), line.partial]] : []));

test('parts of several lines that come mixed are joined by task and stream', (t) => {
  const joiner = new LineJoiner();
  const shown = [
    part('a', 'one ', true),
    part('b', 'short', false),
    part('a', 'error ', true, 2),
    part('b', 'long ', true),
    part('a', 'line', false),
    part('b', 'too', false),
    part('a', 'too', false, 2),
  ].map((message) => joiner.push(message));
  t.deepEqual(told(shown), [
    ['b', 'short', false],
    ['a', 'one line', false],
    ['b', 'long too', false],
    ['a', 'error too', false],
  ]);
  t.is(shown[4]?.at, 'one @', 'a line has the time of its first part');
  t.deepEqual(joiner.rest(), []);
});

test('a line whose end never comes is not lost', (t) => {
  const joiner = new LineJoiner();
  joiner.push(part('a', 'cut ', true));
  joiner.push(part('a', 'off', true));
  t.deepEqual(told(joiner.rest()), [['a', 'cut off', true]]);
  t.deepEqual(joiner.rest(), []);
});

test('no more than 8 MiB wait, whatever the tasks write, and no byte is lost', (t) => {
  const size = 16 << 10;
  const steps = fc.array(fc.record({ task: fc.nat(40), ends: fc.constant(false) }), {
    minLength: 600,
    maxLength: 900,
    size: 'max',
  });
  fc.assert(
    fc.property(steps, (list) => {
      const joiner = new LineJoiner();
      let held = 0;
      let shown = 0;
      for (const { task, ends } of list) {
        held += size;
        const line = joiner.push(part(`t${task}`, 'x'.repeat(size), !ends));
        const bytes = line?.data.length ?? 0;
        t.true(bytes <= 1 << 20);
        held -= bytes;
        shown += bytes;
        if (held >= 8 << 20) return false;
      }
      const rest = joiner.rest().reduce((sum, { data }) => sum + data.length, 0);
      return shown + rest === list.length * size;
    }),
    { numRuns: 10, seed: 1 },
  );
});
