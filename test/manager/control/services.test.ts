import test from 'ava';
import { updateAction } from '../../../manager/store/tables.ts';
import { isShoalError } from '../../../shared/errors.ts';
import type { Service } from '../../../shared/gen/shoal/v1/objects.ts';
import { controlFixture, idOf } from '../../support/control.ts';
import { networkFixture } from '../../support/objects.ts';

const image = (name: string) => ({ task: { container: { image: name } } });

test('a service is created, read by id, name and prefix, and removed', async (t) => {
  const { createService, service, remove, store } = await controlFixture();
  const id = await createService({ name: 'web' });
  t.is((await service('web')).id, id);
  t.is((await service(id.slice(0, 12))).spec?.name, 'web');
  t.is((await service(id)).specVersion, 1);
  await remove('service', 'web');
  t.is(store.count('service'), 0);
  const error = await t.throwsAsync(service('web'), { message: 'service web not found' });
  t.true(isShoalError(error, 'not-found'));
  await t.throwsAsync(remove('service', 'web'), { message: 'service web not found' });
});

test('reads wait for the leader, unless they may be stale', async (t) => {
  const { control, createService, consensus } = await controlFixture();
  await createService();
  t.is(consensus.barriers, 0);
  await control.get({ kind: 'service', id: 'web', stale: false });
  t.is(consensus.barriers, 1);
  await control.get({ kind: 'service', id: 'web', stale: true });
  t.is(consensus.barriers, 1);
  await control.getCluster();
  t.is(consensus.barriers, 2);
  await control.getCluster({ stale: true });
  t.is(consensus.barriers, 2);
});

test('a name that is taken is refused in the words of Swarm, also when two come at once', async (t) => {
  const { createService, store } = await controlFixture();
  const outcomes = await Promise.allSettled([createService(), createService()]);
  t.deepEqual(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
  const error = await t.throwsAsync(createService(), {
    message: 'name conflicts with an existing object: service web already exists',
  });
  t.true(isShoalError(error, 'already-exists'));
  t.is(store.count('service'), 1);
});

test('a service without a name gets one', async (t) => {
  const { createService, service } = await controlFixture();
  const id = await createService({ name: '' });
  t.is((await service(id)).spec?.name, `service-${id.slice(-8)}`);
});

test('of two clients that update the same version one is out of sequence', async (t) => {
  const { createService, service, updateService } = await controlFixture();
  const id = await createService();
  const { meta } = await service(id);
  const outcomes = await Promise.allSettled([
    updateService(id, meta?.version, { ...image('web:2') }),
    updateService(id, meta?.version, { ...image('web:3') }),
  ]);
  t.deepEqual(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'rejected'],
  );
  const error = await t.throwsAsync(updateService(id, meta?.version, {}), {
    message: 'update out of sequence',
  });
  t.true(isShoalError(error, 'out-of-sequence'));
  t.is((await service(id)).spec?.task?.container?.image, 'web:2');
});

test('an update that loses against a write inside the cluster is out of sequence', async (t) => {
  const { createService, service, updateService, writer, store } = await controlFixture();
  const id = await createService();
  const stored = store.get('service', id) as Service;
  const racing = writer.write([updateAction('service', { ...stored, allocationError: 'x' })]);
  const update = updateService(id, stored.meta?.version, image('web:2'));
  await racing;
  await t.throwsAsync(update, { message: 'update out of sequence' });
  t.is((await service(id)).allocationError, 'x');
});

