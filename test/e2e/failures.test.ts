// Daemons, hosts and links fail; services go on and no state is lost.
import test from 'ava';
import { IMAGE, TestCluster, until } from './support/cluster.ts';

const cluster = new TestCluster('e2e-fail');
test.before(() => cluster.up());
test.after.always(() => cluster.down());

const LIVE = ['running', 'starting', 'ready', 'preparing', 'assigned', 'accepted'];

test.serial(
  'shoald, the manager and containerd can be killed without a container restarting',
  async (t) => {
    const manager = cluster.host(1);
    await cluster.ready(manager, 3);
    await cluster.ok(manager, 'network create -d overlay net');
    await cluster.ok(
      manager,
      'service create --name steady --replicas 6 --network net --publish 8081:80',
      IMAGE,
    );
    const before = await cluster.running(manager, 'steady', 6);
    const pids = (tasks: typeof before) =>
      tasks.map(({ ID, Status }) => `${ID} ${Status.ContainerStatus?.PID}`).sort();
    const follower = cluster.hosts.find(({ name }) => name !== 'h1') ?? manager;
    for (const part of ['agent', 'manager', 'containerd']) {
      await cluster.local('kill', '--host', follower.name, '--only', part);
      await until(
        `${follower.name} to be back`,
        async () => (await cluster.docker(follower, 'node ls')).code === 0,
      );
      await cluster.ready(manager, 3);
      // The wiring stayed: the port answers on that host.
      await until('the port to answer', async () =>
        cluster.fetchFrom(manager, `http://${follower.address}:8081/cgi-bin/index.cgi`),
      );
      t.deepEqual(
        pids(await cluster.running(manager, 'steady', 6)),
        pids(before),
        `after the kill of ${part}`,
      );
    }
    // The containers themselves agree: exec works in one on the host that was hit.
    const node = (await cluster.nodes(manager)).find(
      ({ Description }) => Description.Hostname === follower.name,
    );
    const there = before.find(({ NodeID }) => NodeID === node?.ID);
    if (there === undefined) throw new Error('no task there');
    await until(
      'an exec in a container that outlived them',
      async () => (await cluster.execIn(there, 'echo alive')).stdout === 'alive\n',
    );
  },
);

test.serial(
  'the leader loses power during a scale-up: the service gets there all the same',
  async (t) => {
    const leader = await cluster.leader(cluster.host(1));
    const other = cluster.hosts.find(({ name }) => name !== leader.name) ?? cluster.host(2);
    await cluster.ok(other, 'service create --name grow --replicas 2', IMAGE);
    await cluster.ok(other, 'service scale -d grow=14');
    await cluster.local('kill', '--host', leader.name);
    // Writes go on elsewhere.
    await cluster.writeConfig(other, 'after-death');
    const dead = (await cluster.nodes(other)).find(
      ({ Description }) => Description.Hostname === leader.name,
    )?.ID;
    await until('14 tasks on the hosts left', async () => {
      const tasks = await cluster.tasks(other, 'grow');
      return (
        tasks.filter(({ NodeID, Status }) => NodeID !== dead && Status.State === 'running')
          .length === 14
      );
    });
    const live = (await cluster.tasks(other, 'grow')).filter(
      ({ NodeID, Status }) => NodeID !== dead && LIVE.includes(Status.State),
    );
    t.is(live.length, 14);
    await cluster.local('start', '--host', leader.name);
    await cluster.ready(other, 3);
    t.is(
      (await cluster.tasks(other, 'grow')).filter(({ Status }) => Status.State === 'running')
        .length,
      14,
    );
    await cluster.ok(other, 'service rm grow');
  },
);

