import test from 'ava';
import { announceAddresses } from '../../../manager/members/announce.ts';
import type { ConsensusStatus } from '../../../manager/raft/consensus.ts';
import { ShoalError } from '../../../shared/errors.ts';
import type { JoinRaftRequest } from '../../../shared/gen/shoal/v1/peer.ts';
import { systemClock } from '../../../shared/io/system.ts';
import { silentLog } from '../../../shared/log.ts';

const member = (name: string, host: string) => ({
  member: {
    raftId: `raft-${name}`,
    nodeId: name,
    address: `${host}:2377`,
    raftAddress: `${host}:7946`,
  },
  learner: false,
  active: true,
  matchIndex: 0,
});

function setUp(isLeader: boolean, ownHost: string) {
  const told: string[] = [];
  let members = [member('m1', 'one'), member('m2', ownHost)];
  const status = (): ConsensusStatus => ({
    raftId: 'raft-m2',
    term: 1,
    isLeader,
    leaderRaftId: 'raft-m1',
    members,
    appliedIndex: 1,
    commitIndex: 1,
    leaderHeardAtMs: 0,
  });
  const take = (target: string) => async (request: JoinRaftRequest) => {
    told.push(`${target} ${request.raftId} ${request.address} ${request.raftAddress}`);
    if (target === 'one:2377') throw new ShoalError('unavailable', 'down');
    members = [member('m1', 'one'), member('m2', 'new')];
  };
  const deps = {
    consensus: { status },
    nodeId: 'm2',
    address: 'new:2377',
    raftAddress: 'new:7946',
    remotes: ['three:2377'],
    joinHere: take('here'),
    joinAt: (target: string, request: JoinRaftRequest) => take(target)(request),
    clock: {
      ...systemClock,
      after: (_delayMs: number, fn: () => void) => systemClock.after(0, fn),
    },
    log: silentLog,
  };
  return { deps, told };
}

test('a member under its old address has nothing to tell', async (t) => {
  const { deps, told } = setUp(false, 'new');
  await announceAddresses(deps, new AbortController().signal);
  t.deepEqual(told, []);
});

test('a member that moved tells managers until one takes it', async (t) => {
  const { deps, told } = setUp(false, 'old');
  await announceAddresses(deps, new AbortController().signal);
  t.deepEqual(told, ['one:2377 raft-m2 new:2377 new:7946', 'three:2377 raft-m2 new:2377 new:7946']);
});

test('a leader that moved tells itself', async (t) => {
  const { deps, told } = setUp(true, 'old');
  await announceAddresses(deps, new AbortController().signal);
  t.deepEqual(told, ['here raft-m2 new:2377 new:7946']);
});
