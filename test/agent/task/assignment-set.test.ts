import test from 'ava';
import fc from 'fast-check';
import { AssignmentSet } from '../../../agent/task/assignment-set.ts';
import {
  type AssignmentChange,
  type AssignmentItem,
  Assignments,
} from '../../../shared/gen/shoal/v1/dispatcher.ts';
import { networkFixture, secretFixture, taskFixture } from '../../support/objects.ts';

const task = (id: string): AssignmentItem => ({
  item: { $case: 'task', value: taskFixture({ id }) },
});
const message = (complete: boolean, changes: AssignmentChange[], revision = 1): Assignments =>
  Assignments.fromPartial({ complete, revision, changes });

test('apply() tells new, changed and removed tasks of an incremental message', (t) => {
  const set = new AssignmentSet();
  set.apply(
    message(true, [
      { key: 'task/a', item: task('a') },
      { key: 'task/b', item: task('b') },
    ]),
  );
  const diff = set.apply(
    message(false, [{ key: 'task/a' }, { key: 'task/c', item: task('c') }], 2),
  );
  t.deepEqual(
    diff.tasks.map(({ id }) => id),
    ['c'],
  );
  t.deepEqual(diff.removedTasks, ['a']);
  t.deepEqual(
    set
      .tasks()
      .map(({ id }) => id)
      .sort(),
    ['b', 'c'],
  );
  t.is(set.revision, 2);
});

test('apply() of a complete message removes what it does not name', (t) => {
  const set = new AssignmentSet();
  set.apply(
    message(true, [
      { key: 'task/a', item: task('a') },
      { key: 'task/b', item: task('b') },
    ]),
  );
  t.deepEqual(set.apply(message(true, [{ key: 'task/b', item: task('b') }])).removedTasks, ['a']);
});

test('forDisk() holds neither secrets nor registry credentials', (t) => {
  const set = new AssignmentSet();
  const value = taskFixture({
    id: 'a',
    spec: { container: { image: 'x', registryAuth: 'Y3JlZHM=' } },
  });
  set.apply(
    message(true, [
      { key: 'task/a', item: { item: { $case: 'task', value } } },
      { key: 'secret/s', item: { item: { $case: 'secret', value: secretFixture({ id: 's' }) } } },
      {
        key: 'network/n',
        item: { item: { $case: 'network', value: networkFixture({ id: 'n' }) } },
      },
    ]),
  );
  const saved = Assignments.decode(Assignments.encode(set.forDisk()).finish());
  t.deepEqual(saved.changes.map(({ key }) => key).sort(), ['network/n', 'task/a']);
  const restored = new AssignmentSet();
  restored.apply(saved);
  t.is(restored.tasks()[0]?.spec?.container?.registryAuth, '');
  t.truthy(restored.view('node', 4789).networks.get('n'));
});

test('a task is draining as long as its last item says so, and never on disk', (t) => {
  const set = new AssignmentSet();
  set.apply(message(true, [{ key: 'task/a', item: { ...task('a'), draining: true } }]));
  t.true(set.isDraining('a'));
  t.false(set.isDraining('b'));
  const restored = new AssignmentSet();
  restored.apply(set.forDisk());
  t.false(restored.isDraining('a'));
  set.apply(message(false, [{ key: 'task/a', item: task('a') }]));
  t.false(set.isDraining('a'));
});

test('what is to be measured is told by service, is no matter of networks and not for the disk', (t) => {
  const set = new AssignmentSet();
  const sampling: AssignmentItem = {
    item: { $case: 'sampling', value: { serviceId: 's', resources: true, requests: false } },
  };
  set.apply(message(true, [{ key: 'task/a', item: task('a') }]));
  const diff = set.apply(message(false, [{ key: 'sampling/s', item: sampling }]));
  t.deepEqual(diff, { tasks: [], removedTasks: [], networkChanged: false });
  t.deepEqual([...set.samplings()], [['s', { serviceId: 's', resources: true, requests: false }]]);
  const restored = new AssignmentSet();
  restored.apply(set.forDisk());
  t.is(restored.samplings().size, 0);
  set.apply(message(false, [{ key: 'sampling/s' }]));
  t.is(set.samplings().size, 0);
});

test('any way of splitting changes into messages gives the same set', (t) => {
  const change = fc.record({ id: fc.constantFrom('a', 'b', 'c', 'd'), present: fc.boolean() });
  fc.assert(
    fc.property(fc.array(fc.array(change, { maxLength: 5 }), { maxLength: 8 }), (batches) => {
      const stepwise = new AssignmentSet();
      const wanted = new Set<string>();
      for (const batch of batches) {
        stepwise.apply(
          message(
            false,
            batch.map(({ id, present }) => ({
              key: `task/${id}`,
              ...(present ? { item: task(id) } : {}),
            })),
          ),
        );
        for (const { id, present } of batch) {
          if (present) wanted.add(id);
          else wanted.delete(id);
        }
      }
      return (
        stepwise
          .tasks()
          .map(({ id }) => id)
          .sort()
          .join() === [...wanted].sort().join()
      );
    }),
  );
  t.pass();
});
