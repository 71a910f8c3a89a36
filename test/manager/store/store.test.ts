import test from 'ava';
import { Store } from '../../../manager/store/store.ts';
import {
  createAction,
  removeAction,
  scaleDecisionAction,
  taskDesiredStateAction,
  taskStatusAction,
  updateAction,
} from '../../../manager/store/tables.ts';
import type { ChangeBatch } from '../../../manager/store/types.ts';
import { isShoalError } from '../../../shared/errors.ts';
import { ScaleRecord } from '../../../shared/gen/shoal/v1/autoscale.ts';
import { TaskState, TaskStatus } from '../../../shared/gen/shoal/v1/objects.ts';
import {
  ScaleDecision,
  StoreSnapshotChunk,
  StoreTransaction,
} from '../../../shared/gen/shoal/v1/store.ts';
import { settle } from '../../support/manual-clock.ts';
import {
  clusterFixture,
  nodeFixture,
  secretFixture,
  serviceFixture,
  taskFixture,
  taskOf,
} from '../../support/objects.ts';
import { applyDirect, storeFixture } from '../../support/store.ts';

const named = (name: string) => serviceFixture({ spec: { name } });

test('a created object is found by id, by name and by a prefix of its id', async (t) => {
  const service = named('web');
  const { store } = await storeFixture({ service: [service] });
  t.is(store.get('service', service.id)?.spec?.name, 'web');
  t.is(store.byName('service', 'web')?.id, service.id);
  t.deepEqual(
    store.byIdPrefix('service', service.id.slice(0, 10), 2).map(({ id }) => id),
    [service.id],
  );
  t.is(store.byName('service', 'we'), undefined);
  t.is(store.byName('network', 'web'), undefined);
});

test('the version of an object is the index of the entry that wrote it last', async (t) => {
  const service = named('web');
  const { store, writer, clock } = await storeFixture({ service: [service] });
  const stored = store.get('service', service.id);
  t.deepEqual(stored?.meta, { version: 1, createdAtMs: clock.now(), updatedAtMs: clock.now() });
  await writer.write([createAction('service', named('other'))]);
  const createdAtMs = clock.now();
  await clock.advance(50);
  const index = await writer.write([updateAction('service', { ...service, meta: stored?.meta })]);
  t.is(index, 3);
  const { meta } = store.get('service', service.id) ?? {};
  t.deepEqual(meta, { version: 3, createdAtMs, updatedAtMs: createdAtMs + 50 });
});

test('an update that names another version is out of sequence, and nothing is done', async (t) => {
  const service = named('web');
  const { store, writer } = await storeFixture({ service: [service] });
  const read = store.get('service', service.id) ?? service;
  await writer.write([updateAction('service', { ...read, allocationError: 'first' })]);
  const late = writer.write([
    createAction('service', named('beside')),
    updateAction('service', { ...read, allocationError: 'second' }),
  ]);
  const error = await t.throwsAsync(late, { message: 'update out of sequence' });
  t.true(isShoalError(error, 'out-of-sequence'));
  t.is(store.get('service', service.id)?.allocationError, 'first');
  t.is(store.byName('service', 'beside'), undefined);
});

test('a name that is taken refuses the second object, and is free again after a removal', async (t) => {
  const first = named('web');
  const { store, writer } = await storeFixture({ service: [first] });
  const error = await t.throwsAsync(writer.write([createAction('service', named('web'))]), {
    message: 'name conflicts with an existing object: service web already exists',
  });
  t.true(isShoalError(error, 'already-exists'));
  const heir = named('web');
  await writer.write([removeAction('service', first.id), createAction('service', heir)]);
  t.is(store.byName('service', 'web')?.id, heir.id);
  const secrets = ['pass', 'pass'].map((name) => secretFixture({ spec: { name } }));
  const twins = writer.write(secrets.map((secret) => createAction('secret', secret)));
  await t.throwsAsync(twins, { message: 'secret pass already exists' });
  t.is(store.count('secret'), 0);
});

