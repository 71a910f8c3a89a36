import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { LocalVolumes } from '../../../agent/volume/io/local-volumes.ts';
import { isShoalError } from '../../../shared/errors.ts';
import { systemClock } from '../../../shared/io/system.ts';
import { SeededRandom } from '../../support/seeded-random.ts';

async function volumesIn(t: ExecutionContext) {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-volumes-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const open = () => new LocalVolumes(folder, systemClock, new SeededRandom(1));
  return { folder, open, volumes: open() };
}

test('ensure() makes a volume once, however many ask for it at the same time', async (t) => {
  const { volumes } = await volumesIn(t);
  const made = await Promise.all(
    ['1', '2', '3'].map((owner) => volumes.ensure('data', { labels: { owner } })),
  );
  t.is(new Set(made.map(({ createdAtMs }) => createdAtMs)).size, 1);
  t.deepEqual(made[2]?.labels, { owner: '1' });
  t.is((await volumes.list()).length, 1);
});

test('a volume and its files are there after a restart', async (t) => {
  const { volumes, open } = await volumesIn(t);
  const made = await volumes.ensure('data', { labels: { a: 'b' } });
  await writeFile(join(made.mountpoint, 'file'), '12345');
  t.deepEqual(await open().get('data'), made);
  t.is(await open().sizeBytes('data'), 5);
});

test('an empty name makes an anonymous volume, each time another', async (t) => {
  const { volumes } = await volumesIn(t);
  const [a, b] = [await volumes.ensure(''), await volumes.ensure('')];
  t.true(a.anonymous);
  t.regex(a.name, /^[0-9a-f]{64}$/);
  t.not(a.name, b.name);
});

test('a volume in use is kept, a removed one is gone with its files', async (t) => {
  const { volumes } = await volumesIn(t);
  const { mountpoint } = await volumes.ensure('data');
  await writeFile(join(mountpoint, 'file'), 'x');
  const inUse = await t.throwsAsync(volumes.remove('data', { force: true, users: ['c1'] }));
  t.true(isShoalError(inUse, 'failed-precondition'));
  t.is(inUse.message, 'remove data: volume is in use - [c1]');
  await volumes.remove('data', { force: false, users: [] });
  t.deepEqual(await volumes.list(), []);
  const gone = await t.throwsAsync(volumes.remove('data', { force: false, users: [] }));
  t.true(isShoalError(gone, 'not-found'));
  await t.notThrowsAsync(volumes.remove('data', { force: true, users: [] }));
});

test('names that leave the folder and drivers that are not here are refused', async (t) => {
  const { volumes } = await volumesIn(t);
  for (const name of ['..', '../x', 'a/b', '.hidden', 'x'.repeat(300), 'a\0b']) {
    const error = await t.throwsAsync(volumes.ensure(name), undefined, name);
    t.true(isShoalError(error, 'invalid-argument'));
    await t.throwsAsync(volumes.get(name));
    await t.throwsAsync(volumes.remove(name, { force: true, users: [] }));
  }
  const error = await t.throwsAsync(volumes.ensure('x', { driver: 'nfs' }));
  t.true(isShoalError(error, 'unimplemented'));
});

test('a folder that is half made or half removed is no volume, and can be made', async (t) => {
  const { volumes, folder } = await volumesIn(t);
  await mkdir(join(folder, 'half', '_data'), { recursive: true });
  await writeFile(join(folder, 'half', 'volume.json.new'), '{');
  await writeFile(join(folder, 'stray-file'), '');
  t.deepEqual(await volumes.list(), []);
  await volumes.ensure('half');
  t.is((await volumes.get('half')).name, 'half');
});

test('removeAnonymous() leaves volumes that somebody named', async (t) => {
  const { volumes } = await volumesIn(t);
  const [named, anonymous] = [await volumes.ensure('data'), await volumes.ensure('')];
  await volumes.removeAnonymous([named.name, anonymous.name, 'gone']);
  t.deepEqual(
    (await volumes.list()).map(({ name }) => name),
    ['data'],
  );
});
