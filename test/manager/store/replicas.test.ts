// Goal: whatever transactions come, all replicas hold the same, the indexes say the same as a search
// through everything would, and a reader that follows the changes ends with the same tables.
// Method: random transactions over few ids and names, so that conflicts are common; many are refused.
import test from 'ava';
import fc from 'fast-check';
import { type Outcome, Store } from '../../../manager/store/store.ts';
import {
  createAction,
  removeAction,
  scaleDecisionAction,
  TABLE_NAMES,
  taskDesiredStateAction,
  taskStatusAction,
  toStoreObject,
  updateAction,
} from '../../../manager/store/tables.ts';
import type { ChangeBatch, TableName, Tables } from '../../../manager/store/types.ts';
import { TaskState, TaskStatus } from '../../../shared/gen/shoal/v1/objects.ts';
import {
  ScaleDecision,
  type StoreAction,
  StoreTransaction,
} from '../../../shared/gen/shoal/v1/store.ts';
import {
  networkFixture,
  nodeFixture,
  secretFixture,
  serviceFixture,
  taskFixture,
} from '../../support/objects.ts';

const FIRST_STATES = [TaskState.NEW, TaskState.PENDING, TaskState.RUNNING, TaskState.FAILED];
const id = fc.integer({ min: 0, max: 5 }).map((n) => `id${n}`);
const name = fc.constantFrom('a', 'b', 'c');
const state = fc.constantFrom(...FIRST_STATES);
const tableWithNames = fc.constantFrom('service', 'network', 'secret');
/** Which version an update names: the stored one, or another. */
const freshness = fc.oneof({ weight: 4, arbitrary: fc.constant(true) }, fc.constant(false));

type Step = (store: Store) => StoreAction;

const named = (table: string, objectId: string, objectName: string) => {
  const fields = { id: objectId };
  switch (table) {
    case 'service':
      return {
        table: 'service',
        object: serviceFixture({ ...fields, spec: { name: objectName } }),
      };
    case 'network':
      return {
        table: 'network',
        object: networkFixture({ ...fields, spec: { name: objectName } }),
      };
    default:
      return { table: 'secret', object: secretFixture({ ...fields, spec: { name: objectName } }) };
  }
};
const change = (
  store: Store,
  table: TableName,
  object: Tables[TableName],
  verb: 'create' | 'update',
  fresh: boolean,
): StoreAction => {
  if (verb === 'create') return createAction(table, object);
  const stored = store.get(table, object.id);
  const version = (stored?.meta?.version ?? 1) - (fresh ? 0 : 1);
  const meta = { version, createdAtMs: 0, updatedAtMs: 0 };
  return updateAction(table, { ...object, meta });
};
const verb = fc.constantFrom('create' as const, 'update' as const);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(tableWithNames, id, name, verb, freshness).map(([kind, i, n, v, fresh]): Step => {
    const { table, object } = named(kind, i, n);
    return (store) => change(store, table as TableName, object, v, fresh);
  }),
  fc.tuple(id, id, id, state, verb, freshness).map(([i, service, node, s, v, fresh]): Step => {
    const object = taskFixture({
      id: i,
      serviceId: service,
      nodeId: node === 'id0' ? '' : node,
      status: { state: s },
    });
    return (store) => change(store, 'task', object, v, fresh);
  }),
  fc.tuple(id, name, verb, freshness).map(([i, hostname, v, fresh]): Step => {
    const object = nodeFixture({ id: i, description: { hostname } });
    return (store) => change(store, 'node', object, v, fresh);
  }),
  fc.tuple(id, state, fc.boolean(), fc.nat(3)).map(([i, s, healthy, atMs]): Step => {
    return () => taskStatusAction(i, TaskStatus.fromPartial({ state: s, healthy, atMs }));
  }),
  fc.tuple(id, state).map(
    ([i, s]): Step =>
      () =>
        taskDesiredStateAction(i, s),
  ),
  fc
    .tuple(id, fc.nat(9), fc.boolean(), fc.boolean())
    .map(([serviceId, atMs, isSet, isTold]): Step => {
      const record = { atMs, from: 1, to: atMs, inputJson: 'x'.repeat(3_000) };
      const rest = { ...(isSet && { setReplicas: atMs }), ...(isTold && { record }) };
      const decision = { serviceId, memory: { activeAtMs: atMs }, ...rest };
      return () => scaleDecisionAction(ScaleDecision.fromPartial(decision));
    }),
  fc.tuple(fc.constantFrom(...TABLE_NAMES), id, freshness).map(
    ([table, i, fresh]): Step =>
      (store) => {
        return removeAction(table, i, fresh ? 0 : (store.get(table, i)?.meta?.version ?? 1) - 1);
      },
  ),
);
const history = fc.array(fc.array(step, { minLength: 1, maxLength: 3 }), {
  maxLength: 40,
  size: 'max',
});

/** Everything a store holds, in one comparable value. */
const contents = (store: Store) =>
  TABLE_NAMES.map((table) =>
    [...store.all(table)]
      .map((object) => toStoreObject(table, object))
      .sort((a, b) => ((a.kind?.value.id ?? '') < (b.kind?.value.id ?? '') ? -1 : 1)),
  );
const ids = (list: Iterable<{ id: string }>) => [...list].map((one) => one.id).sort();

