import test from 'ava';
import type { Images } from '../../../agent/image/types.ts';
import type { DataPlane } from '../../../agent/network/types.ts';
import type { Container, Runtime } from '../../../agent/runtime/types.ts';
import { TASK_ID_LABEL } from '../../../agent/task/container-config.ts';
import { HealthBook } from '../../../agent/task/health-book.ts';
import { type RunnerDeps, TaskRunner } from '../../../agent/task/runner.ts';
import { ShoalError } from '../../../shared/errors.ts';
import { type Task, TaskState, type TaskStatus } from '../../../shared/gen/shoal/v1/objects.ts';
import { silentLog } from '../../../shared/log.ts';
import { taskStateName } from '../../../shared/model/task-state.ts';
import { ManualClock, settle } from '../../support/manual-clock.ts';
import { taskFixture } from '../../support/objects.ts';
import { FakeDataPlane, FakeImages, FakeRuntime, stateOf } from './fakes.ts';

function setUp() {
  const runtime = new FakeRuntime();
  const dataPlane = new FakeDataPlane();
  const images = new FakeImages();
  const clock = new ManualClock();
  const changes: string[] = [];
  const health = new HealthBook((id, status) => changes.push(`${id} ${status}`));
  const reports: TaskStatus[] = [];
  let next = 0;
  const listening = new Set<number>();
  const offered: string[] = [];
  const volumes = {
    ensure: async (name: string) => ({ name, mountpoint: `/volumes/${name}` }),
    removeAnonymous: async (names: readonly string[]) => {
      offered.push(...names);
    },
  };
  const deps: RunnerDeps = {
    runtime: runtime as unknown as Runtime,
    images: images as unknown as Images,
    dataPlane: dataPlane as unknown as DataPlane,
    volumes,
    host: { nodeId: 'node', hostname: 'h1', architecture: 'x86_64', os: 'linux' },
    secret: () => undefined,
    config: () => undefined,
    networkName: (id) => id,
    newContainerId: () => `container${++next}`,
    registryAuth: () => undefined,
    report: (_id, status) => reports.push(status),
    health,
    listens: async (pid, ports) => pid === 42 && [...ports].some((port) => listening.has(port)),
    clock,
    log: silentLog,
  };
  const states = () => reports.map(({ state }) => taskStateName(state));
  const parts = { runtime, dataPlane, images, clock, health, changes, listening };
  return { ...parts, reports, deps, states, offered };
}

const wanted = (fields: Partial<Task> = {}): Task =>
  taskFixture({
    id: 'task',
    spec: { container: { image: 'web:1' } },
    desiredState: TaskState.RUNNING,
    status: { state: TaskState.ASSIGNED },
    ...fields,
  });
const stopped = (task: Task, desiredState: TaskState = TaskState.SHUTDOWN): Task => ({
  ...task,
  desiredState,
});

test('a task goes through its states to RUNNING, in order', async (t) => {
  const { deps, states, reports } = setUp();
  new TaskRunner(deps, wanted(), undefined);
  await settle();
  t.deepEqual(states(), ['accepted', 'preparing', 'ready', 'starting', 'running']);
  t.deepEqual(reports.at(-1)?.container, { containerId: 'container1', pid: 42, exitCode: 0 });
  t.true(reports.at(-1)?.healthy);
});

test('a task wanted READY waits before its start', async (t) => {
  const { deps, states, runtime } = setUp();
  const task = wanted({ desiredState: TaskState.READY });
  const runner = new TaskRunner(deps, task, undefined);
  await settle();
  t.deepEqual(states(), ['accepted', 'preparing', 'ready']);
  t.deepEqual(runtime.log, ['create']);
  runner.update({ ...task, desiredState: TaskState.RUNNING });
  await settle();
  t.is(states().at(-1), 'running');
});

