// Locking and unlocking over the API, on a host of its own: it answers little while it is locked.

import anyTest, { type TestFn } from 'ava';
import { EngineHost } from '../../support/engine-host.ts';
import { httpJson } from '../../support/engine-http.ts';

const test = anyTest as TestFn<{ host: EngineHost }>;

test.beforeEach(async (t) => {
  t.context.host = await EngineHost.start();
});
test.afterEach.always((t) => t.context.host.close());

test('a locked node does nothing but wait for its key', async (t) => {
  const { host } = t.context;
  host.standing = { ...host.standing, localState: 'locked' };
  host.unlockedBy = 'SWMKEY-1-right';
  const nodes = await httpJson(host.socketPath, 'GET', '/nodes');
  t.is(nodes.status, 503);
  t.true(nodes.body.includes('Swarm is encrypted and needs to be unlocked before it can be used.'));
  const wrong = await httpJson(host.socketPath, 'POST', '/swarm/unlock', { UnlockKey: 'wrong' });
  t.is(wrong.status, 401);
  t.true(wrong.body.includes('swarm could not be unlocked: invalid key provided'));
  const UnlockKey = 'SWMKEY-1-right';
  t.is((await httpJson(host.socketPath, 'POST', '/swarm/unlock', { UnlockKey })).status, 200);
  t.is((await httpJson(host.socketPath, 'GET', '/nodes')).status, 200);
});

test('the unlock key is shown while managers lock themselves', async (t) => {
  const { socketPath } = t.context.host;
  const { json } = await httpJson(socketPath, 'GET', '/swarm');
  const { Version, Spec } = json as { Version: { Index: number }; Spec: object };
  const key = async () => (await httpJson(socketPath, 'GET', '/swarm/unlockkey')).json;
  t.deepEqual(await key(), { UnlockKey: '' });
  const locked = { ...Spec, EncryptionConfig: { AutoLockManagers: true } };
  const update = (version: number, query = '') =>
    httpJson(socketPath, 'POST', `/swarm/update?version=${version}${query}`, locked);
  t.is((await update(Version.Index)).status, 200);
  const first = (await key()) as { UnlockKey: string };
  t.regex(first.UnlockKey, /^SWMKEY-1-/);
  const now = (await httpJson(socketPath, 'GET', '/swarm')).json as typeof json & {
    Version: { Index: number };
  };
  t.is((await update(now.Version.Index, '&rotateManagerUnlockKey=true')).status, 200);
  t.notDeepEqual(await key(), first);
});
