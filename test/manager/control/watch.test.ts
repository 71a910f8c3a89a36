// Where a watch may be resumed: what the indexes of its chunks promise.

import test from 'ava';
import { createAction, updateAction } from '../../../manager/store/tables.ts';
import { isShoalError } from '../../../shared/errors.ts';
import { type WatchChunk, WatchRequest } from '../../../shared/gen/shoal/v1/control.ts';
import { controlFixture } from '../../support/control.ts';
import { configFixture, serviceFixture, taskFixture } from '../../support/objects.ts';

type Fixture = Awaited<ReturnType<typeof controlFixture>>;

function watch({ control }: Fixture, request: Partial<WatchRequest>) {
  const { signal } = new AbortController();
  const chunks = control.watch(WatchRequest.fromPartial(request), signal)[Symbol.asyncIterator]();
  return async (): Promise<WatchChunk> => {
    const { value, done } = await chunks.next();
    if (done === true) throw new Error('the watch has ended');
    return value;
  };
}

const names = ({ events }: WatchChunk) =>
  events.map(({ object }) =>
    object?.kind?.$case === 'config' ? object.kind.value.spec?.name : undefined,
  );

test('a watch that was lost before anything happened resumes where it began', async (t) => {
  const fixture = await controlFixture();
  const began = await watch(fixture, { kinds: ['config'] })();
  t.deepEqual(began, { index: fixture.store.index, atMs: 0, events: [] });
  await fixture.createFile('config', 'missed');
  const resumed = watch(fixture, { kinds: ['config'], afterIndex: began.index });
  t.deepEqual(names(await resumed()), ['missed']);
});

test('what is resumed after any chunk of a large entry brings all that came after that chunk', async (t) => {
  const fixture = await controlFixture();
  const data = Buffer.alloc(400 * 1024); // two do not fit into a chunk
  const next = watch(fixture, { kinds: ['config'] });
  await next();
  const large = ['one', 'two', 'three'].map((name) => configFixture({ spec: { name, data } }));
  await fixture.writer.write(large.map((config) => createAction('config', config)));
  let told: (string | undefined)[] = [];
  for (let i = 0; i < 3; i += 1) {
    const chunk = await next();
    told = [...told, ...names(chunk)];
    const end = await fixture.createFile('config', `end-${i}`);
    const resumed = watch(fixture, { kinds: ['config'], afterIndex: chunk.index });
    const after: (string | undefined)[] = [];
    while (!after.includes(`end-${i}`)) after.push(...names(await resumed()));
    for (const name of ['one', 'two', 'three']) {
      t.true(told.includes(name) || after.includes(name), `${name} after chunk ${i}`);
    }
    await fixture.remove('config', end);
  }
  t.deepEqual(told, ['one', 'two', 'three']);
});

test('a watch is told how far it is while only other kinds change, before the history runs out', async (t) => {
  const fixture = await controlFixture();
  const { store, writer } = fixture;
  const next = watch(fixture, { kinds: ['config'] });
  const began = await next();
  const service = serviceFixture();
  await writer.write([createAction('service', service)]);
  const tasks = Array.from({ length: 50 }, () => taskFixture({ serviceId: service.id }));
  await writer.write(tasks.map((task) => createAction('task', task)));
  let last = began;
  for (let round = 0; round < 198; round += 1) {
    const stored = tasks
      .map(({ id }) => store.get('task', id))
      .filter((task) => task !== undefined);
    await writer.write(stored.map((task) => updateAction('task', { ...task, slot: round + 1 })));
    if (round % 6 === 5) last = await next(); // 300 changes
  }
  t.deepEqual(last.events, []);
  await fixture.createFile('config', 'new');
  const resumed = watch(fixture, { kinds: ['config'], afterIndex: last.index });
  let chunk = await resumed();
  while (chunk.events.length === 0) chunk = await resumed();
  t.deepEqual(names(chunk), ['new']);
  const tooOld = await t.throwsAsync(
    watch(fixture, { kinds: ['config'], afterIndex: began.index }),
  );
  t.true(isShoalError(tooOld, 'failed-precondition'));
  t.regex(tooOld.message, /no longer kept: list again/);
});