test('an exit with code 0 is COMPLETE, another one FAILED with the code', async (t) => {
  for (const [code, oom, state, err] of [
    [0, false, 'complete', ''],
    [3, false, 'failed', 'task: non-zero exit (3)'],
    [137, true, 'failed', 'task: non-zero exit (137): out of memory'],
  ] as const) {
    const { deps, states, reports, runtime, dataPlane } = setUp();
    new TaskRunner(deps, wanted(), undefined);
    await settle();
    runtime.end(runtime.onlyId, code, oom);
    await settle();
    t.is(states().at(-1), state);
    t.is(reports.at(-1)?.err, err);
    t.is(reports.at(-1)?.container?.exitCode, code);
    t.is(dataPlane.log.at(-1), 'detach');
    t.false(runtime.log.includes('remove'), 'kept for its logs until the managers forget the task');
  }
});

const PORTS = [{ protocol: 'tcp', targetPort: 80 }] as never;

test('a task of a service with ports runs once it listens; what that waits for is told', async (t) => {
  const { deps, states, reports, clock, listening } = setUp();
  new TaskRunner(deps, wanted({ ports: PORTS }), undefined);
  await settle();
  t.deepEqual(states(), ['accepted', 'preparing', 'ready', 'starting']);
  await clock.advance(900);
  t.is(states().length, 4);
  await clock.advance(600);
  t.is(reports.at(-1)?.message, 'starting: nothing listens on port 80 yet');
  listening.add(80);
  await clock.advance(500);
  t.deepEqual(states().slice(3), ['starting', 'starting', 'running']);
  t.true(reports.at(-1)?.healthy);
});

test('without health checks by order, it is not waited for', async (t) => {
  const { deps, states } = setUp();
  const spec = { container: { image: 'web:1', healthcheck: { test: ['NONE'] } } } as never;
  new TaskRunner(deps, wanted({ ports: PORTS, spec }), undefined);
  await settle();
  t.is(states().at(-1), 'running');
});

test('a task that ends, or shall stop, before it listens', async (t) => {
  const ends = setUp();
  new TaskRunner(ends.deps, wanted({ ports: PORTS }), undefined);
  await settle();
  ends.runtime.end(ends.runtime.onlyId, 3, false);
  await settle();
  t.deepEqual(ends.states().slice(3), ['starting', 'failed']);

  const stops = setUp();
  const task = wanted({ ports: PORTS });
  const runner = new TaskRunner(stops.deps, task, undefined);
  await settle();
  runner.update(stopped(task));
  await settle();
  t.deepEqual(stops.states().slice(3), ['starting', 'shutdown']);
});

test('a stop sends the signal, and SIGKILL after the grace period', async (t) => {
  const { deps, states, runtime, clock } = setUp();
  runtime.diesOf = new Set([9]);
  const task = wanted();
  const runner = new TaskRunner(deps, task, undefined);
  await settle();
  runner.update(stopped(task));
  await settle();
  t.is(runtime.log.at(-1), 'kill 15');
  await clock.advance(9_999);
  t.is(runtime.log.at(-1), 'kill 15');
  await clock.advance(1);
  t.is(runtime.log.at(-1), 'kill 9');
  t.is(states().at(-1), 'shutdown');
});

test('REMOVE stops and removes the container', async (t) => {
  const { deps, runtime } = setUp();
  const task = wanted();
  const runner = new TaskRunner(deps, task, undefined);
  await settle();
  runner.update(stopped(task, TaskState.REMOVE));
  await runner.done;
  t.is(runtime.log.at(-1), 'remove');
  t.is(runtime.lives.size, 0);
});

test('volumes are offered for removal with their container, and not before', async (t) => {
  const { deps, runtime, offered } = setUp();
  const mount = { type: 'volume', source: 'data', target: '/data' };
  const task = wanted({ spec: { container: { image: 'web:1', mounts: [mount] } } } as never);
  const runner = new TaskRunner(deps, task, undefined);
  await settle();
  t.is(runtime.lives.size, 1);
  runner.update(stopped(task));
  await settle();
  t.deepEqual(offered, []);
  runner.remove();
  await runner.done;
  t.deepEqual(offered, ['data']);
});

test('an image that is not there rejects the task; nothing was started', async (t) => {
  const { deps, states, reports, images, runtime } = setUp();
  images.failure = new ShoalError('not-found', 'No such image: web:1');
  new TaskRunner(deps, wanted(), undefined);
  await settle();
  t.is(states().at(-1), 'rejected');
  t.is(reports.at(-1)?.err, 'No such image: web:1');
  t.deepEqual(runtime.log, []);
});

