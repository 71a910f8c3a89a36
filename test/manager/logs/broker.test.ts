import test from 'ava';
import { LogBroker } from '../../../manager/logs/broker.ts';
import { NODE_PATIENCE_MS } from '../../../manager/logs/subscription.ts';
import { createAction, updateAction } from '../../../manager/store/tables.ts';
import { isShoalError, ShoalError } from '../../../shared/errors.ts';
import type { LogSubscriptionChange } from '../../../shared/gen/shoal/v1/dispatcher.ts';
import { LogMessage, LogPublication, LogSubscription } from '../../../shared/gen/shoal/v1/logs.ts';
import { type Task, TaskState } from '../../../shared/gen/shoal/v1/objects.ts';
import { silentLog } from '../../../shared/log.ts';
import { settle } from '../../support/manual-clock.ts';
import { nodeFixture, serviceFixture, taskFixture } from '../../support/objects.ts';
import { storeFixture } from '../../support/store.ts';

/** Sessions of one manager: who has one, and what was sent down. */
class Sessions {
  readonly open = new Set<string>();
  readonly sent: { nodeId: string; change: LogSubscriptionChange }[] = [];
  readonly #listeners: ((nodeId: string, isOpen: boolean) => void)[] = [];

  sendLogs(nodeId: string, change: LogSubscriptionChange): boolean {
    if (!this.open.has(nodeId)) return false;
    this.sent.push({ nodeId, change });
    return true;
  }

  onSession(listener: (nodeId: string, isOpen: boolean) => void) {
    this.#listeners.push(listener);
    return () => undefined;
  }

