import test from 'ava';
import type { ToNode } from '../../../manager/raft/protocol.ts';
import { StateWriter } from '../../../manager/raft/state-writer.ts';
import { ManualClock } from '../../support/manual-clock.ts';

/** `pauses`: what the writer asked the clock for. Each chunk takes `chunkMs` to encode. */
function world({ count = 3, chunkMs = 2, breaksAt = -1 } = {}) {
  const clock = new ManualClock();
  const sent: ToNode['kind'][] = [];
  const pauses: number[] = [];
  const errors: Error[] = [];
  let worked = 0;
  const writer = new StateWriter({
    stateMachine: {
      apply: () => undefined,
      restore: () => undefined,
      *snapshot() {
        for (let i = 0; i < count; i++) {
          worked += chunkMs;
          if (i === breaksAt) throw new Error('no such object');
          yield new Uint8Array([i]);
        }
      },
    },
    clock: {
      now: () => clock.now(),
      monotonicMs: () => clock.monotonicMs() + worked,
      after: (delayMs, fn) => {
        pauses.push(delayMs);
        return clock.after(delayMs, fn);
      },
    },
    send: ({ kind }) => sent.push(kind),
    fatal: (error) => errors.push(error),
  });
  return { writer, clock, sent, pauses, errors };
}

test('after each chunk of the state seven times as long is left for other work', async (t) => {
  const { writer, clock, sent, pauses } = world();
  writer.begin(7);
  t.deepEqual(sent, ['snapshot-begin', 'snapshot-chunk']);
  await clock.advance(1_000);
  t.deepEqual(pauses, [14, 14, 14]);
  t.deepEqual(sent.slice(2), ['snapshot-chunk', 'snapshot-chunk', 'snapshot-end']);
});

test('a thread that was not let on its core does not stretch a snapshot without bound', (t) => {
  const { writer, pauses } = world({ chunkMs: 5_000 });
  writer.begin(7);
  t.deepEqual(pauses, [50]);
});

test('a state that cannot be written out ends its snapshot and the program', async (t) => {
  const { writer, clock, sent, errors } = world({ breaksAt: 1 });
  writer.begin(7);
  await clock.advance(1_000);
  t.is(sent.at(-1), 'snapshot-end');
  t.is(errors[0]?.message, 'no such object');
});

test('nothing more is written out once the end is near', async (t) => {
  const { writer, clock, sent } = world();
  writer.begin(7);
  writer.stop();
  await clock.advance(1_000);
  t.is(sent.length, 2);
});
