import test from 'ava';
import { drainedNetworks } from '../../../manager/dispatcher/drains.ts';
import { NodeState, Task, TaskState } from '../../../shared/gen/shoal/v1/objects.ts';
import { nodeFixture, serviceFixture } from '../../support/objects.ts';
import { storeFixture } from '../../support/store.ts';

const BACK_END = Task.fromPartial({
  id: 't',
  serviceId: 's',
  nodeId: 'n',
  desiredState: TaskState.RUNNING,
  status: { state: TaskState.RUNNING, healthy: true },
  networks: [
    { networkId: 'a', addresses: ['10.0.1.2/24'] },
    { networkId: 'ingress', addresses: ['10.0.0.2/24'] },
  ],
});
const STOP = { desiredState: TaskState.SHUTDOWN };
const status = (state: TaskState, healthy: boolean) =>
  Task.fromPartial({ status: { state, healthy } }).status;

const CASES: readonly Readonly<{
  what: string;
  before?: Partial<Task>;
  after?: Partial<Task>;
  node?: NodeState;
  service?: string;
  drains: boolean;
}>[] = [
  { what: 'a ready back-end that shall stop', drains: true },
  {
    what: 'a ready back-end that shall be removed',
    after: { desiredState: TaskState.REMOVE },
    drains: true,
  },
  {
    what: 'a task that is wanted still',
    after: { desiredState: TaskState.RUNNING },
    drains: false,
  },
  { what: 'a task that was to stop before', before: STOP, drains: false },
  {
    what: 'a task without networks',
    before: { networks: [] },
    after: { networks: [] },
    drains: false,
  },
  {
    what: 'a task that never got healthy',
    before: { status: status(TaskState.RUNNING, false) },
    drains: false,
  },
  {
    what: 'a task that is starting',
    before: { status: status(TaskState.STARTING, false) },
    drains: false,
  },
  {
    what: 'a task that ended in the same commit',
    after: { status: status(TaskState.FAILED, false) },
    drains: false,
  },
  { what: 'a task of a node that is down', node: NodeState.DOWN, drains: false },
  { what: 'a task of a service that was removed', service: 'other', drains: false },
];

for (const { what, before, after, node, service, drains } of CASES) {
  test(`${what} ${drains ? 'waits for its hosts' : 'stops at once'}`, async (t) => {
    const { store } = await storeFixture({
      node: [nodeFixture({ id: 'n', status: { state: node ?? NodeState.READY } })],
      service: [serviceFixture({ id: service ?? 's' })],
    });
    const was = { ...BACK_END, ...before };
    const is = { ...was, ...STOP, ...after };
    t.deepEqual(drainedNetworks(was, is, store), drains ? ['a', 'ingress'] : []);
  });
}
