import test from 'ava';
import { countedSpec } from '../../../manager/control/scaled-replicas.ts';
import { updateAction } from '../../../manager/store/tables.ts';
import { type Service, ServiceSpec } from '../../../shared/gen/shoal/v1/objects.ts';
import { controlFixture } from '../../support/control.ts';

const FROM_2_TO_10 = { 'autoscale.min': '2', 'autoscale.max': '10', 'autoscale.cpu': '0.5' };
const RECOMMENDED = { ...FROM_2_TO_10, 'autoscale.mode': 'recommend' };
const specOf = (replicas: number, labels: Record<string, string>) =>
  ServiceSpec.fromPartial({
    name: 'web',
    labels,
    task: { container: { image: 'web:1' } },
    mode: { $case: 'replicated', value: { replicas } },
  });
const replicas = (spec: ServiceSpec | undefined) =>
  spec?.mode?.$case === 'replicated' ? spec.mode.value.replicas : undefined;

type Before = Readonly<{ labels: Record<string, string>; present: number; declared?: number }>;
const scaled = (present: number, declared: number): Before => ({
  labels: FROM_2_TO_10,
  present,
  declared,
});

/** [what happens, the service before, what is declared, labels declared, count then, declared count then] */
const TABLE: [string, Before | undefined, number, Record<string, string>, number, number?][] = [
  ['a service that is not scaled is created as declared', undefined, 5, {}, 5],
  ['a create begins with the declared count', undefined, 5, FROM_2_TO_10, 5, 5],
  ['a create begins with at least min', undefined, 0, FROM_2_TO_10, 2, 0],
  ['a create begins with at most max', undefined, 50, FROM_2_TO_10, 10, 50],
  ['recommending leaves the count alone', undefined, 50, RECOMMENDED, 50],
  ['the same file again keeps the count', scaled(7, 2), 2, FROM_2_TO_10, 7, 2],
  ['what was read is sent back with a new image', scaled(7, 2), 7, FROM_2_TO_10, 7, 2],
  ['another number is meant', scaled(7, 2), 5, FROM_2_TO_10, 5, 5],
  ['another number is applied within max', scaled(7, 2), 20, FROM_2_TO_10, 10, 20],
  ['another number is applied within min', scaled(7, 3), 1, FROM_2_TO_10, 2, 1],
  ['none at all pauses', scaled(7, 2), 0, FROM_2_TO_10, 0, 0],
  ['the file again after a pause goes on', scaled(0, 0), 2, FROM_2_TO_10, 2, 2],
  ['a service begins to be scaled', { labels: {}, present: 1 }, 1, FROM_2_TO_10, 2, 1],
  ['a service is scaled no more', scaled(7, 2), 7, {}, 7],
  ['a service is scaled no more, from a file', scaled(7, 2), 2, {}, 2],
  ['only recommended from now on', scaled(7, 2), 7, RECOMMENDED, 7],
  [
    'not only recommended from now on',
    { labels: RECOMMENDED, present: 20 },
    20,
    FROM_2_TO_10,
    10,
    20,
  ],
];
for (const [title, before, given, labels, count, declared] of TABLE) {
  test(`countedSpec(): ${title}`, (t) => {
    const stored = before && {
      spec: specOf(before.present, before.labels),
      declaredReplicas: before.declared,
    };
    const counted = countedSpec(specOf(given, labels), stored, true);
    t.is(replicas(counted.spec), count);
    t.is(counted.declaredReplicas, declared);
  });
}

test('a rollback is not about the count', (t) => {
  const stored = { spec: specOf(7, FROM_2_TO_10), declaredReplicas: 2 };
  const counted = countedSpec(specOf(3, FROM_2_TO_10), stored, false);
  t.is(replicas(counted.spec), 7);
  t.is(counted.declaredReplicas, 2);
});

const AUTOSCALE = {
  min: 2,
  max: 10,
  metrics: [{ kind: { $case: 'cpu' as const, value: { average: 0.5 } } }],
};

