import test from 'ava';
import { Dispatcher, LEADER_LEASE_MS } from '../../../manager/dispatcher/dispatcher.ts';
import { createAction, removeAction, updateAction } from '../../../manager/store/tables.ts';
import type { ReadView } from '../../../manager/store/types.ts';
import { isShoalError, messageOf, NotLeaderError, ShoalError } from '../../../shared/errors.ts';
import { type AgentMessage, ManagerMessage } from '../../../shared/gen/shoal/v1/dispatcher.ts';
import {
  NodeAvailability,
  NodeDescription,
  NodeState,
  type Task,
  TaskState,
  TaskStatus,
} from '../../../shared/gen/shoal/v1/objects.ts';
import type {
  AwaitAppliedRequest,
  AwaitAppliedResponse,
  LivenessDigest,
} from '../../../shared/gen/shoal/v1/peer.ts';
import type { TaskStatusChange } from '../../../shared/gen/shoal/v1/store.ts';
import { silentLog } from '../../../shared/log.ts';
import { settle } from '../../support/manual-clock.ts';
import { clusterFixture, nodeFixture, serviceFixture, taskFixture } from '../../support/objects.ts';
import { storeFixture } from '../../support/store.ts';

type Said = NonNullable<AgentMessage['message']>;
type Heard = NonNullable<ManagerMessage['message']>;

/** An agent's end of a stream: takes what comes, unless told not to read. */
class FakeAgent {
  readonly heard: Heard[] = [];
  end: 'open' | 'ended' | ShoalError = 'open';
  isReading = true;
  readonly #said: Said[] = [];
  #wake: () => void = () => undefined;
  #read: () => void = () => undefined;
  #isGone = false;

  constructor(dispatcher: Dispatcher, nodeId: string, signal = new AbortController().signal) {
    void this.#run(dispatcher.session(nodeId, this.#requests(), signal));
  }

  say(message: Said): void {
    this.#said.push(message);
    this.#wake();
  }

  hello(fields: Partial<NodeDescription> = {}): void {
    const description = NodeDescription.fromPartial({ hostname: 'h', ...fields });
    this.say({ $case: 'hello', value: { description, address: '10.0.0.1' } });
  }

  beat(appliedRevision = 0): void {
    this.say({ $case: 'heartbeat', value: { appliedRevision } });
  }

  report(sequence: number, changes: TaskStatusChange[]): void {
    this.say({ $case: 'report', value: { sequence, changes } });
  }

  hangUp(): void {
    this.#isGone = true;
    this.#wake();
  }

  readOn(): void {
    this.isReading = true;
    this.#read();
  }

  /** What came since the last call, as words. */
  take(): string[] {
    return this.heard.splice(0).map((message) => {
      if (message.$case === 'ack') return `ack ${message.value.sequence}`;
      if (message.$case !== 'assignments') return message.$case;
      const keys = message.value.changes.map(({ key, item }) => (item ? key : `-${key}`));
      return [message.value.complete ? 'complete' : 'changes', ...keys.sort()].join(' ');
    });
  }

  async *#requests(): AsyncGenerator<AgentMessage> {
    while (!this.#isGone) {
      const message = this.#said.shift();
      if (message !== undefined) yield { message };
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  async #run(messages: AsyncIterable<Uint8Array>): Promise<void> {
    try {
      for await (const bytes of messages) {
        const { message } = ManagerMessage.decode(bytes);
        if (message !== undefined) this.heard.push(message);
        while (!this.isReading) {
          await new Promise<void>((resolve) => {
            this.#read = resolve;
          });
        }
      }
      this.end = 'ended';
    } catch (error) {
      this.end = error instanceof ShoalError ? error : new ShoalError('internal', messageOf(error));
    }
  }
}