test('a rename in one transaction frees the old name for another object', async (t) => {
  const [a, b] = [named('a'), named('b')];
  const { store, writer } = await storeFixture({ service: [a, b] });
  const rename = (id: string, name: string) => {
    const stored = store.get('service', id) ?? a;
    return updateAction('service', {
      ...stored,
      spec: { ...(stored.spec ?? named('').spec), name } as never,
    });
  };
  await writer.write([rename(a.id, 'spare'), rename(b.id, 'a')]);
  t.is(store.byName('service', 'a')?.id, b.id);
  t.is(store.byName('service', 'spare')?.id, a.id);
  t.is(store.byName('service', 'b'), undefined);
});

test('there is one cluster object', async (t) => {
  const { writer, store } = await storeFixture({ cluster: [clusterFixture()] });
  await t.throwsAsync(writer.write([createAction('cluster', clusterFixture())]), {
    message: 'the cluster object already exists',
  });
  t.truthy(store.cluster());
});

test('tasks are indexed by service and node, also when they are assigned and removed', async (t) => {
  const service = named('web');
  const tasks = [taskOf(service), taskOf(service), taskFixture()];
  const { store, writer } = await storeFixture({ service: [service], task: tasks });
  const ids = (list: Iterable<{ id: string }>) => [...list].map(({ id }) => id).sort();
  t.deepEqual(ids(store.tasksOfService(service.id)), ids(tasks.slice(0, 2)));
  const [first] = store.tasksOfService(service.id);
  if (first === undefined) return t.fail();
  await writer.write([updateAction('task', { ...first, nodeId: 'n1' })]);
  t.deepEqual(ids(store.tasksOfNode('n1')), [first.id]);
  await writer.write([removeAction('task', first.id)]);
  t.deepEqual(ids(store.tasksOfNode('n1')), []);
  t.is([...store.tasksOfService(service.id)].length, 1);
});

test('of nodes with the same hostname the one with the smallest id is found', async (t) => {
  const nodes = ['b', 'a', 'c'].map((id) => nodeFixture({ id, description: { hostname: 'h' } }));
  const { store, writer } = await storeFixture({ node: nodes });
  t.is(store.byName('node', 'h')?.id, 'a');
  await writer.write([removeAction('node', 'a')]);
  t.is(store.byName('node', 'h')?.id, 'b');
});

const status = (state: TaskState, fields: Partial<TaskStatus> = {}) =>
  TaskStatus.fromPartial({ state, atMs: 10, ...fields });

test('status reports move a task forward only, and never conflict', async (t) => {
  const task = taskFixture();
  const { store, writer } = await storeFixture({ task: [task] });
  const report = async (...reports: TaskStatus[]) => {
    await writer.write(reports.map((one) => taskStatusAction(task.id, one)));
    return store.get('task', task.id);
  };
  t.is((await report(status(TaskState.RUNNING)))?.status?.state, TaskState.RUNNING);
  const { version } = store.get('task', task.id)?.meta ?? {};
  t.is((await report(status(TaskState.READY)))?.status?.state, TaskState.RUNNING);
  t.is((await report(status(TaskState.RUNNING, { atMs: 99 })))?.meta?.version, version);
  t.true((await report(status(TaskState.RUNNING, { healthy: true })))?.status?.healthy);
  const stale = status(TaskState.RUNNING, { healthy: false, atMs: 5 });
  t.true((await report(stale))?.status?.healthy, 'an older report of the same state is dropped');
  const both = await report(status(TaskState.FAILED), status(TaskState.RUNNING));
  t.is(both?.status?.state, TaskState.FAILED);
  await t.notThrowsAsync(writer.write([taskStatusAction('gone', status(TaskState.RUNNING))]));
});

test('the desired state of a task moves toward stop only', async (t) => {
  const task = taskFixture({ desiredState: TaskState.READY });
  const { store, writer } = await storeFixture({ task: [task] });
  const want = async (state: TaskState) => {
    await writer.write([taskDesiredStateAction(task.id, state)]);
    return store.get('task', task.id)?.desiredState;
  };
  t.is(await want(TaskState.RUNNING), TaskState.RUNNING);
  t.is(await want(TaskState.SHUTDOWN), TaskState.SHUTDOWN);
  t.is(await want(TaskState.RUNNING), TaskState.SHUTDOWN);
  t.is(await want(TaskState.REMOVE), TaskState.REMOVE);
});