test('a client that does not know the field keeps it, one that means it takes it away', async (t) => {
  const { createService, service, updateService } = await controlFixture();
  const id = await createService({ autoscale: AUTOSCALE });
  const change = async (...[spec, options]: [object, object?]) => {
    await updateService(id, (await service(id)).meta?.version, spec, options);
    return (await service(id)).spec?.autoscale;
  };
  const image = { task: { container: { image: 'web:2' } } };
  t.like(await change(image), { max: 10 });
  t.like(await change({ ...image, autoscale: { ...AUTOSCALE, max: 12 } }), { max: 12 });
  t.like(await change({ ...image, autoscale: { mode: 'off' } }), { mode: 'off' });
  t.is(await change(image, { removeAutoscale: true }), undefined);
});

test('what the autoscaler set survives a deploy of the same file, and a rollback', async (t) => {
  const { createService, service, updateService, writer, store } = await controlFixture();
  const mode = (count: number) => ({
    mode: { $case: 'replicated' as const, value: { replicas: count } },
  });
  const file = { labels: FROM_2_TO_10, ...mode(3) };
  const id = await createService(file);
  t.is(replicas((await service(id)).spec), 3);
  const version = async () => (await service(id)).meta?.version;
  const stored = store.get('service', id) as Service;
  const byLoad = { ...stored, spec: { ...(stored.spec as ServiceSpec), ...mode(8) } };
  await writer.write([updateAction('service', byLoad)]);
  await updateService(id, await version(), { ...file, task: { container: { image: 'web:2' } } });
  t.is(replicas((await service(id)).spec), 8);
  t.is((await service(id)).spec?.task?.container?.image, 'web:2');
  await updateService(id, await version(), {}, { rollback: true });
  t.is(replicas((await service(id)).spec), 8);
  t.is((await service(id)).spec?.task?.container?.image, 'web:1');
  await updateService(id, await version(), { ...file, ...mode(40) });
  t.is(replicas((await service(id)).spec), 10);
  t.is((await service(id)).declaredReplicas, 40);
});

test('a file that says no count leaves it to the load, also where one was declared before', async (t) => {
  const { createService, service, updateService, writer, store } = await controlFixture();
  const mode = (count?: number) => ({
    mode: { $case: 'replicated' as const, value: count === undefined ? {} : { replicas: count } },
  });
  const id = await createService({ labels: FROM_2_TO_10, ...mode(3) });
  const version = async () => (await service(id)).meta?.version;
  const stored = store.get('service', id) as Service;
  const byLoad = { ...stored, spec: { ...(stored.spec as ServiceSpec), ...mode(8) } };
  await writer.write([updateAction('service', byLoad)]);
  await updateService(id, await version(), { labels: FROM_2_TO_10, ...mode() });
  t.is(replicas((await service(id)).spec), 8);
  t.is((await service(id)).declaredReplicas, 3);
  await updateService(id, await version(), { labels: {}, ...mode() });
  t.is(replicas((await service(id)).spec), 1, 'as in Swarm where nothing scales it');
});

test('secrets of a source must exist, and cannot be removed while they are named', async (t) => {
  const { createService, createFile, remove } = await controlFixture();
  const labels = {
    'autoscale.max': '5',
    'autoscale.redis-list.address': 'redis:6379',
    'autoscale.redis-list.key': 'jobs',
    'autoscale.redis-list.per-replica': '5',
    'autoscale.redis-list.password-secret': 'redis',
  };
  await t.throwsAsync(createService({ labels }), {
    message: 'Autoscale: secret not found: redis, which metric redis-list jobs is read with',
  });
  await createFile('secret', 'redis');
  const id = await createService({ labels });
  await t.throwsAsync(remove('secret', 'redis'), {
    message: /in use by the following service: web/,
  });
  await remove('service', id);
  await remove('secret', 'redis');
  t.pass();
});