async function setUp(tasks: readonly Task[] = []) {
  const fixture = await storeFixture({
    cluster: [clusterFixture()],
    node: [nodeFixture({ id: 'n1' }), nodeFixture({ id: 'n2' })],
    service: [serviceFixture({ id: 's1' })],
    task: tasks,
  });
  const digests: LivenessDigest[] = [];
  const batches: TaskStatusChange[][] = [];
  const asked: {
    request: AwaitAppliedRequest;
    answer: PromiseWithResolvers<AwaitAppliedResponse>;
  }[] = [];
  const leader = {
    digestError: undefined as Error | undefined,
    statusError: undefined as Error | undefined,
  };
  const dispatcher = new Dispatcher({
    ...fixture,
    nodeId: 'm1',
    leader: {
      reportTaskStatuses: async ({ changes }) => {
        if (leader.statusError !== undefined) throw leader.statusError;
        batches.push(changes);
      },
      reportLiveness: async (digest) => {
        if (leader.digestError !== undefined) throw leader.digestError;
        digests.push(digest);
      },
      reportSamples: async () => undefined,
      awaitApplied: (request, signal) => {
        const answer = Promise.withResolvers<AwaitAppliedResponse>();
        signal.addEventListener('abort', () => answer.reject(signal.reason), { once: true });
        asked.push({ request, answer });
        return answer.promise;
      },
    },
    log: silentLog,
  });
  const stop = new AbortController();
  const running = dispatcher.run(stop.signal);
  const connect = async (nodeId = 'n1') => {
    const agent = new FakeAgent(dispatcher, nodeId);
    agent.hello();
    await settle();
    return agent;
  };
  const takeBatches = () =>
    batches
      .splice(0)
      .map((changes) => changes.map(({ taskId, status }) => `${taskId} ${status?.state}`));
  return { ...fixture, dispatcher, digests, asked, takeBatches, leader, stop, running, connect };
}

const assigned = (id: string, nodeId = 'n1') =>
  taskFixture({ id, nodeId, status: { state: TaskState.ASSIGNED } });
const statusOf = (taskId: string, state: TaskState): TaskStatusChange => ({
  taskId,
  status: TaskStatus.fromPartial({ state }),
});

test('a session begins with a welcome and the whole set, later come changes, gathered', async (t) => {
  const { connect, writer, clock } = await setUp([assigned('t1')]);
  const agent = await connect();
  t.deepEqual(agent.take(), ['welcome', 'complete task/t1']);
  await writer.write([createAction('task', assigned('t2'))]);
  await clock.advance(5);
  await writer.write([createAction('task', assigned('t3')), removeAction('task', 't1')]);
  await clock.advance(9);
  t.deepEqual(agent.take(), [], 'more may come');
  await clock.advance(5);
  t.deepEqual(agent.take(), ['changes -task/t1 task/t2 task/t3']);
});

test('changes that never pause go out all the same', async (t) => {
  const { connect, writer, clock } = await setUp();
  const agent = await connect();
  agent.take();
  for (let i = 0; i < 15; i++) {
    await writer.write([createAction('task', assigned(`t${i}`))]);
    await clock.advance(8);
  }
  t.is(agent.take().length, 1, '100 ms after the first');
});

test('no set is sent before the replica is as new as the leader', async (t) => {
  const { connect, consensus, clock, writer } = await setUp();
  const barrier = consensus.readBarrier.bind(consensus);
  consensus.readBarrier = async () => {
    throw new ShoalError('unavailable', 'no leader');
  };
  const agent = await connect();
  await clock.advance(1_000);
  t.deepEqual(agent.take(), ['welcome']);
  await writer.write([createAction('task', assigned('t1'))]);
  consensus.readBarrier = barrier;
  await clock.advance(300);
  t.deepEqual(agent.take(), ['complete task/t1']);
});

test('an agent that does not read gets one merged change when it reads again', async (t) => {
  const { connect, writer, clock } = await setUp();
  const agent = await connect();
  agent.take();
  agent.isReading = false;
  for (let i = 0; i < 20; i++) {
    await writer.write([createAction('task', assigned(`t${i}`))]);
    if (i > 1) await writer.write([removeAction('task', `t${i}`)]);
    agent.beat();
    await clock.advance(200);
  }
  agent.take();
  agent.readOn();
  await clock.advance(50);
  const came = agent.take();
  t.true(came.length <= 2, `one acknowledgement and one change: ${came.join('; ')}`);
  t.regex(came.join(), /task\/t1\b/);
});

test('each heartbeat is answered', async (t) => {
  const { connect } = await setUp();
  const agent = await connect();
  agent.take();
  agent.beat();
  await settle();
  agent.beat();
  await settle();
  t.deepEqual(agent.take(), ['ack 0', 'ack 0']);
});

