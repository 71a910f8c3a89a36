// Managers come and go by the docker CLI: roles, leaving, removal, lost disks, lost quorum, another
// address, a backup. State and services stay.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';
import { type Host, IMAGE, TestCluster, until } from './support/cluster.ts';

type NodeJson = Readonly<{
  ID: string;
  Spec: Readonly<{ Role: string }>;
  Description: Readonly<{ Hostname: string }>;
  Status: Readonly<{ State: string; Addr: string }>;
  ManagerStatus?: Readonly<{ Leader?: boolean; Reachability: string; Addr: string }>;
}>;

const SHOAL = fileURLToPath(new URL('../../deploy/shoal', import.meta.url));
const cluster = new TestCluster('e2e-mem');
test.before(() => cluster.up(3, 1));
test.after.always(() => cluster.down());

const state = (host: Host, ...path: string[]) => join(host.socket, '../state', ...path);
const containers = async (host: Host) =>
  (await cluster.ok(host, 'ps', '-q', '--no-trunc')).split('\n').filter(Boolean).sort();

async function nodesAt(host: Host): Promise<readonly NodeJson[]> {
  const { status, body, text } = await cluster.api(host, 'GET', '/nodes');
  if (status !== 200) throw new Error(text);
  return body as readonly NodeJson[];
}

async function selfOf(host: Host): Promise<Readonly<{ NodeID: string; LocalNodeState: string }>> {
  const { body } = await cluster.api(host, 'GET', '/info');
  return (body as { Swarm: { NodeID: string; LocalNodeState: string } }).Swarm;
}

/** Those that answer as members, leader included. */
function managers(host: Host, names: readonly string[]): Promise<readonly NodeJson[]> {
  return until(`managers ${names.join(', ')} at ${host.name}`, async () => {
    const nodes = await nodesAt(host);
    const members = nodes.filter(({ ManagerStatus }) => ManagerStatus !== undefined);
    const good = members.filter(
      ({ ManagerStatus, Status }) =>
        ManagerStatus?.Reachability === 'reachable' && Status.State === 'ready',
    );
    const found = good.map(({ Description }) => Description.Hostname).sort();
    const hasLeader = good.some(({ ManagerStatus }) => ManagerStatus?.Leader);
    const isSo = hasLeader && members.length === names.length && `${found}` === `${names}`;
    return isSo ? nodes : undefined;
  });
}

async function joinAs(role: 'manager' | 'worker', host: Host, by: Host): Promise<void> {
  const token = await cluster.ok(by, 'swarm', 'join-token', '-q', role);
  await cluster.ok(
    host,
    ...['swarm', 'join', '--token', token, '--advertise-addr', host.address],
    `${by.address}:2377`,
  );
}

const shoal = (host: Host, ...args: string[]) =>
  promisify(execFile)(SHOAL, ['--host', `unix://${host.socket}`, ...args]);

test.serial('promotion and demotion, of the leader too, leave the tasks alone', async (t) => {
  const [h1, h2] = [cluster.host(1), cluster.host(2)];
  await cluster.ready(h1, 3);
  await cluster.ok(h1, 'network', 'create', '-d', 'overlay', 'net');
  await cluster.ok(
    h1,
    ...['service', 'create', '-d', '--name', 'web', '--replicas', '6', '--network', 'net'],
    ...['--publish', '8080:80', IMAGE],
  );
  await cluster.running(h1, 'web', 6);
  const before = await Promise.all(cluster.hosts.map(containers));
  t.true(before.every((list) => list.length > 0));

  await cluster.giveRole(h1, 'promote', 'h2', 'h3');
  await managers(h1, ['h1', 'h2', 'h3']);
  await until(
    'a cluster call on h2',
    async () => (await cluster.docker(h2, 'node', 'ls')).code === 0,
  );

  await cluster.giveRole(h2, 'demote', 'h1');
  await managers(h2, ['h2', 'h3']);
  await until('no manager on h1', async () => !existsSync(state(h1, 'manager')));
  await cluster.worker(h1);
  t.is((await cluster.local('pids', '--host', 'h1')).match(/^shoal-manager /gm), null);

  await cluster.giveRole(h2, 'demote', 'h3');
  await managers(h2, ['h2']);
  const last = await cluster.docker(h2, 'node', 'demote', 'h2');
  t.regex(last.stderr, /attempting to demote the last manager of the swarm/);
  const leave = await cluster.docker(h2, 'swarm', 'leave');
  t.regex(leave.stderr, /Removing the last manager erases all current state of the swarm/);

  await cluster.giveRole(h2, 'promote', 'h1', 'h3');
  await managers(h2, ['h1', 'h2', 'h3']);
  t.deepEqual(await Promise.all(cluster.hosts.map(containers)), before, 'no task was touched');
});