test('replicas, snapshots, indexes and followers of the changes all agree', (t) => {
  let [applied, refused] = [0, 0];
  fc.assert(
    fc.property(history, fc.nat(), (transactions, cut) => {
      const leader = new Store();
      const follower = new Store();
      let late: Store | undefined;
      const outcomes: Outcome[][] = [[], []];
      leader.onOutcome((_, outcome) => outcomes[0]?.push(outcome));
      follower.onOutcome((_, outcome) => outcomes[1]?.push(outcome));
      const mirror = new Map<string, unknown>();
      leader.onCommit((batch) => follow(mirror, batch));
      // Hears nothing of the middle of the history, then gets a snapshot in place of it.
      const cutOff = new Store();
      const itsMirror = new Map<string, unknown>();
      cutOff.onCommit((batch) => follow(itsMirror, batch));
      const [lostAt, foundAt] = [cut % 10, (cut % 10) + (cut % 7)];

      for (const [i, steps] of transactions.entries()) {
        const index = i + 1;
        const before = contents(leader);
        const data = StoreTransaction.encode({
          id: `t${index}`,
          atMs: index,
          actions: steps.map((make) => make(leader)),
        }).finish();
        leader.apply(index, data);
        follower.apply(index, data);
        late?.apply(index, data);
        if (i < lostAt || i > foundAt) cutOff.apply(index, data);
        else if (i === foundAt) cutOff.restore(index, [...leader.snapshot()]);
        if (outcomes[0]?.at(-1)?.kind === 'rejected') {
          refused += 1;
          t.deepEqual(contents(leader), before, 'a refused transaction changes nothing');
        } else {
          applied += 1;
        }
        if (i === cut % transactions.length) {
          late = new Store();
          late.restore(index, [...leader.snapshot()]);
        }
      }

      t.deepEqual(outcomes[0], outcomes[1]);
      const expected = contents(leader);
      t.deepEqual(contents(follower), expected);
      const bytes = (store: Store) => Buffer.concat([...store.snapshot()]);
      for (const store of [follower, late ?? follower]) {
        t.deepEqual(bytes(store), bytes(leader), 'equal state gives equal snapshots');
      }
      if (late !== undefined) t.deepEqual(contents(late), expected);
      const copy = new Store();
      copy.restore(leader.index, [...leader.snapshot()]);
      for (const store of [leader, copy, late ?? leader, cutOff]) checkIndexes(store);
      checkMirror(mirror, leader);
      if (transactions.length > foundAt) {
        t.deepEqual(contents(cutOff), expected);
        checkMirror(itsMirror, cutOff);
      }
    }),
    { seed: 20_260_101, numRuns: 150 },
  );
  t.true(applied > 500 && refused > 500, `both outcomes are tried: ${applied}, ${refused}`);

  function follow(mirror: Map<string, unknown>, { changes, index }: ChangeBatch) {
    for (const { action, table, object, previous } of changes) {
      const key = `${table}/${object.id}`;
      t.is(mirror.get(key), previous, 'what was before is what was told before');
      if (action === 'remove') mirror.delete(key);
      else {
        t.true((object.meta?.version ?? 0) <= index);
        mirror.set(key, object);
      }
    }
  }

  function checkMirror(mirror: ReadonlyMap<string, unknown>, store: Store) {
    let count = 0;
    for (const table of TABLE_NAMES) {
      for (const object of store.all(table)) {
        t.is(mirror.get(`${table}/${object.id}`), object);
        count += 1;
      }
    }
    t.is(mirror.size, count);
  }

  function checkIndexes(store: Store) {
    const tasks = [...store.all('task')];
    for (let n = 0; n <= 5; n++) {
      const key = `id${n}`;
      t.deepEqual(
        ids(store.tasksOfService(key)),
        ids(tasks.filter(({ serviceId }) => serviceId === key)),
      );
      t.deepEqual(ids(store.tasksOfNode(key)), ids(tasks.filter(({ nodeId }) => nodeId === key)));
    }
    for (const table of ['service', 'network', 'secret'] as const) {
      for (const wanted of ['a', 'b', 'c']) {
        const owners = [...store.all(table)].filter(({ spec }) => spec?.name === wanted);
        t.true(owners.length <= 1, 'a name has one owner');
        t.is(store.byName(table, wanted), owners[0]);
      }
    }
    for (const hostname of ['a', 'b', 'c']) {
      const nodes = [...store.all('node')].filter((n) => n.description?.hostname === hostname);
      t.is(store.byName('node', hostname)?.id, ids(nodes)[0]);
    }
  }
});

test('a watcher that resumes from any index gets exactly the batches after it', async (t) => {
  await fc.assert(
    fc.asyncProperty(history, fc.nat(), async (transactions, pick) => {
      const store = new Store();
      const batches: ChangeBatch[] = [];
      store.onCommit((batch) => batches.push(batch));
      for (const [i, steps] of transactions.entries()) {
        const actions = steps.map((make) => make(store));
        store.apply(i + 1, StoreTransaction.encode({ id: 'x', atMs: 0, actions }).finish());
      }
      const from = pick % (transactions.length + 1);
      const expected = batches.filter(({ index }) => index > from);
      const stop = new AbortController();
      const seen: ChangeBatch[] = [];
      if (expected.length > 0) {
        for await (const batch of store.watch({ from, signal: stop.signal })) {
          seen.push(batch);
          if (seen.length === expected.length) stop.abort();
        }
      }
      t.deepEqual(seen, expected);
    }),
    { seed: 20_260_102, numRuns: 100 },
  );
});