test('reports are acknowledged when they are committed, and not before', async (t) => {
  const the = await setUp([assigned('t1'), assigned('t2', 'n2')]);
  const agent = await the.connect();
  agent.take();
  the.leader.statusError = new NotLeaderError(undefined);
  agent.report(1, [statusOf('t1', TaskState.RUNNING)]);
  await the.clock.advance(1_000);
  t.deepEqual(agent.take(), []);
  agent.report(2, [statusOf('t1', TaskState.FAILED)]);
  the.leader.statusError = undefined;
  await the.clock.advance(3_000);
  t.deepEqual(the.takeBatches(), [[`t1 ${TaskState.FAILED}`]], 'the last one counts');
  t.deepEqual(agent.take(), ['ack 2']);
});

test('a node speaks for its own tasks only, and reports of several nodes go together', async (t) => {
  const the = await setUp([assigned('t1'), assigned('t2', 'n2')]);
  const [one, two] = [await the.connect('n1'), await the.connect('n2')];
  one.report(1, [statusOf('t1', TaskState.RUNNING), statusOf('t2', TaskState.FAILED)]);
  two.report(7, [statusOf('t2', TaskState.RUNNING), statusOf('unknown', TaskState.FAILED)]);
  await the.clock.advance(100);
  t.deepEqual(the.takeBatches(), [[`t1 ${TaskState.RUNNING}`, `t2 ${TaskState.RUNNING}`]]);
  t.deepEqual([one.take().at(-1), two.take().at(-1)], ['ack 1', 'ack 7']);
});

test('a status of a task that this replica does not know yet is not lost', async (t) => {
  const the = await setUp();
  const agent = await the.connect();
  the.consensus.readBarrier = async () => {
    await the.writer.write([createAction('task', assigned('new'))]);
    return 1;
  };
  agent.report(1, [statusOf('new', TaskState.RUNNING)]);
  await the.clock.advance(100);
  t.deepEqual(the.takeBatches(), [[`new ${TaskState.RUNNING}`]]);
});

test('a new session of a node ends the old one', async (t) => {
  const { connect, dispatcher, writer, clock } = await setUp();
  const [old, fresh] = [await connect(), await connect()];
  t.true(isShoalError(old.end, 'cancelled'));
  t.is(fresh.end, 'open');
  t.deepEqual(dispatcher.nodes(), ['n1']);
  fresh.take();
  await writer.write([createAction('task', assigned('t1'))]);
  await clock.advance(50);
  t.deepEqual(fresh.take(), ['changes task/t1']);
});

test('a manager that has lost its leader closes its sessions and takes no new ones', async (t) => {
  const { connect, consensus, clock, dispatcher } = await setUp();
  const agent = await connect();
  await clock.advance(1_000);
  consensus.setStatus({ isLeader: false, leaderRaftId: undefined });
  await clock.advance(LEADER_LEASE_MS - 600);
  t.is(agent.end, 'open');
  await clock.advance(1_200);
  t.true(isShoalError(agent.end, 'unavailable'));
  t.deepEqual(dispatcher.nodes(), []);
  const refused = await connect();
  t.true(isShoalError(refused.end, 'unavailable'));
  consensus.setStatus({ leaderRaftId: '2', leaderHeardAtMs: clock.monotonicMs() });
  t.is((await connect()).end, 'open');
});

test('a follower that hears its leader keeps its sessions', async (t) => {
  const { connect, consensus, clock } = await setUp();
  const agent = await connect();
  for (let second = 0; second < 10; second++) {
    consensus.setStatus({
      isLeader: false,
      leaderRaftId: '2',
      leaderHeardAtMs: clock.monotonicMs(),
    });
    agent.beat();
    await clock.advance(1_000);
  }
  t.is(agent.end, 'open');
});

test('a node that is removed is told so', async (t) => {
  const { connect, writer } = await setUp();
  const agent = await connect();
  await writer.write([removeAction('node', 'n1')]);
  await settle();
  t.true(isShoalError(agent.end, 'permission-denied'));
  const again = await connect();
  t.true(isShoalError(again.end, 'permission-denied'));
});

test('an agent learns what the operator wants of its node, and not what it said itself', async (t) => {
  const { connect, store, writer } = await setUp();
  const agent = await connect();
  agent.take();
  const node = store.get('node', 'n1');
  if (node?.spec === undefined || node.status === undefined) throw new Error('no node');
  await writer.write([updateAction('node', { ...node, status: { ...node.status, message: 'x' } })]);
  await settle();
  t.deepEqual(agent.take(), []);
  const now = store.get('node', 'n1') ?? node;
  const spec = { ...node.spec, availability: NodeAvailability.DRAIN };
  await writer.write([updateAction('node', { ...now, spec })]);
  await settle();
  const [update] = agent.heard;
  t.is(update?.$case === 'update' && update.value.node?.spec?.availability, NodeAvailability.DRAIN);
  t.is(update?.$case === 'update' && update.value.node?.description, undefined);
});

