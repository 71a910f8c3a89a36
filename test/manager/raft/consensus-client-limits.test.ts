import test from 'ava';
import { ConsensusClient } from '../../../manager/raft/consensus-client.ts';
import { type NodeStatus, pack, type ToNode } from '../../../manager/raft/protocol.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { id } from './letters.ts';

const LARGEST_BYTES = 1_536 << 10;

function leading(leaderFromIndex = 1) {
  const posted: ToNode[] = [];
  const client = new ConsensusClient(
    { post: (batch) => posted.push(...batch) },
    {
      stateMachine: { apply: () => undefined, restore: () => undefined, snapshot: () => [] },
      clock: new ManualClock(),
      defer: () => undefined, // nothing leaves in this turn
      fatal: (error) => {
        throw error;
      },
    },
  );
  const status: NodeStatus = {
    raftId: id('a'),
    role: 'leader',
    term: 2,
    leader: id('a'),
    leaderFromIndex,
    commitIndex: 1,
    leaderSilentMs: 0,
    members: [],
    removed: false,
  };
  client.take([{ kind: 'status', status }]);
  const applies = (index: number) =>
    client.take([{ kind: 'entries', first: index, ...pack([new Uint8Array(1)]), done: [] }]);
  /** How it was refused at once; undefined when it was not. */
  const refusal = async (bytes: number): Promise<string | undefined> => {
    const outcome = client.propose(new Uint8Array(bytes)).then(
      () => undefined,
      (error: { code: string }) => error.code,
    );
    const turn = new Promise<void>((resolve) => setImmediate(resolve));
    return Promise.race([outcome, turn.then(() => undefined)]);
  };
  return { client, status, applies, refusal };
}

test('a write has 1 byte to 1.5 MiB', async (t) => {
  const { client, refusal } = leading();
  t.is(await refusal(0), 'resource-exhausted');
  t.is(await refusal(LARGEST_BYTES + 1), 'resource-exhausted');
  t.is(await refusal(1), undefined);
  t.is(await refusal(LARGEST_BYTES), undefined);
  client.ended();
});

test('writes that wait are bounded in number', async (t) => {
  const { client, refusal } = leading();
  const waiting = Array.from({ length: 8_192 }, () => client.propose(new Uint8Array(1)));
  for (const one of waiting) one.catch(() => undefined);
  t.is(await refusal(1), 'resource-exhausted');
  client.take([
    {
      kind: 'failed',
      firstId: 1,
      count: 1,
      error: { code: 'unavailable', message: 'no', leader: undefined },
    },
  ]);
  t.is(await refusal(1), undefined, 'one has ended');
  client.ended();
});

test('writes that wait are bounded in bytes', async (t) => {
  const { client, refusal } = leading();
  for (let i = 0; i < 10; i++) t.is(await refusal(LARGEST_BYTES), undefined);
  t.is(await refusal(LARGEST_BYTES), 'resource-exhausted', '16 MiB');
  t.is(await refusal(1 << 19), undefined);
  client.ended();
});

test('a leader leads for its own manager once the first entry of its term is applied', (t) => {
  const { client, applies } = leading(7);
  const heard: boolean[] = [];
  client.onStatus(({ isLeader }) => heard.push(isLeader));
  applies(6);
  t.false(client.status().isLeader, 'the state is not that of its own term yet');
  applies(7);
  t.true(client.status().isLeader);
  t.deepEqual(heard, [false, true]);
  client.ended();
  t.deepEqual(heard, [false, true, false]);
});
