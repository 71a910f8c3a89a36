import test from 'ava';
import type { Images } from '../../../agent/image/types.ts';
import type { DataPlane } from '../../../agent/network/types.ts';
import type { Container, Runtime } from '../../../agent/runtime/types.ts';
import { TASK_ID_LABEL } from '../../../agent/task/container-config.ts';
import { HealthBook } from '../../../agent/task/health-book.ts';
import { TaskManager } from '../../../agent/task/manager.ts';
import { type AssignmentChange, Assignments } from '../../../shared/gen/shoal/v1/dispatcher.ts';
import { silentLog } from '../../../shared/log.ts';
import { ManualClock, settle } from '../../support/manual-clock.ts';
import { taskFixture } from '../../support/objects.ts';
import { FakeDataPlane, FakeImages, FakeRuntime, stateOf } from './fakes.ts';

function manager(
  runtime: FakeRuntime,
  deps: { clock?: ManualClock; save?: () => Promise<void> } = {},
): TaskManager {
  const { clock = new ManualClock(), save = async () => undefined } = deps;
  const dataPlane = new FakeDataPlane();
  return new TaskManager({
    runtime: runtime as unknown as Runtime,
    images: new FakeImages() as unknown as Images,
    dataPlane: Object.assign(dataPlane, {
      setView: () => undefined,
      adopt: async () => undefined,
    }) as unknown as DataPlane,
    volumes: {
      ensure: async (name) => ({ name, mountpoint: name }),
      removeAnonymous: async () => undefined,
    },
    listens: async () => true,
    health: new HealthBook(),
    host: { nodeId: 'node', hostname: 'h1', architecture: 'x86_64', os: 'linux' },
    file: { load: async () => undefined, save },
    newContainerId: () => 'new',
    registryAuth: () => undefined,
    report: () => undefined,
    clock,
    log: silentLog,
  });
}

test('a node that leaves before its managers said a word removes what its tasks left', async (t) => {
  const runtime = new FakeRuntime();
  const config = (id: string, labels: Record<string, string>) =>
    ({ id, labels, mounts: [] }) as unknown as Container['config'];
  runtime.put({ config: config('task', { [TASK_ID_LABEL]: 't1' }), state: stateOf('running') });
  runtime.put({ config: config('other', {}), state: stateOf('running') });
  const tasks = manager(runtime);
  await tasks.adopt();
  t.is((await runtime.list()).length, 2, 'until somebody says that it is over');
  await tasks.removeAll();
  t.deepEqual([...runtime.lives.keys()], ['other']);
});

test('measured() names the tasks of services that are to be measured, and no others', async (t) => {
  const tasks = manager(new FakeRuntime());
  await tasks.adopt();
  const task = (id: string, serviceId: string): AssignmentChange => ({
    key: `task/${id}`,
    item: { item: { $case: 'task', value: taskFixture({ id, serviceId }) } },
  });
  const assign = (complete: boolean, changes: AssignmentChange[]) =>
    tasks.assignments(Assignments.fromPartial({ complete, revision: 1, changes }));
  assign(true, [task('t1', 'web'), task('t2', 'web'), task('t3', 'db')]);
  t.deepEqual(tasks.measured(), []);
  const sampling = { serviceId: 'web', resources: true, requests: false };
  assign(false, [{ key: 'sampling/web', item: { item: { $case: 'sampling', value: sampling } } }]);
  t.deepEqual(
    tasks.measured().map(({ containerId: _, ...rest }) => rest),
    ['t1', 't2'].map((taskId) => ({ taskId, ...sampling })),
  );
  assign(false, [{ key: 'sampling/web' }]);
  t.deepEqual(tasks.measured(), []);
  await tasks.removeAll();
});

test('removeAll() is the last word: assignments are not saved after it', async (t) => {
  const clock = new ManualClock();
  const written = Promise.withResolvers<void>();
  let saves = 0;
  const save = () => {
    saves++;
    return written.promise;
  };
  const tasks = manager(new FakeRuntime(), { clock, save });
  await tasks.adopt();
  tasks.assignments(Assignments.fromPartial({ complete: true, revision: 1 }));
  await clock.advance(600);
  t.is(saves, 1);
  tasks.assignments(Assignments.fromPartial({ appliesTo: 1, resultsIn: 2, revision: 2 }));
  let isDone = false;
  const done = tasks.removeAll().then(() => {
    isDone = true;
  });
  await settle();
  t.false(isDone, 'one is being written');
  written.resolve();
  await done;
  await clock.advance(600);
  t.is(saves, 1);
});