test('a whole task cannot be written backwards or moved to another node', async (t) => {
  const task = taskFixture({
    nodeId: 'n1',
    status: { state: TaskState.RUNNING },
    desiredState: TaskState.SHUTDOWN,
  });
  const { store, writer } = await storeFixture({ task: [task] });
  const read = store.get('task', task.id) ?? task;
  const attempt = (fields: Partial<typeof task>) =>
    t.throwsAsync(writer.write([updateAction('task', { ...read, ...fields })]), {
      code: 'failed-precondition',
    });
  await attempt({ status: status(TaskState.READY) });
  await attempt({ desiredState: TaskState.RUNNING });
  await attempt({ nodeId: 'n2' });
  t.deepEqual(store.get('task', task.id), read);
});

test('a batch tells the net change of each object, with what it was before', (t) => {
  const store = new Store();
  const batches: ChangeBatch[] = [];
  const stop = store.onCommit((batch) => batches.push(batch));
  const task = taskFixture();
  const brief = taskFixture();
  applyDirect(store, [
    createAction('task', task),
    taskStatusAction(task.id, status(TaskState.PENDING)),
    createAction('task', brief),
    removeAction('task', brief.id),
  ]);
  applyDirect(store, [taskStatusAction(task.id, status(TaskState.RUNNING))]);
  applyDirect(store, [taskStatusAction(task.id, status(TaskState.RUNNING))]);
  applyDirect(store, [removeAction('task', task.id)]);
  t.deepEqual(
    batches.map(({ index, changes }) => [index, changes.map(({ action }) => action)]),
    [
      [1, ['create']],
      [2, ['update']],
      [4, ['remove']],
    ],
  );
  const [change] = batches[1]?.changes ?? [];
  t.is(change?.previous, batches[0]?.changes[0]?.object);
  t.is(batches[2]?.changes[0]?.object, change?.object);
  stop();
  applyDirect(store, [createAction('task', taskFixture())]);
  t.is(batches.length, 3);
});

test('many reports about a task keep one copy of its spec, shared with its service', (t) => {
  const store = new Store();
  const service = named('web');
  const task = taskOf(service);
  applyDirect(store, [createAction('service', service), createAction('task', task)]);
  const spec = store.get('service', service.id)?.spec?.task;
  t.is(store.get('task', task.id)?.spec, spec);
  const read = store.get('task', task.id) ?? task;
  applyDirect(store, [updateAction('task', { ...read, nodeId: 'n1' })]);
  t.is(store.get('task', task.id)?.spec, spec);
  const replica = new Store();
  replica.restore(store.index, [...store.snapshot()]);
  t.is(replica.get('task', task.id)?.spec, replica.get('service', service.id)?.spec?.task);
});

test('a decision is put to the end of the log of its service, which keeps one copy of each', (t) => {
  const store = new Store();
  const web = named('web');
  const decide = (atMs: number, setReplicas?: number) =>
    applyDirect(store, [
      scaleDecisionAction(
        ScaleDecision.fromPartial({
          serviceId: web.id,
          record: { atMs, reason: 'above-max' },
          memory: { activeAtMs: atMs },
          ...(setReplicas === undefined ? {} : { setReplicas }),
          serviceName: 'web',
        }),
      ),
    ]);
  const log = () => store.get('autoscaling', web.id);
  applyDirect(store, [createAction('service', web)]);
  decide(1, 3);
  const first = log();
  t.is(first?.setReplicas, 3);
  t.is(first?.meta?.version, store.index);
  decide(2);
  t.is(log()?.records[0], first?.records[0]);
  t.deepEqual(
    log()?.records.map(({ atMs }) => atMs),
    [1, 2],
  );
  t.is(log()?.setReplicas, undefined);
  t.is(log()?.memory?.activeAtMs, 2);
  t.is(log()?.meta?.createdAtMs, first?.meta?.createdAtMs);
  t.deepEqual(
    first?.records.map(({ atMs }) => atMs),
    [1],
    'what was read stays as it was',
  );
  for (let atMs = 3; atMs < 100; atMs++) decide(atMs);
  t.is(log()?.records.length, 25);
  const told = log()?.records;
  const unsaid = { serviceId: web.id, memory: { activeAtMs: 100, ceiling: 2 }, setReplicas: 3 };
  applyDirect(store, [scaleDecisionAction(ScaleDecision.fromPartial(unsaid))]);
  t.is(log()?.memory?.ceiling, 2);
  t.deepEqual(log()?.records, told, 'what is remembered can change alone');
});

