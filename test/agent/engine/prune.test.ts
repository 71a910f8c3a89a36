// What nothing uses is taken away, and nothing else, over the real socket and control plane.

import anyTest, { type TestFn } from 'ava';
import { containerConfig } from '../../support/container-config.ts';
import { EngineHost } from '../../support/engine-host.ts';
import { httpJson } from '../../support/engine-http.ts';
import { imageFixture } from '../../support/fake-host.ts';

const test = anyTest as TestFn<{ host: EngineHost }>;

test.beforeEach(async (t) => {
  t.context.host = await EngineHost.start();
});
test.afterEach.always((t) => t.context.host.close());

async function ask(host: EngineHost, method: string, path: string, body?: object) {
  const { status, json, body: text } = await httpJson(host.socketPath, method, path, body);
  if (status >= 300) throw new Error(`${status} ${text}`);
  return json as Record<string, unknown>;
}

const filtered = (path: string, filters: Record<string, readonly string[]>) =>
  `${path}?filters=${encodeURIComponent(JSON.stringify(filters))}`;

test('containers that have ended go; those that run or are about to, and refused labels, stay', async (t) => {
  const { host } = t.context;
  const add = (labels: Record<string, string>, status: 'running' | 'exited' | 'created') => {
    const config = containerConfig('true', { labels });
    host.runtime.add(config, { status });
    return config.id;
  };
  add({}, 'running');
  add({}, 'created');
  const kept = add({ keep: 'yes' }, 'exited');
  const ended = add({}, 'exited');
  t.deepEqual(await ask(host, 'POST', filtered('/containers/prune', { 'label!': ['keep'] })), {
    ContainersDeleted: [ended],
    SpaceReclaimed: 1_000,
  });
  const young = filtered('/containers/prune', { until: ['1h'] });
  t.deepEqual((await ask(host, 'POST', young)).ContainersDeleted, []);
  t.deepEqual((await ask(host, 'POST', '/containers/prune')).ContainersDeleted, [kept]);
  t.is(host.runtime.containers.size, 2);
});

test('images: those without a name, or all that are unused; shared layers count once', async (t) => {
  const { host } = t.context;
  const layers = (...names: string[]) => ({
    diffIds: names,
    layerBytes: names.map(() => 100),
    sizeBytes: names.length * 100,
  });
  const used = imageFixture({ id: 'sha256:used', tags: [], ...layers('base', 'a') });
  const unnamed = imageFixture({ id: 'sha256:unnamed', tags: [], ...layers('base', 'b') });
  const named = imageFixture({ id: 'sha256:named', tags: ['x:1'], ...layers('base', 'b', 'c') });
  host.images.images.clear();
  for (const image of [used, unnamed, named]) host.images.images.set(image.id, image);
  host.runtime.add(containerConfig('true', { imageId: used.id }));
  const usage = await ask(host, 'GET', '/system/df');
  t.is(usage.LayersSize, 400);
  t.deepEqual(
    (usage.Images as { SharedSize: number }[]).map(({ SharedSize }) => SharedSize),
    [100, 200, 200],
  );
  t.deepEqual(await ask(host, 'POST', '/images/prune'), {
    ImagesDeleted: [{ Deleted: unnamed.id }],
    SpaceReclaimed: 0, // its layers are the named one's, too
  });
  const all = await ask(host, 'POST', filtered('/images/prune', { dangling: ['false'] }));
  t.deepEqual(all, {
    ImagesDeleted: [{ Untagged: 'x:1' }, { Deleted: named.id }],
    SpaceReclaimed: 200,
  });
  t.deepEqual([...host.images.images.keys()], [used.id]);
});

test('volumes: those without a name, or all that no container has', async (t) => {
  const { host } = t.context;
  for (const Name of ['held', 'free']) await ask(host, 'POST', '/volumes/create', { Name });
  const { Name: unnamed } = await ask(host, 'POST', '/volumes/create', {});
  host.runtime.add(
    containerConfig('true', {
      mounts: [
        {
          type: 'volume',
          name: 'held',
          source: '/v',
          target: '/v',
          readOnly: false,
          driver: 'local',
        },
      ],
    }),
    { status: 'exited' },
  );
  t.deepEqual((await ask(host, 'POST', '/volumes/prune')).VolumesDeleted, [unnamed]);
  const all = filtered('/volumes/prune', { all: ['true'] });
  t.deepEqual((await ask(host, 'POST', all)).VolumesDeleted, ['free']);
  const { Volumes } = await ask(host, 'GET', '/volumes');
  t.deepEqual(
    (Volumes as { Name: string }[]).map(({ Name }) => Name),
    ['held'],
  );
});

test('before API 1.42 a prune of volumes took named ones as well', async (t) => {
  const { host } = t.context;
  await ask(host, 'POST', '/volumes/create', { Name: 'free' });
  t.deepEqual((await ask(host, 'POST', '/v1.41/volumes/prune')).VolumesDeleted, ['free']);
});

test('networks that no service has go; the ingress network stays', async (t) => {
  const { host } = t.context;
  for (const Name of ['held', 'free']) {
    await ask(host, 'POST', '/networks/create', { Name, Driver: 'overlay' });
  }
  await ask(host, 'POST', '/services/create', {
    Name: 'user',
    TaskTemplate: { ContainerSpec: { Image: 'web:1' }, Networks: [{ Target: 'held' }] },
  });
  t.deepEqual(await ask(host, 'POST', '/networks/prune'), { NetworksDeleted: ['free'] });
  const overlays = await httpJson(
    host.socketPath,
    'GET',
    filtered('/networks', { driver: ['overlay'] }),
  );
  const names = (overlays.json as { Name: string }[]).map(({ Name }) => Name);
  t.deepEqual(names.sort(), ['held', 'ingress']);
});

test('there is no build cache, and more than one age is refused', async (t) => {
  const { host } = t.context;
  t.deepEqual(await ask(host, 'POST', '/build/prune'), { CachesDeleted: [], SpaceReclaimed: 0 });
  const path = filtered('/containers/prune', { until: ['1h', '2h'] });
  t.is((await httpJson(host.socketPath, 'POST', path)).status, 400);
});