test.serial('nobody is taken out whom the others need', async (t) => {
  const [h1, h2] = [cluster.host(1), cluster.host(2)];
  const rmManager = await cluster.docker(h1, 'node', 'rm', '--force', 'h2');
  t.regex(rmManager.stderr, /is a cluster manager and is a member of the raft cluster/);
  await cluster.local('kill', '--host', 'h3');
  await until('h3 to be missed', async () => {
    const h3 = (await nodesAt(h1)).find(({ Description }) => Description.Hostname === 'h3');
    return h3?.ManagerStatus?.Reachability === 'unreachable';
  });
  const demote = await cluster.docker(h1, 'node', 'demote', 'h2');
  t.regex(
    demote.stderr,
    /can't remove member from the raft: this would result in a loss of quorum/,
  );
  const leave = await cluster.docker(h2, 'swarm', 'leave');
  t.regex(leave.stderr, /leaves 1 managers out of 3\. Without a Raft quorum your swarm/);
  await cluster.local('start', '--host', 'h3');
  await managers(h1, ['h1', 'h2', 'h3']);
});

test.serial('a manager leaves in order, is removed, and comes back as another node', async (t) => {
  const [h1, h3] = [cluster.host(1), cluster.host(3)];
  const { NodeID } = await selfOf(h3);
  t.regex((await cluster.docker(h3, 'swarm', 'leave')).stderr, /participating as a manager/);
  await cluster.ok(h3, 'swarm', 'leave', '--force');
  await managers(h1, ['h1', 'h2']);
  t.deepEqual(await containers(h3), []);
  t.false(existsSync(state(h3, 'manager')));
  await cluster.ok(h1, 'node', 'rm', NodeID);
  await joinAs('manager', h3, h1);
  await managers(h1, ['h1', 'h2', 'h3']);
  t.not((await selfOf(h3)).NodeID, NodeID);
  await cluster.running(h1, 'web', 6);
});

test.serial(
  'a node that was removed while it ran stops its tasks, and may join again',
  async (t) => {
    const [h1, h3] = [cluster.host(1), cluster.host(3)];
    const { NodeID } = await selfOf(h3);
    await cluster.ok(h1, 'service', 'update', '-d', '--force', 'web');
    await until('tasks on h3', async () => (await containers(h3)).length > 0);
    await cluster.giveRole(h1, 'demote', NodeID);
    await managers(h1, ['h1', 'h2']);
    await cluster.worker(h3);
    await until('h3 to be ready as a worker', async () =>
      (await nodesAt(h1)).some(({ ID, Status }) => ID === NodeID && Status.State === 'ready'),
    );
    t.regex(
      (await cluster.docker(h1, 'node', 'rm', NodeID)).stderr,
      /is not down and can't be removed/,
    );
    await cluster.ok(h1, 'node', 'rm', '--force', NodeID);
    await until('h3 to give up', async () => (await selfOf(h3)).LocalNodeState === 'inactive');
    t.deepEqual(await containers(h3), []);
    await joinAs('manager', h3, h1);
    await managers(h1, ['h1', 'h2', 'h3']);
    t.not((await selfOf(h3)).NodeID, NodeID);
  },
);

test.serial('a manager that lost its log joins again by itself', async (t) => {
  const [h1, h3] = [cluster.host(1), cluster.host(3)];
  const { NodeID } = await selfOf(h3);
  await cluster.local('kill', '--host', 'h3');
  await rm(state(h3, 'manager', 'raft'), { recursive: true });
  await cluster.writeConfig(h1, 'while-h3-was-away'); // h3 may have led
  await cluster.local('start', '--host', 'h3');
  await managers(h1, ['h1', 'h2', 'h3']);
  t.is((await selfOf(h3)).NodeID, NodeID, 'the same node');
  await until('h3 to know', async () =>
    (await cluster.docker(h3, 'config', 'ls')).stdout.includes('while-h3-was-away'),
  );
});

test.serial('a manager comes back under another address, and counts', async (t) => {
  const h1 = cluster.host(1);
  await cluster.local('kill', '--host', 'h3');
  await cluster.local('move', '--host', 'h3', '--to', '33');
  const moved = (await cluster.local('start', '--host', 'h3')).split(' ')[1] ?? '';
  t.regex(moved, /\.33$/);
  await until('the table to have it', async () =>
    (await nodesAt(h1)).some(
      ({ ManagerStatus, Status }) =>
        ManagerStatus?.Addr === `${moved}:2377` &&
        ManagerStatus.Reachability === 'reachable' &&
        Status.Addr === moved,
    ),
  );
  await until('the agents to have it', async () => {
    const record = await readFile(state(cluster.host(2), 'node.json'), 'utf8');
    return record.includes(`${moved}:2377`);
  });
  // It votes from there: with another one gone, two of three are it and h1.
  await cluster.local('kill', '--host', 'h2');
  await cluster.writeConfig(h1, 'moved');
  await cluster.local('start', '--host', 'h2');
  await managers(h1, ['h1', 'h2', 'h3']);
});