test('a decision about a service that is gone is dropped', async (t) => {
  const { store, writer } = await storeFixture();
  const record = ScaleRecord.fromPartial({ atMs: 1 });
  const decision = ScaleDecision.fromPartial({ serviceId: 'gone', record });
  await t.notThrowsAsync(writer.write([scaleDecisionAction(decision)]));
  t.is(store.count('autoscaling'), 0);
});

test('watch() gives batches from an index on, waits for more, and ends with its signal', async (t) => {
  const { store, writer } = await storeFixture({ service: [named('a'), named('b')] });
  const controller = new AbortController();
  const seen: number[] = [];
  const reading = (async () => {
    for await (const { index } of store.watch({ from: 1, signal: controller.signal })) {
      seen.push(index);
    }
  })();
  await settle();
  t.deepEqual(seen, [2]);
  await writer.write([createAction('service', named('c'))]);
  await settle();
  t.deepEqual(seen, [2, 3]);
  controller.abort();
  await reading;
});

test('watch() from an index that this replica has not reached yet gives nothing before that', async (t) => {
  const { store, writer } = await storeFixture({ service: [named('a')] });
  const { signal } = new AbortController();
  const ahead = store.watch({ from: 3, signal })[Symbol.asyncIterator]();
  const next = ahead.next();
  for (const name of ['b', 'c', 'd']) await writer.write([createAction('service', named(name))]);
  t.is((await next).value?.index, 4);
});

test('watch() begins at the call, not at the first read', async (t) => {
  const { store, writer } = await storeFixture();
  const { signal } = new AbortController();
  const iterator = store.watch({ signal })[Symbol.asyncIterator]();
  await writer.write([createAction('service', named('a'))]);
  t.is((await iterator.next()).value?.index, 1);
});

test('watch() refuses an index whose changes are gone, and cuts a reader that falls behind', async (t) => {
  const { store, writer } = await storeFixture({}, { historyChanges: 3 });
  const { signal } = new AbortController();
  const slow = store.watch({ signal })[Symbol.asyncIterator]();
  for (const name of ['a', 'b', 'c', 'd'])
    await writer.write([createAction('service', named(name))]);
  t.throws(() => store.watch({ from: 0, signal }), { code: 'failed-precondition' });
  t.notThrows(() => store.watch({ from: 1, signal }));
  await t.throwsAsync(slow.next(), { code: 'resource-exhausted' });
});

test('a restored snapshot reaches watchers and listeners as one difference', async (t) => {
  const leader = new Store();
  const follower = new Store();
  const [kept, changed, removed, added] = ['kept', 'changed', 'removed', 'added'].map(named);
  if (!kept || !changed || !removed || !added) return t.fail();
  for (const store of [leader, follower]) {
    applyDirect(
      store,
      [kept, changed, removed].map((service) => createAction('service', service)),
    );
  }
  const { signal } = new AbortController();
  const watcher = follower.watch({ signal })[Symbol.asyncIterator]();
  applyDirect(leader, [removeAction('service', removed.id)]);
  applyDirect(leader, [
    updateAction('service', { ...changed, meta: { version: 1, createdAtMs: 0, updatedAtMs: 0 } }),
  ]);
  // The removed object's name goes to the new one: removals must come first in the difference.
  applyDirect(leader, [createAction('service', { ...added, spec: removed.spec })]);
  const told: ChangeBatch[] = [];
  follower.onCommit((batch) => told.push(batch));
  follower.restore(leader.index, [...leader.snapshot()]);
  const { value } = await watcher.next();
  t.is(value, told[0]);
  t.deepEqual(
    told[0]?.changes.map(({ action, object }) => [action, object.id]),
    [
      ['remove', removed.id],
      ['update', changed.id],
      ['create', added.id],
    ],
  );
  t.is(follower.byName('service', 'removed')?.id, added.id);
  t.throws(() => follower.watch({ from: 2, signal }), { code: 'failed-precondition' });
  t.notThrows(() => follower.watch({ from: leader.index, signal }));
});