  change(nodeId: string, isOpen: boolean) {
    if (isOpen) this.open.add(nodeId);
    else this.open.delete(nodeId);
    for (const listener of this.#listeners) listener(nodeId, isOpen);
  }

  /** Words for what was sent, oldest first; forgets it. */
  take(): string[] {
    return this.sent.splice(0).map(({ nodeId, change }) => {
      const what = change.close ? 'close' : [...change.taskIds].sort().join('+');
      return `${nodeId} ${what} tail ${change.subscription?.options?.tail}`;
    });
  }

  get lastId(): string {
    return this.sent.at(-1)?.change.subscription?.id ?? '';
  }
}

function task(id: string, nodeId: string, state: TaskState = TaskState.RUNNING): Task {
  return taskFixture({ id, nodeId, serviceId: 'svc', status: { state } });
}

async function setUp(tasks: readonly Task[], sessions: readonly string[]) {
  const fixture = await storeFixture({
    node: [
      nodeFixture({ id: 'm1', managerStatus: { raftId: '1', address: 'm1:2377' } }),
      nodeFixture({ id: 'm2', managerStatus: { raftId: '2', address: 'm2:2377' } }),
    ],
    service: [serviceFixture({ id: 'svc', spec: { name: 'web' } })],
    task: tasks,
  });
  const links = new Sessions();
  for (const nodeId of sessions) links.open.add(nodeId);
  const asked: { address: string; subscription: LogSubscription }[] = [];
  const peer = {
    answer: async function* (): AsyncGenerator<LogMessage> {
      // nothing, unless a test says otherwise
    },
  };
  const broker = new LogBroker({
    ...fixture,
    nodeId: 'm1',
    sessions: links,
    peers: {
      logs: (address, subscription) => {
        asked.push({ address, subscription });
        return peer.answer();
      },
    },
    log: silentLog,
  });
  return { ...fixture, broker, sessions: links, asked, peer };
}

function request(options: Partial<NonNullable<LogSubscription['options']>> = {}) {
  return LogSubscription.fromPartial({
    selector: { serviceIds: ['web'] },
    options: { stdout: true, stderr: true, tail: -1, ...options },
  });
}

function line(taskId: string, text: string): LogMessage {
  return LogMessage.fromPartial({ taskId, stream: 1, at: 'now', data: Buffer.from(text) });
}

/** Reads in the background, so that tests see what has come so far. */
function reading(messages: AsyncIterable<LogMessage>) {
  const lines: string[] = [];
  const end = (async () => {
    for await (const { nodeId, taskId, data } of messages) {
      lines.push(`${nodeId}/${taskId}: ${Buffer.from(data)}`);
    }
  })();
  return { lines, end };
}

async function* publications(id: string, messages: LogMessage[], end?: Partial<LogPublication>) {
  yield LogPublication.fromPartial({ subscriptionId: id, messages });
  if (end !== undefined) yield LogPublication.fromPartial({ subscriptionId: id, ...end });
}

test('without follow it ends when every asked node has told what it has', async (t) => {
  const the = await setUp(
    [task('t1', 'n1'), task('t2', 'n1', TaskState.FAILED), task('t3', 'n2'), task('t4', 'far')],
    ['n1', 'n2'],
  );
  const { lines, end } = reading(the.broker.subscribe(request(), new AbortController().signal));
  await settle();
  const id = the.sessions.lastId;
  t.deepEqual(the.sessions.take().sort(), ['n1 t1+t2 tail -1', 'n2 t3 tail -1']);
  await the.broker.publish(
    'n1',
    publications(id, [line('t1', 'a'), line('t2', 'b')], { done: true }),
  );
  await the.broker.publish('n2', publications(id, [line('t3', 'c')], { done: true }));
  await end;
  t.deepEqual(lines, ['n1/t1: a', 'n1/t2: b', 'n2/t3: c']);
});

test('a node cannot speak for tasks of other nodes, or when it was not asked', async (t) => {
  const the = await setUp([task('t1', 'n1'), task('t3', 'n2')], ['n1', 'n2', 'n3']);
  const { lines, end } = reading(the.broker.subscribe(request(), new AbortController().signal));
  await settle();
  const id = the.sessions.lastId;
  await the.broker.publish(
    'n1',
    publications(id, [line('t3', 'forged'), line('t1', 'true')], { done: true }),
  );
  await the.broker.publish('n3', publications(id, [line('t1', 'forged')], { done: true }));
  await the.broker.publish('n2', publications('other', [line('t3', 'forged')], { done: true }));
  await the.broker.publish('n2', publications(id, [], { done: true }));
  await end;
  t.deepEqual(lines, ['n1/t1: true']);
});

test('nothing to ask: it ends at once', async (t) => {
  const the = await setUp([task('t1', 'n1')], []);
  const { lines, end } = reading(the.broker.subscribe(request(), new AbortController().signal));
  await end;
  t.deepEqual(lines, []);
});

test('a node whose session ends, or that never answers, is not waited for', async (t) => {
  const the = await setUp([task('t1', 'n1'), task('t2', 'n2')], ['n1', 'n2']);
  const { end } = reading(the.broker.subscribe(request(), new AbortController().signal));
  await settle();
  the.sessions.change('n1', false);
  let hasEnded = false;
  void end.then(() => {
    hasEnded = true;
  });
  await the.clock.advance(NODE_PATIENCE_MS - 1_500);
  t.false(hasEnded);
  await the.clock.advance(3_000);
  t.true(hasEnded);
});

test('a stream that breaks off counts as the end of its node', async (t) => {
  const the = await setUp([task('t1', 'n1')], ['n1']);
  const { lines, end } = reading(the.broker.subscribe(request(), new AbortController().signal));
  await settle();
  const id = the.sessions.lastId;
  const broken = async function* () {
    yield LogPublication.fromPartial({ subscriptionId: id, messages: [line('t1', 'a')] });
    throw new ShoalError('cancelled', 'gone');
  };
  await t.throwsAsync(() => the.broker.publish('n1', broken()));
  await end;
  t.deepEqual(lines, ['n1/t1: a']);
});

test('a slow reader makes the agents wait, and their patience does not run meanwhile', async (t) => {
  const the = await setUp([task('t1', 'n1')], ['n1']);
  const messages = the.broker.subscribe(request(), new AbortController().signal);
  const first = messages.next();
  await settle();
  const id = the.sessions.lastId;
  let given = 0;
  const endless = async function* () {
    for (; given < 5_000; given++) {
      yield LogPublication.fromPartial({ subscriptionId: id, messages: [line('t1', `${given}`)] });
    }
    yield LogPublication.fromPartial({ subscriptionId: id, done: true });
  };
  const publishing = the.broker.publish('n1', endless());
  await first;
  await settle();
  t.true(given < 1_000, `${given} messages were taken though nobody reads`);
  await the.clock.advance(10 * NODE_PATIENCE_MS);
  const { lines, end } = reading(messages);
  await Promise.all([end, publishing]);
  t.is(lines.length, 4_999);
  t.is(lines.at(-1), 'n1/t1: 4999');
});

test('while following, tasks that start later and nodes that come back are asked', async (t) => {
  const the = await setUp([task('t1', 'n1'), task('t2', 'n1', TaskState.ASSIGNED)], ['n1', 'n2']);
  const stop = new AbortController();
  const { lines, end } = reading(the.broker.subscribe(request({ follow: true }), stop.signal));
  await settle();
  const id = the.sessions.lastId;
  t.deepEqual(the.sessions.take(), ['n1 t1 tail -1']);
  await the.broker.publish('n1', publications(id, [line('t1', 'a')]));

  const stored = the.store.get('task', 't2');
  if (stored?.status === undefined) throw new Error('no task');
  const running = { ...stored, status: { ...stored.status, state: TaskState.RUNNING } };
  await the.writer.write([updateAction('task', running), createAction('task', task('t3', 'n2'))]);
  t.deepEqual(the.sessions.take(), ['n1 t1+t2 tail -1', 'n2 t3 tail -1']);

  the.sessions.change('n2', false);
  the.sessions.change('n2', true);
  t.deepEqual(the.sessions.take(), ['n2 t3 tail 0']);

  await the.clock.advance(10 * NODE_PATIENCE_MS);
  await the.broker.publish('n2', publications(id, [line('t3', 'late')], { done: true }));
  await settle();
  t.deepEqual(lines, ['n1/t1: a', 'n2/t3: late'], 'a follower waits for as long as it likes');
  stop.abort();
  await end;
  t.deepEqual(the.sessions.take().sort(), ['n1 close tail -1', 'n2 close tail -1']);
});

test('the other managers are asked for their agents, with one id', async (t) => {
  const the = await setUp([task('t1', 'n1')], []);
  the.peer.answer = async function* () {
    yield { ...line('t1', 'far'), nodeId: 'n1' };
  };
  const { lines, end } = reading(the.broker.subscribe(request(), new AbortController().signal));
  await end;
  t.deepEqual(lines, ['n1/t1: far']);
  t.deepEqual(
    the.asked.map(({ address }) => address),
    ['m2:2377'],
  );
  t.deepEqual(the.asked[0]?.subscription.selector?.serviceIds, ['svc'], 'names are resolved once');
});

test('a manager that cannot be reached does not spoil the rest', async (t) => {
  const the = await setUp([task('t1', 'n1')], ['n1']);
  // biome-ignore lint/correctness/useYield: it fails before it yields anything
  the.peer.answer = async function* () {
    throw new ShoalError('unavailable', 'no connection');
  };
  const { lines, end } = reading(the.broker.subscribe(request(), new AbortController().signal));
  await settle();
  await the.broker.publish(
    'n1',
    publications(the.sessions.lastId, [line('t1', 'a')], { done: true }),
  );
  await end;
  t.deepEqual(lines, ['n1/t1: a']);
});

test('an unknown service is told, not waited for', async (t) => {
  const the = await setUp([], []);
  const unknown = LogSubscription.fromPartial({ selector: { serviceIds: ['nope'] }, options: {} });
  const error = await t.throwsAsync(() =>
    the.broker.subscribe(unknown, new AbortController().signal).next(),
  );
  t.true(isShoalError(error, 'not-found'));
});