test.serial('a host that lost power comes back, and is used again', async (t) => {
  const manager = await cluster.leader(cluster.host(1));
  const victim = cluster.hosts.find(({ name }) => name !== manager.name) ?? cluster.host(2);
  const id = (await cluster.nodes(manager)).find(
    ({ Description }) => Description.Hostname === victim.name,
  )?.ID;
  await cluster.ok(manager, 'service scale -d steady=6');
  await cluster.running(manager, 'steady', 6);
  await cluster.local('kill', '--host', victim.name);
  await until('the node to be down', async () =>
    (await cluster.nodes(manager)).some(({ ID, Status }) => ID === id && Status.State === 'down'),
  );
  await until('all tasks elsewhere', async () => {
    const tasks = (await cluster.tasks(manager, 'steady')).filter(
      ({ Status }) => Status.State === 'running',
    );
    return tasks.filter(({ NodeID }) => NodeID !== id).length === 6;
  });
  await cluster.local('start', '--host', victim.name);
  await cluster.ready(manager, 3);
  await cluster.ok(manager, 'service scale -d steady=12');
  const tasks = await cluster.running(manager, 'steady', 12);
  t.true(tasks.some(({ NodeID }) => NodeID === id));
  await until('the port to answer on the host that came back', async () =>
    cluster.fetchFrom(manager, `http://${victim.address}:8081/cgi-bin/index.cgi`),
  );
  await until('no container of a lost task', async () => {
    const shown = (await cluster.ok(victim, 'ps -q')).split('\n').filter(Boolean).length;
    return (
      shown ===
      (await cluster.tasks(manager, 'steady')).filter(
        ({ NodeID, Status }) => NodeID === id && Status.State === 'running',
      ).length
    );
  });
});

test.serial(
  'a host cut off from the others is replaced, and keeps to what they decided when it is back',
  async (t) => {
    const manager = await cluster.leader(cluster.host(1));
    const victim = cluster.hosts.find(({ name }) => name !== manager.name) ?? cluster.host(2);
    const id = (await cluster.nodes(manager)).find(
      ({ Description }) => Description.Hostname === victim.name,
    )?.ID;
    await cluster.local('partition', '--host', victim.name);
    await until('all tasks elsewhere', async () => {
      const tasks = (await cluster.tasks(manager, 'steady')).filter(
        ({ Status }) => Status.State === 'running',
      );
      return tasks.filter(({ NodeID }) => NodeID !== id).length === 12;
    });
    const leader = await cluster.leader(manager);
    await cluster.local('heal', '--host', victim.name);
    await cluster.ready(manager, 3);
    t.is((await cluster.leader(manager)).name, leader.name, 'the healed host unseated the leader');
    await until('exactly 12 containers in the cluster', async () => {
      const counts = await Promise.all(
        cluster.hosts.map(
          async (host) => (await cluster.ok(host, 'ps -q')).split('\n').filter(Boolean).length,
        ),
      );
      return counts.reduce((sum, count) => sum + count, 0) === 12;
    });
  },
);

test.serial('all hosts lose power and come back with their state', async (t) => {
  const before = await cluster.ok(
    cluster.host(1),
    'service inspect steady --format',
    '{{.ID}} {{.Spec.Mode.Replicated.Replicas}}',
  );
  const nodes = (await cluster.nodes(cluster.host(1))).map(({ ID }) => ID).sort();
  await Promise.all(cluster.hosts.map(({ name }) => cluster.local('kill', '--host', name)));
  await Promise.all(cluster.hosts.map(({ name }) => cluster.local('start', '--host', name)));
  const manager = cluster.host(2);
  await cluster.ready(manager, 3);
  // Another election may follow while all of them start. What is answered is right the first time.
  const after = await until('the service', () =>
    cluster.ok(
      manager,
      'service inspect steady --format',
      '{{.ID}} {{.Spec.Mode.Replicated.Replicas}}',
    ),
  );
  t.is(after, before);
  const known = await until('the nodes', () => cluster.nodes(manager));
  t.deepEqual(known.map(({ ID }) => ID).sort(), nodes);
  t.regex(await until('the configs', () => cluster.ok(manager, 'config ls')), /after-death/);
  await cluster.running(manager, 'steady', 12);
  for (const host of cluster.hosts) {
    await until(`the port to answer on ${host.name}`, async () =>
      cluster.fetchFrom(manager, `http://${host.address}:8081/cgi-bin/index.cgi`),
    );
  }
});
