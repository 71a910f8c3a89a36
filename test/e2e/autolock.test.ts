// Managers that lock themselves, by the docker CLI: what is locked after a restart, what opens it, and that the key
// lies nowhere on a disk.
import { spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { type Host, type Output, TestCluster, until } from './support/cluster.ts';

const cluster = new TestCluster('e2e-lock');
test.before(() => cluster.up(3, 3));
test.after.always(() => (process.env.KEEP ? undefined : cluster.down()));

/** As an operator does: the CLI asks for the key on its standard input. */
function unlock(host: Host, key: string): Promise<Output> {
  return new Promise((resolve, reject) => {
    const child = spawn('docker', ['-H', `unix://${host.socket}`, 'swarm', 'unlock']);
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (part) => {
      stdout += part;
    });
    child.stderr.on('data', (part) => {
      stderr += part;
    });
    child.once('error', reject);
    child.once('exit', (code) => resolve({ code: code ?? -1, stdout, stderr }));
    child.stdin.end(`${key}\n`);
  });
}

const keyAt = (host: Host) => cluster.ok(host, 'swarm unlock-key -q');
const stateOf = (host: Host) => cluster.ok(host, 'info --format', '{{.Swarm.LocalNodeState}}');
const restart = async (host: Host) => {
  await cluster.local('kill', '--host', host.name);
  await cluster.local('start', '--host', host.name);
  await until(`${host.name} answers`, async () => (await stateOf(host)) !== '');
};
const isMember = (host: Host, by: Host) =>
  until(`${host.name} is a manager at work`, async () => {
    const nodes = await cluster.ok(
      by,
      'node ls --format',
      '{{.Hostname}} {{.ManagerStatus}} {{.Status}}',
    );
    return new RegExp(`^${host.name} (Leader|Reachable) Ready`, 'm').test(nodes);
  });
const pemOf = (host: Host) => readFile(join(host.socket, '../state/certificates/node.pem'), 'utf8');
const tlsKey = async (host: Host) => (await pemOf(host)).split('\n')[0];
const isLockedOnDisk = (host: Host) =>
  until(`${host.name} has a locked TLS key`, async () => {
    return (await tlsKey(host)) === '-----BEGIN ENCRYPTED PRIVATE KEY-----';
  });

async function pathsIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  const files = entries.filter((entry) => entry.isFile());
  return files.map((file) => join(file.parentPath, file.name)).sort();
}

/** All read again when names changed meanwhile: none is missed because it was renamed between listing and reading. */
function filesOf(folder: string): Promise<Buffer[]> {
  return until(`${folder} to keep its names`, async () => {
    const paths = await pathsIn(folder);
    const files = await Promise.all(paths.map((path) => readFile(path)));
    return `${await pathsIn(folder)}` === `${paths}` ? files : undefined;
  });
}

test.serial('managers lock themselves, are unlocked, change keys and stop doing so', async (t) => {
  const [first, second, third] = [cluster.host(1), cluster.host(2), cluster.host(3)];
  const { stdout } = await cluster.docker(first, 'swarm unlock-key');
  t.is(stdout.trim(), '');
  t.regex(await cluster.ok(first, 'swarm update --autolock=true'), /SWMKEY-1-/);
  const key = await keyAt(second);
  for (const host of cluster.hosts) await isLockedOnDisk(host);

  await restart(third);
  t.is(await stateOf(third), 'locked');
  const refused = await cluster.docker(third, 'node ls');
  t.true(refused.stderr.includes('Swarm is encrypted and needs to be unlocked'), refused.stderr);
  const wrong = await unlock(third, `SWMKEY-1-${'A'.repeat(43)}`);
  t.true(wrong.stderr.includes('swarm could not be unlocked: invalid key provided'), wrong.stderr);
  t.is((await unlock(third, key)).code, 0);
  await isMember(third, third);
  t.true((await unlock(third, key)).stderr.includes('swarm is not locked'));

  await cluster.local('kill', '--host', second.name, '--only', 'manager');
  await isMember(second, second);

  await cluster.local('stop', '--host', third.name);
  await cluster.ok(first, 'swarm unlock-key --rotate');
  const fresh = await keyAt(first);
  t.not(fresh, key);
  await cluster.local('start', '--host', third.name);
  await until('it is locked', async () => (await stateOf(third)) === 'locked');
  t.not((await unlock(third, fresh)).code, 0, 'it was away when the key changed');
  const before = await pemOf(third);
  t.is((await unlock(third, key)).code, 0);
  await until('it follows the new key', async () => (await pemOf(third)) !== before);
  await isMember(third, first);

  const raw = Buffer.from(fresh.slice('SWMKEY-1-'.length), 'base64');
  for (const host of cluster.hosts) {
    for (const part of ['manager', 'certificates']) {
      for (const content of await filesOf(join(host.socket, '../state', part))) {
        t.false(content.includes(raw) || content.includes(raw.toString('base64')));
      }
    }
  }

  await restart(third);
  t.not((await unlock(third, key)).code, 0);
  t.is((await unlock(third, fresh)).code, 0);
  await isMember(third, third);
  await cluster.ok(first, 'swarm update --autolock=false');
  for (const host of cluster.hosts) {
    await until('its TLS key is open', async () => {
      return (await tlsKey(host)) === '-----BEGIN PRIVATE KEY-----';
    });
  }
  await restart(third);
  await isMember(third, third);
});

test.serial(
  'a manager of a promotion has all its state after it was locked and unlocked',
  async (t) => {
    const [first, , third] = [cluster.host(1), cluster.host(2), cluster.host(3)];
    await cluster.ok(first, 'swarm update --autolock=true');
    const key = await keyAt(first);
    const { name } = third;
    await cluster.giveRole(first, 'demote', name);
    await cluster.worker(third);
    const id = await cluster.ok(third, 'info --format', '{{.Swarm.NodeID}}');
    await cluster.giveRole(first, 'promote', name);
    await isMember(third, first);
    await isLockedOnDisk(third);
    // What its log ends with is a change of members: the snapshot that the new key asks for is taken there.
    await restart(third);
    t.is((await unlock(third, key)).code, 0);
    await isMember(third, third);
    t.is(await cluster.ok(third, 'info --format', '{{.Swarm.NodeID}}'), id);
    await cluster.ok(first, 'swarm update --autolock=false');
  },
);
