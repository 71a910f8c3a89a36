import test from 'ava';
import type { ManagerLink, SessionStream } from '../../../agent/session/link.ts';
import { ManagerDirectory } from '../../../agent/session/managers.ts';
import { AgentSession } from '../../../agent/session/session.ts';
import type { SessionHandler } from '../../../agent/session/types.ts';
import { ShoalError } from '../../../shared/errors.ts';
import { TaskSamples } from '../../../shared/gen/shoal/v1/autoscale.ts';
import {
  type AgentMessage,
  Assignments,
  ManagerMessage,
  SessionUpdate,
} from '../../../shared/gen/shoal/v1/dispatcher.ts';
import { NodeDescription, TaskState, TaskStatus } from '../../../shared/gen/shoal/v1/objects.ts';
import { silentLog } from '../../../shared/log.ts';
import { ManualClock, settle } from '../../support/manual-clock.ts';
import { SeededRandom } from '../../support/seeded-random.ts';

/** The manager's end of one stream. */
class FakeStream implements SessionStream {
  readonly target: string;
  readonly sent: NonNullable<AgentMessage['message']>[] = [];
  #queue: ManagerMessage[] = [];
  #wake: () => void = () => undefined;
  #ended: ShoalError | 'cancelled' | undefined;
  constructor(target: string) {
    this.target = target;
  }
  get isOver(): boolean {
    return this.#ended !== undefined;
  }
  /** While it is there, nothing is taken. */
  full: Promise<void> | undefined;
  async send({ message }: AgentMessage): Promise<void> {
    if (message !== undefined) this.sent.push(message);
    await this.full;
  }
  get messages(): AsyncIterable<ManagerMessage> {
    return this.#read();
  }
  cancel(): void {
    this.#ended ??= 'cancelled';
    this.#wake();
  }
  /** The manager says something. */
  say(message: NonNullable<ManagerMessage['message']>): void {
    this.#queue.push(ManagerMessage.fromPartial({ message }));
    this.#wake();
  }
  break(): void {
    this.#ended ??= new ShoalError('unavailable', 'connection lost');
    this.#wake();
  }
  welcome(): void {
    this.say({
      $case: 'welcome',
      value: { sessionId: 's', heartbeatPeriodMs: 1_000, update: undefined },
    });
  }
  kinds(): string[] {
    return this.sent.map(({ $case }) => $case);
  }
  async *#read(): AsyncGenerator<ManagerMessage> {
    for (;;) {
      const next = this.#queue.shift();
      if (next !== undefined) yield next;
      else if (this.#ended instanceof ShoalError) throw this.#ended;
      else if (this.#ended !== undefined) return;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }
}

function setUp(addresses = ['m1:2377', 'm2:2377'], local?: string) {
  const streams: FakeStream[] = [];
  const clock = new ManualClock();
  const random = new SeededRandom(1);
  const managers = new ManagerDirectory(
    'me',
    addresses.map((address, index) => ({ nodeId: `n${index}`, address })),
    random,
  );
  managers.setLocal(local);
  const seen: string[] = [];
  const handler: SessionHandler = {
    assignments: ({ changes, complete }) =>
      seen.push(`${complete ? 'complete' : 'changes'} ${changes.map(({ key }) => key).join()}`),
    update: () => seen.push('update'),
    logs: () => seen.push('logs'),
    connected: (isConnected) => seen.push(isConnected ? 'up' : 'down'),
  };
  const link: ManagerLink = {
    open(target) {
      const stream = new FakeStream(target);
      streams.push(stream);
      return stream;
    },
    publish: async () => undefined,
    close: () => undefined,
  };
  const session = new AgentSession({
    link,
    managers,
    handler,
    clock,
    random,
    log: silentLog,
    description: NodeDescription.fromPartial({ hostname: 'me' }),
    address: '10.0.0.9',
  });
  session.start();
  const last = () => {
    const stream = streams.at(-1);
    if (stream === undefined) throw new Error('no stream was opened');
    return stream;
  };
  return { session, streams, clock, seen, last, managers };
}

const running = (taskId: string) => ({
  taskId,
  status: TaskStatus.fromPartial({ state: TaskState.RUNNING }),
});
const assignments = (fields: Partial<Assignments>, keys: string[] = []) => ({
  $case: 'assignments' as const,
  value: Assignments.fromPartial({ ...fields, changes: keys.map((key) => ({ key })) }),
});

test('a session says hello first, and beats at the period it is told', async (t) => {
  const { last, clock, seen } = setUp();
  await settle();
  t.deepEqual(last().kinds(), ['hello']);
  last().welcome();
  await settle();
  t.deepEqual(seen, ['up']);
  for (let second = 1; second <= 3; second++) {
    await clock.advance(1_000);
    last().say({ $case: 'ack', value: { sequence: 0 } });
    await settle();
  }
  t.deepEqual(last().kinds(), ['hello', 'heartbeat', 'heartbeat', 'heartbeat']);
});

test('the manager of this host is asked first, and at the start alone for a while', async (t) => {
  const { streams, last, clock } = setUp(['m1:2377', 'm2:2377'], 'unix:///run/manager.sock');
  await settle();
  for (let tries = 0; tries < 20; tries++) {
    last().break();
    await clock.advance(300);
  }
  t.deepEqual([...new Set(streams.map(({ target }) => target))], ['unix:///run/manager.sock']);
  await clock.advance(10_000); // no welcome: then the others too
  t.is(new Set(streams.map(({ target }) => target)).size, 3);
});

test('a silent manager is left after two periods, for another one', async (t) => {
  const { streams, last, clock, seen } = setUp();
  await settle();
  last().welcome();
  await settle();
  const first = last();
  await clock.advance(1_900);
  t.false(first.isOver);
  await clock.advance(200);
  t.true(first.isOver);
  t.is(streams.length, 2);
  t.not(last().target, first.target);
  t.deepEqual(seen, ['up', 'down']);
});

test('a manager that answers is never left, however long', async (t) => {
  const { streams, last, clock } = setUp();
  await settle();
  last().welcome();
  for (let second = 0; second < 60; second++) {
    await clock.advance(1_000);
    last().say({ $case: 'ack', value: { sequence: 0 } });
    await settle();
  }
  t.is(streams.length, 1);
});

test('a manager that was lost is the last to be asked again', async (t) => {
  for (let seed = 1; seed <= 10; seed++) {
    const { streams, last, clock } = setUp(['m1:2377', 'm2:2377', 'm3:2377']);
    await settle();
    last().welcome();
    await settle();
    for (let i = 0; i < 3; i++) {
      last().break();
      await clock.advance(60);
    }
    const [lost, ...after] = streams.map(({ target }) => target);
    t.is(new Set(after.slice(0, 2)).size, 2);
    t.false(after.slice(0, 2).includes(lost ?? ''));
  }
});

test('while no manager answers it tries on, and never pauses longer than two heartbeats', async (t) => {
  const { streams, last, clock, seen } = setUp(['m1:2377']);
  await settle();
  const at: number[] = [];
  for (let known = 0, ms = 0; ms < 60_000; ms += 50) {
    if (streams.length > known) {
      known = streams.length;
      at.push(ms);
      last().break();
    }
    await clock.advance(50);
  }
  const pauses = at.slice(1).map((ms, i) => ms - (at[i] ?? 0));
  t.true(Math.max(...pauses) <= 2_100, `paused ${Math.max(...pauses)} ms`);
  t.true(
    pauses.slice(10).every((ms) => ms >= 900),
    'it does not hammer either',
  );
  t.deepEqual(seen, []);
});

test('this host’s own manager is asked often: it is being started', async (t) => {
  const { streams, last, clock } = setUp([], 'unix:///run/manager.sock');
  await settle();
  for (let ms = 0; ms < 10_000; ms += 50) {
    if (!last().isOver) last().break();
    await clock.advance(50);
  }
  t.true(streams.length > 40, `asked ${streams.length} times in ten seconds`);
});

test('what was applied is told soon, once', async (t) => {
  const { session, last, clock } = setUp();
  await settle();
  last().welcome();
  await settle();
  for (const revision of [5, 6, 7]) session.applied(revision);
  await clock.advance(60);
  session.applied(7);
  await clock.advance(60);
  const beats = last().sent.filter(({ $case }) => $case === 'heartbeat');
  t.deepEqual(beats, [{ $case: 'heartbeat', value: { appliedRevision: 7 } }]);
});

test('after a goodbye there is no new session', async (t) => {
  const { session, streams, last, clock } = setUp();
  await settle();
  last().welcome();
  await settle();
  const said = session.goodbye('off');
  await settle();
  t.is(last().kinds().at(-1), 'goodbye');
  last().cancel(); // the manager ends the stream
  await said;
  await clock.advance(10_000);
  t.is(streams.length, 1);
  await session.close();
  t.is(clock.timers, 0, 'no timer is left');
});

test('a goodbye that nobody takes note of does not hold anything up', async (t) => {
  const { session, last, clock } = setUp();
  await settle();
  last().welcome();
  await settle();
  let isDone = false;
  const said = session.goodbye('off').then(() => {
    isDone = true;
  });
  await clock.advance(900);
  t.false(isDone);
  await clock.advance(200);
  await said;
  t.true(isDone);
});

test('a report is repeated on the next session until it is acknowledged', async (t) => {
  const { session, last, clock } = setUp();
  await settle();
  last().welcome();
  await settle();
  session.report(running('a'));
  session.report(running('b')); // while the first is under way
  await settle();
  t.deepEqual(reported(last()), [['a']]);
  last().say({ $case: 'ack', value: { sequence: 1 } });
  await settle();
  t.deepEqual(reported(last()), [['a'], ['b']]);
  last().break();
  await clock.advance(200);
  last().welcome();
  await settle();
  t.deepEqual(reported(last()), [['b']]);
  last().say({ $case: 'ack', value: { sequence: 1 } });
  last().break();
  await clock.advance(200);
  last().welcome();
  await settle();
  t.deepEqual(reported(last()), []);
});

test('chunks of a complete set arrive as one', async (t) => {
  const { last, seen } = setUp();
  await settle();
  last().welcome();
  last().say(assignments({ complete: true, more: true, appliesTo: 0, resultsIn: 1 }, ['task/a']));
  await settle();
  t.deepEqual(seen, ['up']);
  last().say(assignments({ complete: true, appliesTo: 1, resultsIn: 2 }, ['task/b']));
  last().say(assignments({ appliesTo: 2, resultsIn: 3 }, ['task/c']));
  await settle();
  t.deepEqual(seen, ['up', 'complete task/a,task/b', 'changes task/c']);
});

test('a gap in the numbers ends the session and begins another', async (t) => {
  const { streams, last, clock, seen } = setUp();
  await settle();
  last().welcome();
  last().say(assignments({ complete: true, appliesTo: 0, resultsIn: 1 }));
  last().say(assignments({ appliesTo: 2, resultsIn: 3 }, ['task/lost']));
  await clock.advance(200);
  t.true(streams[0]?.isOver);
  t.is(streams.length, 2);
  t.deepEqual(seen, ['up', 'complete ', 'down']);
});

test('managers that a session names are tried later', async (t) => {
  const { last, managers } = setUp(['old:2377']);
  await settle();
  last().say({
    $case: 'welcome',
    value: {
      sessionId: 's',
      heartbeatPeriodMs: 1_000,
      update: SessionUpdate.fromPartial({ managers: [{ nodeId: 'x', address: 'new:2377' }] }),
    },
  });
  await settle();
  t.deepEqual(managers.targets(), ['new:2377']);
});

test('close() ends the loop', async (t) => {
  const { session, last, streams } = setUp();
  await settle();
  last().welcome();
  await settle();
  await session.close();
  t.true(last().isOver);
  t.is(streams.length, 1);
});

function reported(stream: FakeStream): string[][] {
  return stream.sent.flatMap((message) =>
    message.$case === 'report' ? [message.value.changes.map(({ taskId }) => taskId)] : [],
  );
}

const sampleOf = (...taskIds: string[]) =>
  TaskSamples.fromPartial({ samples: taskIds.map((taskId) => ({ taskId })) });
const samplesSent = (stream: FakeStream) =>
  stream.sent.flatMap((message) =>
    message.$case === 'samples' ? [message.value.samples.map(({ taskId }) => taskId).join()] : [],
  );

test('samples without a session are dropped, and are not sent by the next one', async (t) => {
  const { session, last } = setUp();
  session.sample(sampleOf('early'));
  await settle();
  session.sample(sampleOf('before the welcome'));
  last().welcome();
  await settle();
  t.deepEqual(samplesSent(last()), []);
  session.sample(sampleOf('a'));
  await settle();
  t.deepEqual(samplesSent(last()), ['a']);
});

test('of samples that a slow stream does not take only the newest are kept', async (t) => {
  const { session, last } = setUp();
  await settle();
  last().welcome();
  await settle();
  const room = Promise.withResolvers<void>();
  last().full = room.promise;
  for (const task of ['a', 'b', 'c', 'd']) {
    session.sample(sampleOf(task));
    await settle();
  }
  t.deepEqual(samplesSent(last()), ['a']);
  last().full = undefined;
  room.resolve();
  await settle();
  t.deepEqual(samplesSent(last()), ['a', 'd']);
});
