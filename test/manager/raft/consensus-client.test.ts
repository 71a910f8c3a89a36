import test from 'ava';
import { ConsensusClient } from '../../../manager/raft/consensus-client.ts';
import { buffersOf, pack, type ToNode } from '../../../manager/raft/protocol.ts';
import { ManualClock } from '../../support/manual-clock.ts';

function world() {
  const clock = new ManualClock();
  const posted: ToNode[][] = [];
  const applied: number[] = [];
  const deferred: (() => void)[] = [];
  const client = new ConsensusClient(
    { post: (batch) => posted.push([...batch]) },
    {
      stateMachine: {
        apply: (index) => applied.push(index),
        restore: () => undefined,
        snapshot: () => [],
      },
      clock,
      defer: (fn) => deferred.push(fn),
      fatal: (error) => {
        throw error;
      },
    },
  );
  const turn = () => {
    for (const fn of deferred.splice(0)) fn();
  };
  const entries = (first: number, bytes = 10) =>
    client.take([{ kind: 'entries', first, ...pack([new Uint8Array(bytes)]), done: [] }]);
  return { client, clock, posted, applied, turn, entries };
}

test('what is applied is told with the next batch, before what else is in it', async (t) => {
  const { client, posted, applied, turn, entries } = world();
  entries(1);
  entries(2);
  turn();
  t.deepEqual(applied, [1, 2]);
  t.deepEqual(posted, []);
  void client.readBarrier().catch(() => undefined);
  turn();
  t.deepEqual(posted, [
    [
      { kind: 'applied', index: 2 },
      { kind: 'read', context: 1 },
    ],
  ]);
  client.ended();
});

test('what is applied is told by itself after a moment, and at once when it is much', async (t) => {
  const { client, clock, posted, turn, entries } = world();
  entries(1);
  await clock.advance(100);
  t.deepEqual(posted, [[{ kind: 'applied', index: 1 }]]);
  entries(2, 200_000);
  turn();
  t.is(posted.length, 1);
  entries(3, 200_000);
  turn();
  t.deepEqual(posted[1], [{ kind: 'applied', index: 3 }]);
  await clock.advance(100);
  t.is(posted.length, 2, 'once is enough');
  client.ended();
});

test('large buffers are handed over, small ones copied', (t) => {
  const batch = (bytes: number): ToNode[] => [
    { kind: 'propose', firstId: 1, ...pack([new Uint8Array(bytes)]) },
  ];
  t.is(buffersOf(batch(400)).length, 0);
  t.is(buffersOf(batch(100_000)).length, 1);
});

test('a state that cannot be restored is a start that failed, and nothing is answered from it', async (t) => {
  const fatal: string[] = [];
  const client = new ConsensusClient(
    { post: () => undefined },
    {
      stateMachine: {
        apply: () => undefined,
        restore: () => {
          throw new Error('no such chunk');
        },
        snapshot: () => [],
      },
      clock: new ManualClock(),
      defer: (fn) => fn(),
      fatal: ({ message }) => fatal.push(message),
    },
  );
  client.take([
    { kind: 'restore', index: 7, chunks: [] },
    { kind: 'started', raftId: 'a' },
  ]);
  await t.throwsAsync(client.started, { message: 'no such chunk' });
  t.deepEqual(fatal, ['no such chunk']);
  await t.throwsAsync(client.readBarrier());
});