test('a stream that does not begin with a hello, or never says it, is closed', async (t) => {
  const { dispatcher, clock } = await setUp();
  const rude = new FakeAgent(dispatcher, 'n1');
  rude.beat();
  const silent = new FakeAgent(dispatcher, 'n2');
  await clock.advance(4_900);
  t.true(isShoalError(rude.end, 'failed-precondition'));
  t.is(silent.end, 'open');
  await clock.advance(200);
  t.true(isShoalError(silent.end, 'deadline-exceeded'));
});

test('a session without heartbeats is closed some time after its node is down', async (t) => {
  const { connect, clock } = await setUp();
  const agent = await connect();
  await clock.advance(8_000);
  t.is(agent.end, 'open');
  await clock.advance(2_000);
  t.true(isShoalError(agent.end, 'deadline-exceeded'));
});

test('the leader is told who lives, twice a second, and of news at once', async (t) => {
  const { connect, clock, digests, writer, store } = await setUp();
  await clock.advance(490);
  digests.length = 0;
  const agent = await connect();
  await clock.advance(25);
  t.is(digests.length, 1);
  t.like(digests[0]?.sessions[0], {
    nodeId: 'n1',
    address: '10.0.0.1',
    description: { hostname: 'h' },
  });
  await clock.advance(1_000);
  t.is(digests.length, 3, 'twice a second');
  t.is(digests[2]?.sessions[0]?.description, undefined, 'it has that already');
  t.true((digests[2]?.sessions[0]?.silentMs ?? 0) >= 500);
  agent.beat();
  agent.say({ $case: 'goodbye', value: { reason: 'off' } });
  await clock.advance(25);
  t.deepEqual(digests.at(-1), { managerId: 'm1', sessions: [], departed: ['n1'] });
  t.is(agent.end, 'open', 'the cluster does not know yet');
  await clock.advance(600);
  t.deepEqual(digests.at(-1), { managerId: 'm1', sessions: [], departed: [] });
  const node = store.get('node', 'n1');
  if (node === undefined) throw new Error('no node n1');
  const status = { state: NodeState.DOWN, message: 'the node said goodbye', address: '' };
  await writer.write([updateAction('node', { ...node, status })]);
  await clock.advance(1);
  t.is(agent.end, 'ended');
});

test('a new leader is told every description, and a goodbye until it has been heard', async (t) => {
  const { connect, clock, digests, leader, consensus } = await setUp();
  await connect('n2');
  const agent = await connect('n1');
  await clock.advance(600);
  leader.digestError = new NotLeaderError(undefined);
  agent.say({ $case: 'goodbye', value: { reason: 'off' } });
  await clock.advance(1_000);
  t.is(agent.end, 'ended', 'an agent that leaves does not wait for a leader for ever');
  digests.length = 0;
  leader.digestError = undefined;
  consensus.setStatus({
    term: 2,
    isLeader: false,
    leaderRaftId: '2',
    leaderHeardAtMs: clock.monotonicMs(),
  });
  await clock.advance(600);
  t.deepEqual(digests[0]?.departed, ['n1']);
  t.is(digests[0]?.sessions[0]?.description?.hostname, 'h');
});

test('a node that has all that concerns it counts as up to date with everything else', async (t) => {
  const { connect, clock, digests, writer, store } = await setUp([assigned('t1')]);
  const agent = await connect();
  const first = agent.heard.find(({ $case }) => $case === 'assignments');
  const revision = first?.$case === 'assignments' ? first.value.revision : 0;
  await writer.write([createAction('task', assigned('far', 'n2'))]);
  await clock.advance(600);
  t.is(digests.at(-1)?.sessions[0]?.appliedRevision, 0, 'it has applied nothing yet');
  agent.beat(revision);
  await clock.advance(600);
  t.is(digests.at(-1)?.sessions[0]?.appliedRevision, store.index);
});

test('the end of the manager ends its sessions', async (t) => {
  const { connect, stop, running } = await setUp();
  const agent = await connect();
  stop.abort();
  await running;
  await settle();
  t.true(isShoalError(agent.end, 'unavailable'));
});