test('spec_version counts changes of the task only, and only they begin an update', async (t) => {
  const { createService, service, updateService, clock } = await controlFixture();
  const id = await createService();
  const change = async (spec: Parameters<typeof updateService>[2]) => {
    await updateService(id, (await service(id)).meta?.version, spec);
    return await service(id);
  };
  const replicas = { mode: { $case: 'replicated' as const, value: { replicas: 5 } } };
  const scaled = await change(replicas);
  t.is(scaled.specVersion, 1);
  t.is(scaled.updateStatus, undefined);
  t.deepEqual(scaled.previousSpec?.mode, { $case: 'replicated', value: { replicas: 1 } });
  const updated = await change({ ...replicas, ...image('web:2') });
  t.is(updated.specVersion, 2);
  t.deepEqual(updated.updateStatus, {
    state: 'updating',
    startedAtMs: clock.now(),
    completedAtMs: 0,
    message: 'update in progress',
  });
  const forced = await change({
    ...replicas,
    task: { container: { image: 'web:2' }, forceUpdate: 1 },
  });
  t.is(forced.specVersion, 3);
  const hostPort = { targetPort: 80, publishedPort: 80, publishMode: 'host' };
  const task = { container: { image: 'web:2' }, forceUpdate: 1 };
  const published = await change({ ...replicas, task, endpoint: { ports: [hostPort] } });
  t.is(published.specVersion, 4, 'a host-mode port is part of the task');
  const ingress = { targetPort: 80, publishedPort: 81 };
  const first = await change({ ...replicas, task, endpoint: { ports: [hostPort, ingress] } });
  t.is(first.specVersion, 5, 'with the first ingress port tasks need the ingress network');
  const ports = [hostPort, ingress, { targetPort: 82, publishedPort: 82 }];
  const more = await change({ ...replicas, task, endpoint: { ports } });
  t.is(more.specVersion, 5, 'which others they are is no concern of theirs');
  t.is(more.updateStatus, undefined);
});

test('an update that changes nothing keeps the spec that a rollback leads to', async (t) => {
  const { createService, service, updateService } = await controlFixture();
  const id = await createService();
  for (const tag of ['web:2', 'web:2']) {
    await updateService(id, (await service(id)).meta?.version, image(tag));
  }
  t.is((await service(id)).previousSpec?.task?.container?.image, 'web:1');
});

test('a rollback takes the previous spec, and rolling back twice toggles', async (t) => {
  const { createService, service, updateService } = await controlFixture();
  const id = await createService();
  const rollback = async () => {
    const { meta } = await service(id);
    await updateService(id, meta?.version, image('ignored'), { rollback: true });
    const { spec, updateStatus, specVersion } = await service(id);
    return [spec?.task?.container?.image, updateStatus?.state, specVersion];
  };
  await t.throwsAsync(rollback(), { message: `service ${id} does not have a previous spec` });
  await updateService(id, (await service(id)).meta?.version, image('web:2'));
  t.deepEqual(await rollback(), ['web:1', 'rollback_started', 3]);
  t.deepEqual(await rollback(), ['web:2', 'rollback_started', 4]);
});

test('name and mode of a service never change', async (t) => {
  const { createService, service, updateService } = await controlFixture();
  const id = await createService();
  const { meta } = await service(id);
  await t.throwsAsync(updateService(id, meta?.version, { name: 'other' }), {
    message: 'renaming services is not supported',
  });
  await t.throwsAsync(updateService(id, meta?.version, { mode: { $case: 'global', value: {} } }), {
    message: 'service mode change is not allowed',
  });
});

test('registry credentials are never shown, and survive a client that sends back what it read', async (t) => {
  const { createService, service, updateService, store, list } = await controlFixture();
  const container = { image: 'web:1', registryAuth: 'SECRET-1' };
  const id = await createService({ task: { container } });
  const auth = () => store.get('service', id)?.spec?.task?.container?.registryAuth;
  const read = await service(id);
  t.is(read.spec?.task?.container?.registryAuth, '');
  t.is(auth(), 'SECRET-1');
  const back = { ...read.spec, ...image('web:2') } as never;
  const answer = await updateService(id, read.meta?.version, back);
  t.false(JSON.stringify(answer).includes('SECRET'));
  t.false(JSON.stringify(await list('service')).includes('SECRET'));
  t.is(auth(), 'SECRET-1');
  const renewed = { task: { container: { image: 'web:2', registryAuth: 'SECRET-2' } } };
  const before = (await service(id)).specVersion;
  await updateService(id, (await service(id)).meta?.version, renewed);
  t.is((await service(id)).specVersion, before, 'new credentials replace no task');
  t.is(auth(), 'SECRET-2');
  const version = async () => (await service(id)).meta?.version;
  await updateService(id, await version(), image('web:3'), { registryAuthFrom: 'previous-spec' });
  t.is(auth(), 'SECRET-1');
  await t.throwsAsync(
    updateService(id, await version(), image('web:4'), { registryAuthFrom: 'nowhere' }),
    { message: 'registryAuthFrom "nowhere" is unknown: expected spec or previous-spec' },
  );
});

