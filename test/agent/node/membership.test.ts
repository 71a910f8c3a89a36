import test from 'ava';
import { NodeMembership } from '../../../agent/node/membership.ts';
import type { ClusterSide, MembershipDeps } from '../../../agent/node/membership-ports.ts';
import type { NodeRecord } from '../../../agent/node/record.ts';
import { isShoalError } from '../../../shared/errors.ts';
import { silentLog } from '../../../shared/log.ts';
import { DEFAULT_CLUSTER_SPEC } from '../../../shared/model/cluster-spec.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const RECORD: NodeRecord = {
  nodeId: 'n'.repeat(25),
  clusterId: 'c'.repeat(25),
  role: 'manager',
  listenAddress: '0.0.0.0:2377',
  advertiseAddress: '10.0.0.1:2377',
  dataPathAddress: '10.0.0.1',
  dataPathPort: 4789,
  managers: [],
};

/** A node whose TLS key is locked; whatever it does to the disk or starts is in `done`. */
function lockedNode() {
  const { node, done } = newNode();
  node.lock(RECORD);
  return { node, done };
}

/** A node that is in no cluster; `side` is what it starts when it enters one. */
function newNode(side: Partial<ClusterSide> = {}) {
  const clock = new ManualClock();
  const done: string[] = [];
  const does =
    <T>(what: string, result?: T) =>
    async () => {
      done.push(what);
      return result as T;
    };
  const deps = {
    store: {
      load: async () => undefined,
      saveRecord: does('save record'),
      saveIdentity: does('save identity'),
      unlock: does('unlock'),
      clear: does('clear'),
    },
    clock,
    log: silentLog,
    hostname: 'h1',
    advertiseAddress: '10.0.0.1',
    interfaces: () => [],
    describe: () => ({}),
    found: () => {
      done.push('found');
      throw new Error('founds a cluster');
    },
    refound: () => {
      throw new Error('founds a cluster');
    },
    enroll: does('enroll', { managers: [] }),
    endManager: does('end manager'),
    endTasks: does('end tasks'),
    startSide: does('start', { tearDown: does('tear down'), ...side }),
  } as unknown as MembershipDeps;
  return { node: new NodeMembership(deps), done, clock };
}

const INIT = {
  listenAddress: '',
  advertiseAddress: '',
  dataPathAddress: '',
  dataPathPort: 0,
  defaultAddressPools: [],
  subnetSize: 0,
  availability: 0,
  autoLock: false,
  forceNewCluster: false,
  spec: DEFAULT_CLUSTER_SPEC,
} as unknown as Parameters<NodeMembership['init']>[0];
const JOIN = {
  ...INIT,
  remoteAddresses: ['10.0.0.2:2377'],
  joinToken: 'token',
} as unknown as Parameters<NodeMembership['join']>[0];
const RESTORE = { ...INIT, messages: [] } as unknown as Parameters<NodeMembership['restore']>[0];
const signal = new AbortController().signal;

test('nothing founds or joins another cluster over a membership that is locked', async (t) => {
  const { node, done } = lockedNode();
  for (const [words, attempt] of [
    [/already part of a swarm/, () => node.init(INIT, signal)],
    [/needs to be unlocked/, () => node.init({ ...INIT, forceNewCluster: true }, signal)],
    [/already part of a swarm/, () => node.join(JOIN, signal)],
    [/already part of a swarm/, () => node.restore(RESTORE, signal)],
    [/needs to be unlocked/, () => node.leave(false, signal)],
  ] as const) {
    const error = await t.throwsAsync<Error>(attempt);
    t.true(isShoalError(error, 'unavailable'));
    t.regex(error?.message ?? '', words);
  }
  t.deepEqual(done, []);
  t.is(node.standing().localState, 'locked');
});

for (const [message, fields] of [
  ['heartbeat time period', { spec: { ...DEFAULT_CLUSTER_SPEC, dispatcherHeartbeatNs: 5e7 } }],
  ['a mask length of 30 does not fit', { defaultAddressPools: ['10.0.0.0/8'], subnetSize: 30 }],
  ['Datapath port number', { dataPathPort: 80 }],
] as const) {
  test(`a cluster that cannot begin is refused before anything is made: ${message}`, async (t) => {
    const { node, done } = newNode();
    const error = await t.throwsAsync<Error>(() => node.init({ ...INIT, ...fields }, signal));
    t.true(isShoalError(error, 'invalid-argument'));
    t.regex(error?.message ?? '', new RegExp(message));
    t.deepEqual(done, []);
  });
}

test('a locked node that is made to leave ends its containers, then forgets the cluster', async (t) => {
  const { node, done } = lockedNode();
  await node.leave(true, signal);
  t.deepEqual(done, ['end tasks', 'clear']);
  t.is(node.standing().localState, 'inactive');
});

test('a cluster that does not come up on this host in time says where to look, and is undone', async (t) => {
  const { node, done, clock } = newNode({
    ready: (by: AbortSignal) =>
      new Promise((_, reject) => by.addEventListener('abort', () => reject(by.reason))),
  });
  const join = node.join(JOIN, signal);
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  await clock.advance(30_000);
  await t.throwsAsync(join, { message: /was not up within 30 s: the log of shoald says why/ });
  t.deepEqual(done.slice(-2), ['tear down', 'clear']);
});
