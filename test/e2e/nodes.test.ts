// Hosts of a cluster as an operator sees them: joining, tokens, leaving, availability.
import test from 'ava';
import { TestCluster, until } from './support/cluster.ts';

const cluster = new TestCluster('e2e-node');
test.before(() => cluster.up());
test.after.always(() => cluster.down());

test.serial('all hosts are ready managers, one of them leads', async (t) => {
  await cluster.ready(cluster.host(1), 3);
  const nodes = await cluster.nodes(cluster.host(2));
  t.is(nodes.filter(({ ManagerStatus }) => ManagerStatus?.Leader).length, 1);
  t.deepEqual(nodes.map(({ Description }) => Description.Hostname).sort(), ['h1', 'h2', 'h3']);
  t.regex(
    await cluster.ok(cluster.host(3), 'info'),
    /Swarm: active[\s\S]*Is Manager: true[\s\S]*Managers: 3/,
  );
  const version = await cluster.ok(cluster.host(3), 'version --format {{.Server.Version}}');
  const listed = await cluster.ok(cluster.host(3), 'node ls --format {{.EngineVersion}}');
  t.deepEqual(listed.split('\n'), [version, version, version]);
});

test.serial('a host joins with a token as a worker, and leaves again', async (t) => {
  const host = await cluster.add('h4');
  const manager = cluster.host(1);
  const token = await cluster.ok(manager, 'swarm join-token -q worker');
  const remote = `${manager.address}:2377`;

  const malformed = await cluster.docker(host, `swarm join --token SWMTKN-1-nonsense ${remote}`);
  t.not(malformed.code, 0);
  t.regex(malformed.stderr, /invalid join token/);
  // Right digest, wrong secret.
  const guess = `${token.slice(0, -25)}${'0'.repeat(25)}`;
  const wrong = await cluster.docker(host, `swarm join --token ${guess} ${remote}`);
  t.not(wrong.code, 0);
  t.regex(wrong.stderr, /token/);
  t.regex(await cluster.ok(host, 'info'), /Swarm: inactive/);

  await cluster.ok(host, `swarm join --advertise-addr ${host.address} --token ${token} ${remote}`);
  await cluster.ready(manager, 4);
  const refused = await cluster.docker(host, 'node ls');
  t.not(refused.code, 0);
  t.regex(
    refused.stderr,
    /This node is not a swarm manager\. Worker nodes can't be used to view or modify cluster state\./,
  );

  await cluster.create(manager, 'onworker', '-d --constraint node.role==worker');
  const [task] = await cluster.running(manager, 'onworker', 1);
  const worker = (await cluster.nodes(manager)).find(
    ({ Description }) => Description.Hostname === 'h4',
  );
  t.is(task?.NodeID, worker?.ID);
  await cluster.ok(manager, 'service rm onworker');

  await cluster.ok(host, 'swarm leave');
  await until('the left node to be down', async () =>
    (await cluster.nodes(manager)).some(
      ({ Description, Status }) => Description.Hostname === 'h4' && Status.State === 'down',
    ),
  );
  await cluster.ok(manager, 'node rm', worker?.ID ?? '');
  t.is((await cluster.nodes(manager)).length, 3);
  t.regex(await cluster.ok(host, 'info'), /Swarm: inactive/);
  await cluster.local('remove', '--host', 'h4');
});

test.serial('an old token is refused after its rotation', async (t) => {
  const manager = cluster.host(1);
  const before = await cluster.ok(manager, 'swarm join-token -q worker');
  const after = await cluster.ok(manager, 'swarm join-token --rotate -q worker');
  t.not(after, before);
  const host = await cluster.add('h5');
  const { code, stderr } = await cluster.docker(
    host,
    `swarm join --token ${before} ${manager.address}:2377`,
  );
  t.not(code, 0);
  t.regex(stderr, /token/);
  await cluster.local('remove', '--host', 'h5');
});

test.serial(
  'a drained node loses its tasks, a paused one gets none, an active one gets them again',
  async (t) => {
    const manager = cluster.host(1);
    await cluster.create(manager, 'web', '-d --replicas 6');
    await cluster.running(manager, 'web', 6);
    const drained = (await cluster.nodes(manager)).find(
      ({ Description }) => Description.Hostname === 'h3',
    );
    await cluster.ok(manager, 'node update --availability drain h3');
    await until('no task on h3', async () => {
      const tasks = (await cluster.tasks(manager, 'web')).filter(
        ({ Status }) => Status.State === 'running',
      );
      return tasks.length === 6 && tasks.every(({ NodeID }) => NodeID !== drained?.ID);
    });
    await cluster.ok(manager, 'node update --availability pause h3');
    await cluster.ok(manager, 'service scale -d web=8');
    const paused = await cluster.running(manager, 'web', 8);
    t.true(paused.every(({ NodeID }) => NodeID !== drained?.ID));
    await cluster.ok(manager, 'node update --availability active h3');
    await cluster.ok(manager, 'service update --detach --force --update-parallelism 0 web');
    await until('tasks on h3 again', async () =>
      (await cluster.tasks(manager, 'web')).some(
        ({ NodeID, Status }) => Status.State === 'running' && NodeID === drained?.ID,
      ),
    );
  },
);