test('ports that another service has are refused, by mode and protocol', async (t) => {
  const { createService, service, updateService, store, writer } = await controlFixture();
  const port = (publishedPort: number, publishMode = 'ingress', protocol = 'tcp') => ({
    endpoint: { ports: [{ targetPort: 80, publishedPort, publishMode, protocol }] },
  });
  const first = await createService({ name: 'first', ...port(80) });
  const hosted = await createService({ name: 'hosted', ...port(90, 'host') });
  const refuse = (spec: object, message: string) =>
    t.throwsAsync(createService({ name: 'late', ...spec }), { message });
  await refuse(
    port(80),
    `port '80' is already in use by service 'first' (${first}) as an ingress port`,
  );
  await refuse(
    port(80, 'host'),
    `port '80' is already in use by service 'first' (${first}) as an ingress port`,
  );
  await refuse(
    port(90),
    `port '90' is already in use by service 'hosted' (${hosted}) as a host-published port`,
  );
  await createService({ name: 'beside', ...port(90, 'host') });
  await createService({ name: 'datagrams', ...port(80, 'ingress', 'udp') });
  await updateService(first, (await service(first)).meta?.version, {
    name: 'first',
    ...image('web:2'),
    ...port(80),
  });
  const stored = store.get('service', first) as Service;
  const ports = [
    { name: '', protocol: 'tcp', targetPort: 81, publishedPort: 30_000, publishMode: 'ingress' },
  ];
  await writer.write([updateAction('service', { ...stored, endpoint: { ports, virtualIps: [] } })]);
  await refuse(
    port(30_000),
    `port '30000' is already in use by service 'first' (${first}) as an ingress port`,
  );
});

test('of two services that want one port at once only one gets it', async (t) => {
  const { createService } = await controlFixture();
  const endpoint = { ports: [{ targetPort: 80, publishedPort: 80 }] };
  const outcomes = await Promise.allSettled(
    ['a', 'b', 'c'].map((name) => createService({ name, endpoint })),
  );
  t.is(outcomes.filter(({ status }) => status === 'fulfilled').length, 1);
});

test('an ingress port needs the ingress network', async (t) => {
  const { createService, remove } = await controlFixture();
  await remove('network', 'ingress');
  const endpoint = { ports: [{ targetPort: 80 }] };
  await t.throwsAsync(createService({ endpoint }), {
    message: 'service needs ingress network, but no ingress network is present',
  });
  await t.notThrowsAsync(
    createService({ endpoint: { ports: [{ targetPort: 80, publishMode: 'host' }] } }),
  );
});

