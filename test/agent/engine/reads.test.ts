// Stale reads are asked for and marked; all others wait for the leader; both say at which index they were made.

import { setTimeout as delay } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { ShoalError } from '../../../shared/errors.ts';
import { EngineHost } from '../../support/engine-host.ts';
import { http, httpJson } from '../../support/engine-http.ts';

async function startHost(t: ExecutionContext) {
  const host = await EngineHost.start();
  t.teardown(() => host.close());
  const create = async (path: string, body: object) => {
    const { json } = await httpJson(host.socketPath, 'POST', path, body);
    return (json as { ID?: string; Id?: string }).ID ?? (json as { Id: string }).Id;
  };
  const network = await create('/networks/create', { Name: 'net', Driver: 'overlay' });
  const service = await create('/services/create', {
    Name: 'web',
    TaskTemplate: { ContainerSpec: { Image: 'lib/web' }, Networks: [{ Target: network }] },
    Mode: { Replicated: { Replicas: 1 } },
  });
  await create('/secrets/create', { Name: 'key', Data: 'a2V5' });
  await create('/configs/create', { Name: 'conf', Data: 'Y29uZg==' });
  let task: string | undefined;
  while (task === undefined || host.store.get('task', task)?.networks.length === 0) {
    [task] = [...host.store.tasksOfService(service)].map(({ id }) => id);
    await delay(10);
  }
  const paths = [
    '/services',
    '/services?status=1',
    '/services/web',
    '/services/web?insertDefaults=1',
    '/tasks',
    '/tasks?filters={"service":["web"],"node":["h1"]}',
    `/tasks/${task}`,
    '/nodes',
    '/nodes/h1',
    '/networks',
    '/networks/net',
    '/networks/net?verbose=1',
    '/secrets',
    '/secrets/key',
    '/configs',
    '/configs/conf',
  ];
  return { host, paths };
}

const withStale = (path: string) => `${path}${path.includes('?') ? '&' : '?'}stale=1`;

test('every read of the cluster says the index it was made at, and a stale one that it is stale', async (t) => {
  const { host, paths } = await startHost(t);
  for (const path of paths) {
    for (const isStale of [false, true]) {
      const { consensus, store } = host;
      const [earliest, barriers] = [store.index, consensus.barriers];
      const target = isStale ? withStale(path) : path;
      const { status, headers } = await http(host.socketPath, 'GET', encodeURI(target));
      t.is(status, 200, target);
      const index = Number(headers['shoal-index']);
      t.true(index >= earliest && index <= store.index, `${target}: index ${index}`);
      t.is(headers['shoal-stale'], isStale ? 'true' : undefined, target);
      if (isStale) t.is(consensus.barriers, barriers, `${target} waits for nobody`);
      else t.true(consensus.barriers > barriers, `${target} asks the leader`);
    }
  }
});

test('without a leader stale reads are answered, and no others', async (t) => {
  const { host, paths } = await startHost(t);
  host.consensus.barrierError = new ShoalError('unavailable', 'no leader');
  for (const path of paths) {
    const { status } = await http(host.socketPath, 'GET', encodeURI(withStale(path)));
    t.is(status, 200, path);
    // A host's own networks are shown with the cluster's.
    const fresh = await http(host.socketPath, 'GET', encodeURI(path));
    t.is(fresh.status, 503, path);
    t.is(fresh.headers['shoal-index'], undefined, path);
  }
});

test('what is not read from the cluster has no index, and what changes it is never stale', async (t) => {
  const { host } = await startHost(t);
  const version = await http(host.socketPath, 'GET', '/version?stale=1');
  t.is(version.headers['shoal-stale'], undefined);
  const { json } = await httpJson(host.socketPath, 'GET', '/secrets/key');
  const { ID } = json as { ID: string };
  const { consensus } = host;
  const { barriers } = consensus;
  const removed = await http(host.socketPath, 'DELETE', `/secrets/${ID}?stale=1`);
  t.is(removed.status, 204);
  t.true(consensus.barriers > barriers);
  host.standing = { ...host.standing, isManager: false };
  const local = await http(host.socketPath, 'GET', '/networks');
  t.deepEqual([local.status, local.headers['shoal-index']], [200, undefined]);
});

test('events go on where they were when the manager was away', async (t) => {
  const { host } = await startHost(t);
  const make = (name: string) =>
    httpJson(host.socketPath, 'POST', '/configs/create', { Name: name, Data: 'eA==' });
  const filters = encodeURIComponent('{"type":["config"]}');
  const { body } = await http(host.socketPath, 'GET', `/events?filters=${filters}`, {
    onHead: () => {
      void make('before').then(async () => {
        await delay(50);
        host.cutStreams();
        await make('meanwhile');
        await delay(1_200); // until it is asked again
        await make('after');
      });
    },
    until: (read) => read.includes('"after"'),
  });
  const names = body
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).Actor.Attributes.name);
  t.deepEqual(names, ['before', 'meanwhile', 'after']);
});