test.serial(
  'one manager goes on alone with all the state, and the others join it anew',
  async (t) => {
    const [h1, h2] = [cluster.host(1), cluster.host(2)];
    const { stdout: secret } = await cluster.docker(h1, 'secret', 'create', 'key', '/etc/hostname');
    t.truthy(secret);
    const service = await cluster.ok(h1, 'service', 'inspect', 'web', '--format', '{{.ID}}');
    await Promise.all(['h2', 'h3'].map((name) => cluster.local('kill', '--host', name)));
    await until('the quorum to be missed', async () => {
      const { status } = await cluster.api(h1, 'GET', '/nodes');
      return status === 503;
    });
    const init = await cluster.ok(h1, 'swarm', 'init', '--force-new-cluster');
    t.regex(init, /Swarm initialized: current node/);
    await managers(h1, ['h1']);
    t.is(await cluster.ok(h1, 'service', 'inspect', 'web', '--format', '{{.ID}}'), service);
    t.regex(await cluster.ok(h1, 'secret', 'ls'), /key/);
    t.regex(await cluster.ok(h1, 'config', 'ls'), /moved/);
    t.regex(await cluster.ok(h1, 'network', 'ls'), /net\s+overlay/);
    await cluster.ok(h1, 'config', 'create', 'alone', '/etc/hostname');
    await until('all tasks on h1', async () => (await containers(h1)).length === 6);

    await Promise.all(['h2', 'h3'].map((name) => cluster.local('start', '--host', name)));
    await managers(h1, ['h1', 'h2', 'h3']);
    await until('h2 to have the new state', async () =>
      (await cluster.docker(h2, 'config', 'ls')).stdout.includes('alone'),
    );
    await cluster.running(h1, 'web', 6);
  },
);

test.serial('a backup brings the cluster back on new hosts', async (t) => {
  const h1 = cluster.host(1);
  const folder = await mkdtemp(join(tmpdir(), 'e2e-mem-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const [file, pass, wrong] = ['backup', 'pass', 'wrong'].map((name) => join(folder, name));
  if (file === undefined || pass === undefined || wrong === undefined) throw new Error('no paths');
  await writeFile(pass, 'correct horse\n');
  await writeFile(wrong, 'battery staple\n');
  const made = await shoal(h1, 'cluster', 'backup', file, '--passphrase-file', pass);
  t.regex(made.stdout, /objects of cluster/);
  t.is((await stat(file)).mode & 0o777, 0o600);
  const again = shoal(h1, 'cluster', 'backup', file, '--passphrase-file', pass);
  await t.throwsAsync(again, { message: /exists: name another file/ });
  const inUse = shoal(h1, 'cluster', 'restore', file, '--passphrase-file', pass);
  await t.throwsAsync(inUse, { message: /already part of a swarm/ });
  const token = await cluster.ok(h1, 'swarm', 'join-token', '-q', 'worker');

  await Promise.all(cluster.hosts.map(({ name }) => cluster.local('remove', '--host', name)));
  const [h5, h6] = [await cluster.add('h5'), await cluster.add('h6')];
  cluster.hosts = [h5, h6];
  const refused = shoal(h5, 'cluster', 'restore', file, '--passphrase-file', wrong);
  await t.throwsAsync(refused, { message: /the passphrase is wrong/ });
  await shoal(h5, 'cluster', 'restore', file, '--passphrase-file', pass);
  await cluster.ok(h6, 'swarm', 'join', '--token', token, `${h5.address}:2377`);
  await cluster.running(h5, 'web', 6);
  await until('the published port to answer', async () =>
    cluster.fetchFrom(h6, `http://${h5.address}:8080/cgi-bin/index.cgi`),
  );
  t.regex(await cluster.ok(h5, 'config', 'ls'), /alone/);
  t.regex(await cluster.ok(h5, 'secret', 'ls'), /key/);
  const nodes = await nodesAt(h5);
  t.is(nodes.filter(({ Status }) => Status.State === 'ready').length, 2);
  t.is(nodes.filter(({ Spec }) => Spec.Role === 'manager').length, 1);
  for (const { ID, Status } of nodes) {
    if (Status.State === 'down') await cluster.ok(h5, 'node', 'rm', ID);
  }
  t.is((await nodesAt(h5)).length, 2);
});