test('networks are resolved to ids by id or name, and must exist', async (t) => {
  const backend = networkFixture({ spec: { name: 'backend', driver: 'overlay' } });
  const { createService, service, store } = await controlFixture({ network: [backend] });
  const on = (...targets: string[]) => ({
    task: { container: { image: 'web' }, networks: targets.map((target) => ({ target })) },
  });
  for (const [name, target] of [
    ['a', 'backend'],
    ['b', backend.id],
  ] as const) {
    const id = await createService({ name, ...on(target) });
    t.is((await service(id)).spec?.task?.networks[0]?.target, backend.id);
  }
  const host = await createService({ name: 'c', ...on('host') });
  t.is((await service(host)).spec?.task?.networks[0]?.target, 'host');
  await t.throwsAsync(createService(on('nowhere')), {
    message: 'network nowhere not found',
    code: 'not-found',
  });
  await t.throwsAsync(createService(on('backend', backend.id)), {
    message: `TaskSpec: network ${backend.id} is given twice`,
  });
  await t.throwsAsync(createService(on('ingress')), {
    message: 'Service cannot be explicitly attached to the ingress network "ingress"',
  });
  const error = await t.throwsAsync(createService(on('bridge')));
  t.true(isShoalError(error, 'unimplemented'));
  t.is(store.count('service'), 3, 'nothing half-done');
});

test('secrets and configs are resolved by id or name, with the usual target filled in', async (t) => {
  const { createService, createFile, service } = await controlFixture();
  const secretId = await createFile('secret', 'pass');
  const configId = await createFile('config', 'conf');
  const id = await createService({
    task: {
      container: {
        image: 'web',
        secrets: [{ secretName: 'pass' }],
        configs: [{ configId, file: { name: '/etc/conf', uid: '1', gid: '1', mode: 0o400 } }],
      },
    },
  });
  const container = (await service(id)).spec?.task?.container;
  t.deepEqual(container?.secrets, [
    { secretId, secretName: 'pass', file: { name: 'pass', uid: '0', gid: '0', mode: 0o444 } },
  ]);
  t.like(container?.configs[0], { configId, configName: 'conf' });
});

test('secrets that do not exist, or have one target, are refused', async (t) => {
  const { createService, createFile } = await controlFixture();
  const id = await createFile('secret', 'pass');
  await createFile('secret', 'other');
  const file = { name: 'pass', uid: '0', gid: '0', mode: 0o444 };
  const refuse = (secrets: object[], message: string) =>
    t.throwsAsync(createService({ task: { container: { image: 'web', secrets } } }), { message });
  await refuse([{ secretName: 'none' }], 'secret not found: none');
  await refuse([{ secretId: id, secretName: 'renewed' }], 'secret not found: renewed');
  await refuse([{}], 'malformed secret reference');
  await refuse(
    [{ secretName: 'pass' }, { secretName: 'other', file }],
    "secret references 'pass' and 'other' have a conflicting target: 'pass'",
  );
  await refuse(
    [{ secretName: 'pass', file: { ...file, name: '../x' } }],
    'malformed file secret reference, invalid secret target name provided',
  );
  await refuse(
    [{ secretName: 'pass', file: { ...file, uid: 'root' } }],
    'secret pass: uid "root" is not a number',
  );
});

test('a follower does nothing: the error says that it is not the leader', async (t) => {
  const { createService, consensus, store } = await controlFixture();
  consensus.setStatus({ isLeader: false, leaderRaftId: '2' });
  const error = await t.throwsAsync(createService());
  t.true(isShoalError(error, 'unavailable'));
  t.is(store.count('service'), 0);
});

test('a request without an object, or with one that clients do not make, is refused', async (t) => {
  const { control, create, updateObject } = await controlFixture();
  await t.throwsAsync(control.create({ object: undefined }), {
    message: 'the object to create is missing',
  });
  await t.throwsAsync(create({ kind: { $case: 'service', value: {} as never } }), {
    message: 'the spec of the service is missing',
  });
  await t.throwsAsync(create({ kind: { $case: 'task', value: {} as never } }), {
    message: 'a task cannot be created by a client',
  });
  await t.throwsAsync(updateObject('network', 'x', 1, {}), { code: 'unimplemented' });
  await t.throwsAsync(control.get({ kind: 'volume', id: 'x', stale: true }), {
    message:
      'kind "volume" is unknown: expected one of node, service, task, network, secret, config',
  });
  t.is(idOf({ kind: undefined }), '');
});