test('a process that cannot start fails the task with the reason', async (t) => {
  const { deps, states, reports, runtime } = setUp();
  runtime.failStart = new ShoalError(
    'invalid-argument',
    'exec: "/nope": no such file or directory: unknown',
  );
  new TaskRunner(deps, wanted(), undefined);
  await settle();
  t.is(states().at(-1), 'failed');
  t.regex(reports.at(-1)?.err ?? '', /\/nope/);
});

test('what is only unavailable now is tried again', async (t) => {
  const { deps, states, dataPlane, clock } = setUp();
  dataPlane.failures = [
    new ShoalError('unavailable', 'network not here yet'),
    new ShoalError('unavailable', 'still not'),
  ];
  new TaskRunner(deps, wanted(), undefined);
  await clock.advance(5_000);
  t.is(states().at(-1), 'running');
  t.deepEqual(dataPlane.log, ['attach', 'attach', 'attach']);
});

test('a task that shall stop while it is prepared is SHUTDOWN, not REJECTED', async (t) => {
  const { deps, states, dataPlane, clock } = setUp();
  dataPlane.failures = Array.from(
    { length: 50 },
    () => new ShoalError('unavailable', 'no network'),
  );
  const task = wanted();
  const runner = new TaskRunner(deps, task, undefined);
  await settle();
  runner.update(stopped(task));
  await clock.advance(1_000);
  t.is(states().at(-1), 'shutdown');
});

function existing(status: Container['state']['status'], exitCode = 0): Container {
  const config = {
    id: 'old',
    labels: { [TASK_ID_LABEL]: 'task' },
    network: { mode: 'none' },
    stopGraceMs: 10_000,
    stopSignal: 'SIGTERM',
    imageId: 'x',
  };
  return {
    config: config as unknown as Container['config'],
    state: { ...stateOf(status), exitCode },
  };
}

test('a container that outlived the daemon is adopted: no second one is made', async (t) => {
  const { deps, states, runtime } = setUp();
  runtime.put(existing('running'));
  new TaskRunner(deps, wanted(), existing('running'));
  await settle();
  t.deepEqual(states(), ['running']);
  t.deepEqual(runtime.log, []);
  runtime.end('old', 5);
  await settle();
  t.is(states().at(-1), 'failed');
});

test('a container that was made and not started is wired again and started', async (t) => {
  const { deps, states, runtime, dataPlane } = setUp();
  runtime.put(existing('created'));
  new TaskRunner(deps, wanted(), existing('created'));
  await settle();
  t.is(states().at(-1), 'running');
  t.deepEqual(runtime.log, ['start']);
  t.deepEqual(dataPlane.log, ['attach']);
});

test('a draining task stops when the managers say that no host uses it any more', async (t) => {
  const { deps, runtime, clock, states } = setUp();
  const task = wanted();
  const runner = new TaskRunner(deps, task, undefined);
  await settle();
  runner.update(stopped(task), { isDraining: true });
  await clock.advance(1_500);
  t.is(runtime.log.at(-1), 'start', 'no signal yet');
  runner.update(stopped(task));
  await settle();
  t.is(runtime.log.at(-1), 'kill 15');
  t.is(states().at(-1), 'shutdown');
});

test('a draining task that nobody releases stops by itself, and one that is removed at once', async (t) => {
  for (const [what, afterMs] of [
    ['left', 2_500],
    ['removed', 0],
  ] as const) {
    const { deps, runtime, clock } = setUp();
    const task = wanted();
    const runner = new TaskRunner(deps, task, undefined);
    await settle();
    runner.update(stopped(task), { isDraining: true });
    await clock.advance(Math.max(0, afterMs - 1));
    t.is(runtime.log.at(-1), 'start');
    if (what === 'removed') runner.remove();
    else await clock.advance(1);
    await settle();
    t.true(runtime.log.includes('kill 15'));
  }
});

