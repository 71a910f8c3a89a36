import test from 'ava';
import { DrainRelease } from '../../../manager/dispatcher/drain-release.ts';
import { DRAIN_WAIT_MS } from '../../../manager/dispatcher/drains.ts';
import { NodeState, Task, TaskState } from '../../../shared/gen/shoal/v1/objects.ts';
import type { AwaitAppliedRequest } from '../../../shared/gen/shoal/v1/peer.ts';
import { silentLog } from '../../../shared/log.ts';
import { ManualClock, settle } from '../../support/manual-clock.ts';
import { nodeFixture, serviceFixture } from '../../support/objects.ts';
import { storeFixture } from '../../support/store.ts';

const task = (id: string, desiredState: TaskState, state: TaskState, healthy = true) =>
  Task.fromPartial({
    id,
    serviceId: 's',
    nodeId: 'n',
    desiredState,
    status: { state, healthy },
    networks: [{ networkId: 'a', addresses: ['10.0.1.2/24'] }],
  });

/** A manager that starts with these tasks in its store; its leader answers when it is told to. */
async function restarted() {
  const { store } = await storeFixture({
    node: [nodeFixture({ id: 'n', status: { state: NodeState.READY } })],
    service: [serviceFixture({ id: 's' })],
    task: [
      task('stops', TaskState.SHUTDOWN, TaskState.RUNNING),
      task('runs', TaskState.RUNNING, TaskState.RUNNING),
      task('stopped', TaskState.SHUTDOWN, TaskState.SHUTDOWN, false),
      task('sick', TaskState.SHUTDOWN, TaskState.RUNNING, false),
    ],
  });
  const clock = new ManualClock();
  const asked: AwaitAppliedRequest[] = [];
  const released: string[] = [];
  const leader = Promise.withResolvers<{ behind: string[] }>();
  const release = new DrainRelease({
    hasSession: () => false, // no agent is back yet
    released: (_nodeId, taskId) => released.push(taskId),
    awaitApplied: async (request) => {
      asked.push(request);
      return await leader.promise;
    },
    clock,
    log: silentLog,
  });
  release.resume(store);
  const stop = new AbortController();
  const running = release.run(stop.signal);
  await settle();
  await clock.advance(10);
  await settle();
  const end = async () => {
    stop.abort();
    leader.resolve({ behind: [] });
    await running;
  };
  return { store, clock, asked, released, leader, release, end };
}

test('a manager that restarts goes on with the drains it was in the midst of', async (t) => {
  const { store, asked, released, leader, release, end } = await restarted();
  t.true(release.isDraining('stops'));
  for (const other of ['runs', 'stopped', 'sick']) t.false(release.isDraining(other), other);
  t.is(asked.length, 1);
  t.deepEqual(asked[0]?.networkIds, ['a']);
  t.is(asked[0]?.revision, store.get('task', 'stops')?.meta?.version);
  t.deepEqual(released, []);
  leader.resolve({ behind: [] });
  await settle();
  t.deepEqual(released, ['stops']);
  t.false(release.isDraining('stops'));
  await end();
});

test('a drain of before does not last longer than a new one, whatever the leader says', async (t) => {
  const { clock, released, leader, end } = await restarted();
  await clock.advance(DRAIN_WAIT_MS);
  leader.reject(new Error('no leader'));
  await settle();
  await clock.advance(1_000);
  await settle();
  t.deepEqual(released, ['stops']);
  await end();
});
