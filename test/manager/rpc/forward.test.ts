import test from 'ava';
import type { ConsensusStatus } from '../../../manager/raft/consensus.ts';
import { type LeaderCall, onLeader, routeTo } from '../../../manager/rpc/forward.ts';
import {
  type ErrorCode,
  isShoalError,
  NotLeaderError,
  ShoalError,
} from '../../../shared/errors.ts';
import { settle } from '../../support/manual-clock.ts';
import { storeFixture } from '../../support/store.ts';

const member = (raftId: string, address = `${raftId}:2377`) => ({
  member: { raftId, nodeId: `node-${raftId}`, address, raftAddress: '' },
  learner: false,
  active: true,
  matchIndex: 0,
});
const follower = (leaderRaftId: string | undefined, term = 1): Partial<ConsensusStatus> => ({
  isLeader: false,
  leaderRaftId,
  term,
  members: [member('1'), member('2'), member('3')],
});

async function setUp(status: Partial<ConsensusStatus>) {
  const { consensus, clock } = await storeFixture();
  consensus.setStatus(status);
  const tried: string[] = [];
  const start = (options: Partial<LeaderCall<string>> = {}) => {
    const result: { value?: string; code?: ErrorCode | undefined; message?: string } = {};
    const call: LeaderCall<string> = {
      local: async () => {
        tried.push('here');
        return 'done here';
      },
      remote: async (address) => {
        tried.push(address);
        return `done at ${address}`;
      },
      isForwarded: false,
      signal: new AbortController().signal,
      ...options,
    };
    const end = onLeader({ consensus, clock }, call).then(
      (value) => {
        result.value = value;
      },
      (error) => {
        result.code = isShoalError(error) ? error.code : 'internal';
        result.message = error.message;
      },
    );
    return { result, end };
  };
  return { consensus, clock, tried, start };
}

test('the leader does it here, a follower sends it to the leader', async (t) => {
  const leader = await setUp({});
  const one = leader.start();
  await one.end;
  t.is(one.result.value, 'done here');
  const other = await setUp(follower('2'));
  const two = other.start();
  await two.end;
  t.is(two.result.value, 'done at 2:2377');
});

test('a call that was forwarded once is carried out here or not at all', async (t) => {
  const the = await setUp(follower('2'));
  const { result, end } = the.start({ isForwarded: true });
  await end;
  t.is(result.code, 'unavailable');
  t.deepEqual(the.tried, []);
});

test('a call during an election waits, and succeeds as soon as there is a leader', async (t) => {
  const the = await setUp(follower(undefined));
  const { result, end } = the.start();
  await the.clock.advance(1_400);
  t.deepEqual(result, {});
  the.consensus.setStatus(follower('3', 2));
  await end;
  t.is(result.value, 'done at 3:2377');
});

test('without a leader it gives up after a while, or when its caller does', async (t) => {
  const the = await setUp(follower(undefined));
  const patient = the.start();
  const hasty = the.start({ deadlineAtMs: the.clock.now() + 300 });
  await the.clock.advance(350);
  t.is(hasty.result.code, 'unavailable');
  t.deepEqual(patient.result, {});
  await the.clock.advance(2_300);
  t.is(patient.result.code, 'unavailable');
});

test('a manager whose disk is full says so, and not that there is no leader', async (t) => {
  const the = await setUp({ ...follower(undefined), withoutRoom: true });
  const { result } = the.start();
  await the.clock.advance(2_600);
  t.is(result.code, 'unavailable');
  t.regex(result.message ?? '', /no room left on the disk/);
});

test('a leader that has not begun yet is not asked before it has', async (t) => {
  const the = await setUp({ isLeader: false, raftId: '1', leaderRaftId: '1' });
  const { result, end } = the.start();
  await settle();
  t.deepEqual(the.tried, []);
  the.consensus.setStatus({ isLeader: true });
  await end;
  t.is(result.value, 'done here');
});

for (const [what, error] of [
  ['it is not the leader any more', new NotLeaderError('node-3')],
  ['it could not be reached', new ShoalError('unavailable', 'No connection established')],
] as const) {
  test(`a remote refusal because ${what} is tried again elsewhere: nothing was done`, async (t) => {
    const the = await setUp(follower('2'));
    const { result, end } = the.start({
      remote: async (address) => {
        the.tried.push(address);
        if (address === '2:2377') throw error;
        return `done at ${address}`;
      },
    });
    await settle();
    the.consensus.setStatus(follower('3', 2));
    await end;
    t.is(result.value, 'done at 3:2377');
    t.deepEqual(the.tried, ['2:2377', '3:2377']);
  });
}

const FINAL: readonly ErrorCode[] = [
  'unknown-outcome',
  'out-of-sequence',
  'already-exists',
  'invalid-argument',
  'deadline-exceeded',
  'internal',
];
for (const code of FINAL) {
  test(`${code} is final: it is never sent again`, async (t) => {
    const the = await setUp(follower('2'));
    const { result, end } = the.start({
      remote: async (address) => {
        the.tried.push(address);
        throw new ShoalError(code, 'so it is');
      },
    });
    await end;
    t.is(result.code, code);
    t.deepEqual(the.tried, ['2:2377']);
  });
}

test('what fails here as unavailable is not repeated: it may have been part of the work', async (t) => {
  const the = await setUp({});
  let times = 0;
  const { result, end } = the.start({
    local: async () => {
      times += 1;
      throw new ShoalError('unavailable', 'a volume driver does not answer');
    },
  });
  await end;
  t.is(result.code, 'unavailable');
  t.is(times, 1);
});

test('a leader that dies with the request: the outcome is unknown, soon, and nothing is repeated', async (t) => {
  const the = await setUp(follower('2'));
  const { result } = the.start({
    remote: (address, signal) => {
      the.tried.push(address);
      return new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(new ShoalError('cancelled', 'cut')));
      });
    },
  });
  await the.clock.advance(5_000);
  t.deepEqual(result, {}, 'while it leads it has time');
  the.consensus.setStatus(follower(undefined, 2));
  await the.clock.advance(400);
  t.deepEqual(result, {}, 'its answer may be on the way');
  the.consensus.setStatus(follower('3', 2));
  await the.clock.advance(200);
  t.is(result.code, 'unknown-outcome');
  t.deepEqual(the.tried, ['2:2377']);
  t.is(the.clock.timers, 0, 'no timer is left');
});

test('routeTo() knows no way to a leader without an address', (t) => {
  const status = { isLeader: false, raftId: '1', leaderRaftId: '2', term: 1 };
  t.is(routeTo({ ...status, members: [] } as never).kind, 'unknown');
  t.is(routeTo({ ...status, members: [member('2', '')] } as never).kind, 'unknown');
});
