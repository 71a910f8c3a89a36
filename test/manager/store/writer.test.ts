import test from 'ava';
import { Store } from '../../../manager/store/store.ts';
import { createAction, taskStatusAction, updateAction } from '../../../manager/store/tables.ts';
import {
  StoreWriter,
  sizeOfAction,
  splitActions,
  writeInBatches,
} from '../../../manager/store/writer.ts';
import { NotLeaderError, ShoalError } from '../../../shared/errors.ts';
import { TaskStatus } from '../../../shared/gen/shoal/v1/objects.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { configFixture, serviceFixture, taskFixture } from '../../support/objects.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { storeFixture } from '../../support/store.ts';

test('writes that are pipelined each hear of their own outcome', async (t) => {
  const { writer, store } = await storeFixture();
  const names = ['a', 'b', 'a', 'c'];
  const outcomes = await Promise.allSettled(
    names.map((name) =>
      writer.write([createAction('service', serviceFixture({ spec: { name } }))]),
    ),
  );
  t.deepEqual(
    outcomes.map((one) => (one.status === 'fulfilled' ? one.value : one.reason.code)),
    [1, 2, 'already-exists', 4],
  );
  t.is(store.count('service'), 3);
});

test('a write of nothing is no entry', async (t) => {
  const { writer, consensus, store } = await storeFixture({ service: [serviceFixture()] });
  t.is(await writer.write([]), store.index);
  t.is(consensus.entries.length, 1);
});

test('an error of consensus is passed on as it is', async (t) => {
  const { writer, consensus } = await storeFixture();
  consensus.proposeError = new NotLeaderError('n2');
  const write = () => writer.write([createAction('service', serviceFixture())]);
  t.is(await t.throwsAsync(write()), consensus.proposeError);
  consensus.proposeError = new ShoalError('unknown-outcome', 'leadership was lost');
  t.is(await t.throwsAsync(write()), consensus.proposeError);
});

test('an outcome that consensus does not know, but that was applied here, is known', async (t) => {
  const store = new Store();
  const deps = { store, clock: new ManualClock(), random: new SeededRandom(1) };
  const lost = (applied: boolean) => ({
    async propose(data: Uint8Array): Promise<number> {
      if (applied) store.apply(store.index + 1, data);
      throw new ShoalError('unknown-outcome', 'leadership was lost');
    },
  });
  const actions = [createAction('service', serviceFixture({ spec: { name: 'web' } }))];
  t.is(await new StoreWriter({ ...deps, consensus: lost(true) }).write(actions), 1);
  await t.throwsAsync(new StoreWriter({ ...deps, consensus: lost(true) }).write(actions), {
    code: 'already-exists',
  });
  await t.throwsAsync(new StoreWriter({ ...deps, consensus: lost(false) }).write(actions), {
    code: 'unknown-outcome',
  });
});

test('a consensus that commits without applying here is a broken promise', async (t) => {
  const deps = { store: new Store(), clock: new ManualClock(), random: new SeededRandom(1) };
  const writer = new StoreWriter({ ...deps, consensus: { propose: async () => 1 } });
  await t.throwsAsync(writer.write([createAction('service', serviceFixture())]), {
    code: 'internal',
  });
});

test('what is too large, or no action at all, never reaches the log', async (t) => {
  const { writer, consensus } = await storeFixture();
  const config = (bytes: number) => {
    const object = configFixture();
    const spec = { name: object.id, labels: {}, templating: '', data: Buffer.alloc(bytes) };
    return createAction('config', { ...object, spec });
  };
  await t.throwsAsync(writer.write([config(1024 * 1024)]), {
    code: 'resource-exhausted',
    message: /^an object of \d+ bytes is too large/,
  });
  await t.throwsAsync(writer.write([config(800_000), config(800_000)]), {
    code: 'resource-exhausted',
    message: /^a transaction of \d+ bytes is too large/,
  });
  await t.throwsAsync(writer.write([{ action: undefined }]), { code: 'internal' });
  t.is(consensus.entries.length, 0);
  await t.notThrowsAsync(writer.write([config(1_023_999)]), 'the largest config there is');
});

test('actions are cut into transactions by number and size, in order', async (t) => {
  const actions = Array.from({ length: 2500 }, () => createAction('task', taskFixture()));
  const batches = splitActions(actions);
  t.deepEqual(
    batches.map(({ length }) => length),
    [1000, 1000, 500],
  );
  t.deepEqual(batches.flat(), actions);
  t.true(splitActions(actions, { maxBytes: 1000 }).every(({ length }) => length <= 20));
  const [first] = splitActions(actions.slice(0, 2), { maxBytes: 1 });
  t.is(first?.length, 1, 'an action larger than the limit stands alone');
  t.deepEqual(splitActions([]), []);
  const { writer, store } = await storeFixture();
  await writeInBatches(writer, actions);
  t.is(store.count('task'), 2500);
  t.is(store.index, 3);
});

test('what was measured is written as it is', async (t) => {
  const { store, writer } = await storeFixture();
  const actions = ['a', 'b'].map((name) =>
    createAction('service', serviceFixture({ spec: { name } })),
  );
  t.true(actions.every((action) => sizeOfAction(action) > 30));
  await writer.write(actions);
  t.deepEqual(
    [...store.all('service')].map(({ spec }) => spec?.name),
    ['a', 'b'],
  );
});

test('a status report between read and write is no conflict for another task', async (t) => {
  const [a, b] = [taskFixture(), taskFixture()];
  const { writer, store } = await storeFixture({ task: [a, b] });
  const read = store.get('task', a.id) ?? a;
  const report = TaskStatus.fromPartial({ state: 512, atMs: 1 });
  await writer.write([taskStatusAction(b.id, report)]);
  await t.notThrowsAsync(writer.write([updateAction('task', { ...read, nodeId: 'n1' })]));
  await writer.write([taskStatusAction(a.id, report)]);
  await t.throwsAsync(writer.write([updateAction('task', { ...read, nodeId: 'n1' })]), {
    code: 'out-of-sequence',
  });
});