test('a process that ends while it drains gets no signal', async (t) => {
  const { deps, runtime, states, reports } = setUp();
  const task = wanted();
  const runner = new TaskRunner(deps, task, undefined);
  await settle();
  runner.update(stopped(task), { isDraining: true });
  await settle();
  runtime.end(runtime.onlyId, 0);
  await settle();
  t.is(states().at(-1), 'shutdown');
  t.is(reports.at(-1)?.container?.exitCode, 0);
  t.false(runtime.log.includes('kill 15'));
});

test('a task that becomes unhealthy leaves the back-ends before it is stopped', async (t) => {
  const { deps, runtime, clock, changes, reports } = setUp();
  runtime.execs = [0, 0, 1];
  const healthcheck = { test: ['CMD', 'check'], intervalNs: 1e9, retries: 1 };
  const task = taskFixture({
    id: 'task',
    spec: { container: { image: 'web:1', healthcheck } },
    status: { state: TaskState.ASSIGNED },
    networks: [{ networkId: 'net', addresses: ['10.0.1.2/24'] }],
  });
  new TaskRunner(deps, task, undefined);
  await clock.advance(1_000);
  t.like(reports.at(-1), { state: TaskState.RUNNING, healthy: true });
  await clock.advance(1_000);
  t.deepEqual(changes, ['container1 healthy'], 'once, not at each check');
  await clock.advance(1_000);
  t.deepEqual(changes, ['container1 healthy', 'container1 unhealthy']);
  t.like(reports.at(-1), { state: TaskState.RUNNING, healthy: false });
  t.is(runtime.log.at(-1), 'start', 'no signal yet');
  await clock.advance(300);
  t.is(runtime.log.at(-1), 'kill 15');
  t.like(reports.at(-1), {
    state: TaskState.FAILED,
    err: 'task: unhealthy container: exit 1',
  });
});

test('what a health check found is kept with its container, the last five times', async (t) => {
  const { deps, runtime, clock, health } = setUp();
  runtime.execs = [1, 1, 1, 0, 0, 0, 1];
  const healthcheck = { test: ['CMD', 'check'], intervalNs: 1e9, retries: 4 };
  const task = taskFixture({
    id: 'task',
    spec: { container: { image: 'web:1', healthcheck } },
    status: { state: TaskState.ASSIGNED },
  });
  const runner = new TaskRunner(deps, task, undefined);
  await settle();
  const id = runtime.onlyId;
  t.like(health.of(id), { status: 'starting', failingStreak: 0, log: [] });
  await clock.advance(3_000);
  t.like(health.of(id), { status: 'starting', failingStreak: 3 });
  await clock.advance(4_000);
  t.like(health.of(id), { status: 'healthy', failingStreak: 1 });
  t.deepEqual(
    health.of(id)?.log.map(({ exitCode, output }) => [exitCode, output]),
    [1, 0, 0, 0, 1].map((code) => [code, `exit ${code}`]),
  );
  runner.remove();
  await runner.done;
  t.is(health.of(id), undefined);
});

test('a container without a health check has no health', async (t) => {
  const { deps, runtime, health } = setUp();
  new TaskRunner(deps, wanted(), undefined);
  await settle();
  t.is(health.of(runtime.onlyId), undefined);
});

test('the drain delay of the service comes between the last new connection and the signal', async (t) => {
  for (const isRemoved of [false, true]) {
    const { deps, runtime, clock } = setUp();
    const task = wanted({ serviceLabels: { 'shoal.drain-delay': '5s' } });
    const runner = new TaskRunner(deps, task, undefined);
    await settle();
    runner.update(stopped(task), { isDraining: true });
    await clock.advance(100);
    runner.update(stopped(task));
    await clock.advance(4_999);
    t.is(runtime.log.at(-1), 'start');
    if (isRemoved) runner.remove();
    else await clock.advance(1);
    await settle();
    t.true(runtime.log.includes('kill 15'));
  }
});

test('a task that is in no back-end set stops at once, whatever the drain delay', async (t) => {
  const { deps, runtime } = setUp();
  const task = wanted({ serviceLabels: { 'shoal.drain-delay': '5s' } });
  const runner = new TaskRunner(deps, task, undefined);
  await settle();
  runner.update(stopped(task));
  await settle();
  t.is(runtime.log.at(-1), 'kill 15');
});
