import test from 'ava';
import { RecentChanges } from '../../../manager/control/recent.ts';
import type { Change, ChangeBatch } from '../../../manager/store/types.ts';
import { Autoscaling } from '../../../shared/gen/shoal/v1/objects.ts';
import { configFixture, serviceFixture, taskFixture } from '../../support/objects.ts';

class Commits {
  readonly #listeners = new Set<(batch: ChangeBatch) => void>();

  onCommit(listener: (batch: ChangeBatch) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  tell(index: number, changes: readonly Change[], atMs?: number): void {
    const batch = { index, changes, ...(atMs !== undefined && { atMs }) };
    for (const listener of this.#listeners) listener(batch);
  }
}

const created = (): Change => ({
  action: 'create',
  table: 'service',
  object: serviceFixture(),
  previous: undefined,
});

test('the last 256 changes are kept, without tasks and without what came as a snapshot', (t) => {
  const store = new Commits();
  const recent = new RecentChanges(store);
  const task: Change = {
    action: 'create',
    table: 'task',
    object: taskFixture(),
    previous: undefined,
  };
  for (let index = 1; index <= 300; index++) store.tell(index, [created(), task], index * 10);
  store.tell(301, [created()]);
  t.deepEqual(
    recent.since(0).map(({ index }) => index),
    Array.from({ length: 256 }, (_, i) => i + 45),
  );
  t.deepEqual(
    recent.since(2_990).map(({ atMs }) => atMs),
    [2_990, 3_000],
  );
});

test('what a file holds is not kept alive', (t) => {
  const store = new Commits();
  const recent = new RecentChanges(store);
  const object = configFixture({ spec: { name: 'conf', data: Buffer.alloc(1 << 20) } });
  store.tell(1, [{ action: 'update', table: 'config', object, previous: object }], 1);
  const [kept] = recent.since(0);
  t.is(kept?.change.previous, undefined);
  t.true(kept?.change.table === 'config' && kept.change.object.spec?.data.length === 0);
  t.is(kept?.change.table === 'config' && kept.change.object.spec?.name, 'conf');
});

test('of decisions those that changed a count are kept, and nothing of the log before', (t) => {
  const store = new Commits();
  const recent = new RecentChanges(store);
  const decided = (to: number): Change => {
    const record = { from: 2, to, inputJson: '{}' };
    const object = Autoscaling.fromPartial({ id: 'web', records: [record, record] });
    const previous = Autoscaling.fromPartial({ id: 'web', records: [record] });
    return { action: 'update', table: 'autoscaling', object, previous };
  };
  store.tell(1, [created()], 10);
  for (let index = 2; index <= 300; index++) store.tell(index, [decided(2)], 10);
  store.tell(301, [decided(4)], 10);
  const before = decided(5);
  store.tell(302, [{ ...before, previous: before.object } as Change], 10); // only what is remembered
  const [service, scaled, ...others] = recent.since(0).map(({ change }) => change);
  t.is(service?.table, 'service');
  t.true(scaled?.table === 'autoscaling' && scaled.previous === undefined);
  const records = scaled?.table === 'autoscaling' ? scaled.object.records : [];
  t.deepEqual(
    records.map(({ to, inputJson }) => [to, inputJson]),
    [[4, '']],
  );
  t.deepEqual(others, []);
});
