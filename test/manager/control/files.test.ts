import test from 'ava';
import { isShoalError } from '../../../shared/errors.ts';
import { controlFixture } from '../../support/control.ts';

for (const kind of ['secret', 'config'] as const) {
  const max = { secret: 512_000, config: 1_024_000 }[kind];

  test(`the data of a ${kind} is larger than nothing and less than its limit`, async (t) => {
    const { createFile, store } = await controlFixture();
    const message = `${kind} data must be larger than 0 and less than ${max} bytes`;
    await t.throwsAsync(createFile(kind, 'none', ''), { message });
    await t.throwsAsync(createFile(kind, 'large', 'x'.repeat(max)), { message });
    const id = await createFile(kind, 'full', 'x'.repeat(max - 1));
    t.is(store.get(kind, id)?.spec?.data.length, max - 1);
  });

  test(`the name of a ${kind} is judged, and taken once`, async (t) => {
    const { createFile } = await controlFixture();
    await t.throwsAsync(createFile(kind, 'a b'), { message: /^invalid name, only 64/ });
    await t.throwsAsync(createFile(kind, 'a'.repeat(65)), { message: /^invalid name, only 64/ });
    await createFile(kind, 'a');
    const error = await t.throwsAsync(createFile(kind, 'a'), {
      message: `${kind} a already exists`,
    });
    t.true(isShoalError(error, 'already-exists'));
  });

  test(`of a ${kind} only labels can change`, async (t) => {
    const { createFile, updateObject, store } = await controlFixture();
    const id = await createFile(kind, 'a', 'data');
    const update = (spec: object, version = store.get(kind, id)?.meta?.version ?? 0) =>
      updateObject(kind, id, version, { spec: { name: 'a', ...spec } });
    await update({ labels: { x: '1' } });
    await update({ labels: { x: '2' }, data: Buffer.from('data') });
    t.deepEqual(store.get(kind, id)?.spec?.labels, { x: '2' });
    t.is(store.get(kind, id)?.spec?.data.toString(), 'data');
    const message = 'only updates to Labels are allowed';
    await t.throwsAsync(update({ data: Buffer.from('else') }), { message });
    await t.throwsAsync(update({ name: 'b' }), { message });
    await t.throwsAsync(update({}, 1), { message: 'update out of sequence' });
  });

  test(`a ${kind} that services use is not removed`, async (t) => {
    const { createFile, createService, remove, store } = await controlFixture();
    const id = await createFile(kind, 'a');
    const uses =
      kind === 'secret' ? { secrets: [{ secretId: id }] } : { configs: [{ configId: id }] };
    const task = { container: { image: 'web', ...uses } };
    await createService({ name: 'y', task });
    await t.throwsAsync(remove(kind, 'a'), {
      message: `${kind} 'a' is in use by the following service: y`,
    });
    await createService({ name: 'b', task });
    await t.throwsAsync(remove(kind, 'a'), {
      message: `${kind} 'a' is in use by the following services: b, y`,
    });
    await remove('service', 'y');
    await remove('service', 'b');
    await remove(kind, 'a');
    t.is(store.count(kind), 0);
  });
}

test('the data of a secret is in no answer, that of a config is', async (t) => {
  const { createFile, control, list, updateObject, store } = await controlFixture();
  const secret = await createFile('secret', 'pass', 'hush');
  const config = await createFile('config', 'conf', 'loud');
  const version = store.get('secret', secret)?.meta?.version ?? 0;
  const answers = [
    (await control.get({ kind: 'secret', id: secret, stale: false })).object,
    await updateObject('secret', secret, version, { spec: { name: 'pass' } }),
    ...(await list('secret')).objects,
  ];
  for (const kind of answers.map((answer) => answer?.kind)) {
    t.is(kind?.$case === 'secret' ? kind.value.spec?.data.length : undefined, 0);
  }
  const { object } = await control.get({ kind: 'config', id: config, stale: false });
  const kind = object?.kind;
  t.is(kind?.$case === 'config' ? kind.value.spec?.data.toString() : '', 'loud');
  t.is(store.get('secret', secret)?.spec?.data.toString(), 'hush', 'it is still stored');
});

test('a removal and a new user of a secret cannot slip past each other', async (t) => {
  const { createFile, createService, remove, store } = await controlFixture();
  const secretId = await createFile('secret', 'pass');
  const outcomes = await Promise.allSettled([
    createService({ task: { container: { image: 'web', secrets: [{ secretId }] } } }),
    remove('secret', 'pass'),
  ]);
  t.deepEqual(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'rejected'],
  );
  t.is(store.count('secret'), 1);
});
