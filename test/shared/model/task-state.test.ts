import test from 'ava';
import { TaskState } from '../../../shared/gen/shoal/v1/objects.ts';
import { isUpToDate, replacesTasks, sameTaskSpec } from '../../../shared/model/spec-change.ts';
import { taskName } from '../../../shared/model/task-name.ts';
import { isTerminal, isWanted, taskStateName } from '../../../shared/model/task-state.ts';
import { msToNs, nsToMs } from '../../../shared/model/units.ts';
import { serviceFixture, taskOf } from '../../support/objects.ts';

test('every state has a word', (t) => {
  for (const [key, state] of Object.entries(TaskState)) {
    t.is(taskStateName(state), key.toLowerCase());
  }
  t.is(taskStateName(999 as never), '999');
});

test('a task has ended past RUNNING, and is wanted up to it', (t) => {
  const states = Object.values(TaskState);
  for (const state of states) t.is(isTerminal(state), !isWanted(state));
  t.true(isWanted(TaskState.RUNNING));
  t.true(isTerminal(TaskState.COMPLETE));
});

test('a delay never becomes shorter than it was asked for', (t) => {
  t.is(nsToMs(0), 0);
  t.is(nsToMs(1), 1);
  t.is(nsToMs(5_000_000_000), 5000);
  t.is(nsToMs(5_000_000_001), 5001);
  t.is(msToNs(1.5), 1_500_000);
});

test('tasks are named by slot, those of global services by node', (t) => {
  t.is(taskName({ id: 'i', serviceName: 'web', slot: 3, nodeId: 'n' }), 'web.3.i');
  t.is(taskName({ id: 'i', serviceName: 'web', slot: 0, nodeId: 'n' }), 'web.n.i');
});

test('credentials and other ingress ports replace no task, the first one, host-mode ports and images do', (t) => {
  const base = { name: 'web', task: { container: { image: 'a', registryAuth: '1' } } };
  const spec = (fields: object) => serviceFixture({ spec: { ...base, ...fields } }).spec;
  const [from] = [spec({})];
  const replaces = (fields: object) => {
    const to = spec(fields);
    return from !== undefined && to !== undefined && replacesTasks(from, to);
  };
  t.false(replaces({}));
  t.false(replaces({ task: { container: { image: 'a', registryAuth: '2' } } }));
  t.true(replaces({ endpoint: { ports: [{ targetPort: 80, publishMode: 'ingress' }] } }));
  const published = (publishedPort: number) =>
    spec({ endpoint: { ports: [{ targetPort: 80, publishedPort, publishMode: 'ingress' }] } });
  const [at80, at81] = [published(80), published(81)];
  t.false(at80 && at81 ? replacesTasks(at80, at81) : true);
  t.false(replaces({ labels: { a: 'b' } }));
  t.true(replaces({ endpoint: { ports: [{ targetPort: 80, publishMode: 'host' }] } }));
  t.true(replaces({ task: { container: { image: 'b' } } }));
  t.true(replaces({ task: { ...base.task, forceUpdate: 1 } }));
  t.false(sameTaskSpec(from?.task, undefined));
});

test('a task of an older version is up to date when only constraints changed', (t) => {
  const placement = { constraints: ['node.role==worker'], maxReplicasPerNode: 2 };
  const task = { container: { image: 'a' }, placement };
  const service = serviceFixture({ specVersion: 2, spec: { task } });
  const old = (fields: object) => taskOf(service, { specVersion: 1, spec: { ...task, ...fields } });
  t.true(isUpToDate(old({ placement: { maxReplicasPerNode: 2 } }), service));
  t.false(isUpToDate(old({ placement: undefined }), service));
  t.false(isUpToDate(old({ container: { image: 'b' } }), service));
  t.true(isUpToDate(taskOf(service, { specVersion: 2, spec: {} }), service));
  const constrained = serviceFixture({
    specVersion: 2,
    spec: { task: { container: { image: 'a' }, placement: { constraints: ['node.id==x'] } } },
  });
  const plain = taskOf(constrained, { specVersion: 1, spec: { container: { image: 'a' } } });
  t.true(isUpToDate(plain, constrained));
  const logged = {
    ...plain,
    spec: { ...plain.spec, logDriver: { name: 'json-file', options: {} } },
  };
  t.true(isUpToDate(logged as typeof plain, constrained), "the cluster's default log driver");
  const bound = taskOf(constrained, {
    specVersion: 1,
    spec: { container: { image: 'a' } },
    ports: [{ targetPort: 80, publishMode: 'host' }],
  });
  t.false(isUpToDate(bound, constrained));
});