test('a snapshot does not see what is committed after it was taken', (t) => {
  const store = new Store();
  for (let i = 0; i < 5; i++) {
    const data = Buffer.alloc(300_000, i + 1);
    applyDirect(store, [createAction('secret', secretFixture({ spec: { name: `s${i}`, data } }))]);
  }
  const [victim] = store.all('secret');
  if (victim === undefined) return t.fail();
  const chunks = store.snapshot();
  const index = store.index;
  applyDirect(store, [removeAction('secret', victim.id)]);
  applyDirect(store, [createAction('service', named('late'))]);
  const read = [...chunks];
  t.true(read.length >= 3, 'cut into chunks');
  t.true(read.every(({ length }) => length < 1024 * 1024));
  const replica = new Store();
  replica.restore(index, read);
  t.is(replica.count('secret'), 5);
  t.is(replica.count('service'), 0);
  t.deepEqual(replica.get('secret', victim.id), victim);
});

test('snapshots have all objects in order of table and id, whatever their sizes', (t) => {
  const store = new Store();
  for (let i = 0; i < 200; i++) {
    const data = Buffer.alloc(i % 50 === 0 ? 200_000 : 300, i + 1);
    applyDirect(store, [createAction('secret', secretFixture({ spec: { name: `s${i}`, data } }))]);
  }
  const chunks = [...store.snapshot()];
  t.true(chunks.every(({ length }) => length < 400_000));
  const read = chunks.flatMap((chunk) => StoreSnapshotChunk.decode(chunk).objects);
  const ids = read.map(({ kind }) => kind?.value.id ?? '');
  t.deepEqual(ids, [...store.all('secret')].map(({ id }) => id).sort());
});

test('the snapshot of an empty store is a chunk, and restores to an empty store', (t) => {
  const chunks = [...new Store().snapshot()];
  t.is(chunks.length, 1);
  const store = new Store();
  store.restore(0, chunks);
  t.is(store.index, 0);
});

test('a snapshot counts for its log index, also when the last entries were none of the store', (t) => {
  const store = new Store();
  applyDirect(store, [createAction('service', named('web'))]);
  const copy = new Store();
  copy.restore(7, [...store.snapshot()]); // 2 to 7: changes of members, say
  t.is(copy.index, 7);
  t.deepEqual([...copy.all('service')], [...store.all('service')]);
});

test('a snapshot with a chunk of another snapshot, or of a later index, is refused whole', (t) => {
  const store = new Store();
  applyDirect(store, [createAction('service', named('web'))]);
  const before = [...store.snapshot()];
  applyDirect(store, [createAction('service', named('api'))]);
  const after = [...store.snapshot()];
  t.throws(() => new Store().restore(7, [...before, ...after]), { code: 'internal' });
  t.throws(() => new Store().restore(1, after), { code: 'internal' });
});

test('entries that were applied before, or that this version does not know, end the program', (t) => {
  const store = new Store();
  applyDirect(store, [createAction('service', named('web'))]);
  t.throws(() => applyDirect(store, [], { index: 1 }), { instanceOf: RangeError });
  const unknown = StoreTransaction.encode({ id: 'x', atMs: 0, actions: [{ action: undefined }] });
  t.throws(() => store.apply(2, unknown.finish()), { instanceOf: TypeError });
});