const backEnd = (id: string, nodeId: string) =>
  taskFixture({
    id,
    nodeId,
    serviceId: 's1',
    desiredState: TaskState.RUNNING,
    status: { state: TaskState.RUNNING, healthy: true },
    networks: [{ networkId: 'net', addresses: ['10.0.1.5/24'] }],
  });

/** The task as the store has it, told to stop. */
function stopping(view: ReadView, id: string, desiredState: TaskState = TaskState.SHUTDOWN) {
  const task = view.get('task', id);
  if (task === undefined) throw new Error(`no task ${id}`);
  return updateAction('task', { ...task, desiredState });
}

/** What the agent was told of the task in the last message that named it. */
function lastOf(agent: FakeAgent, taskId: string): string | undefined {
  for (const message of agent.heard.toReversed()) {
    if (message.$case !== 'assignments') continue;
    const item = message.value.changes.find(({ key }) => key === `task/${taskId}`)?.item;
    if (item?.item?.$case !== 'task') continue;
    return `${item.item.value.desiredState} ${item.draining === true ? 'draining' : 'free'}`;
  }
  return undefined;
}

test('a back-end that shall stop is draining until the leader says that all hosts know', async (t) => {
  const { connect, writer, clock, asked, store } = await setUp([backEnd('t1', 'n1')]);
  const agent = await connect();
  t.is(lastOf(agent, 't1'), `${TaskState.RUNNING} free`);
  const index = await writer.write([stopping(store, 't1')]);
  await clock.advance(20);
  t.is(lastOf(agent, 't1'), `${TaskState.SHUTDOWN} draining`);
  t.deepEqual(
    asked.map(({ request }) => [request.revision, request.networkIds]),
    [[index, ['net']]],
  );
  await clock.advance(500);
  t.is(lastOf(agent, 't1'), `${TaskState.SHUTDOWN} draining`);
  asked[0]?.answer.resolve({ behind: [] });
  await clock.advance(20);
  t.is(lastOf(agent, 't1'), `${TaskState.SHUTDOWN} free`);
  t.is(asked.length, 1);
});

test('a drain ends after two seconds when the leader does not answer', async (t) => {
  const { connect, writer, clock, asked, store } = await setUp([backEnd('t1', 'n1')]);
  const agent = await connect();
  await writer.write([stopping(store, 't1', TaskState.REMOVE)]);
  await clock.advance(20);
  asked[0]?.answer.reject(new NotLeaderError(undefined));
  await clock.advance(1_900);
  t.is(asked.length, 2, 'a leader that is not one is asked again');
  t.is(lastOf(agent, 't1'), `${TaskState.REMOVE} draining`);
  await clock.advance(150);
  t.is(lastOf(agent, 't1'), `${TaskState.REMOVE} free`);
  t.is(asked.length, 2);
});

test('tasks that stop together are asked about once, and other managers’ tasks not at all', async (t) => {
  const tasks = [backEnd('t1', 'n1'), backEnd('t2', 'n1'), backEnd('t3', 'n2')];
  const { connect, writer, clock, asked, store } = await setUp(tasks);
  const agent = await connect('n1');
  for (const id of ['t1', 't2']) await writer.write([stopping(store, id)]);
  await clock.advance(20);
  await writer.write([stopping(store, 't3')]);
  await clock.advance(20);
  t.is(asked.length, 1);
  // The node of the third one changes sides: here it still has to wait.
  const other = await connect('n2');
  await clock.advance(20);
  t.is(lastOf(other, 't3'), `${TaskState.SHUTDOWN} draining`);
  await clock.advance(2_000);
  t.is(lastOf(other, 't3'), `${TaskState.SHUTDOWN} free`);
  t.is(lastOf(agent, 't2'), `${TaskState.SHUTDOWN} free`);
});

test('while tasks drain, what a node has applied is told at once, of that node only', async (t) => {
  const { connect, writer, clock, digests, store } = await setUp([backEnd('t1', 'n1')]);
  const agent = await connect('n1');
  await connect('n2');
  await clock.advance(600);
  agent.beat(1);
  await clock.advance(50);
  const before = digests.length;
  agent.beat(2);
  await clock.advance(50);
  t.is(digests.length, before, 'nobody waits for it');
  const index = await writer.write([stopping(store, 't1')]);
  agent.beat(index);
  await clock.advance(30);
  t.is(digests.length, before + 1);
  t.deepEqual(
    digests.at(-1)?.sessions.map(({ nodeId, appliedRevision }) => [nodeId, appliedRevision]),
    [['n1', index]],
  );
});
