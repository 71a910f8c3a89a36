// No request is lost while tasks of a service come and go: clients outside ask the published port of every host, a
// client task asks the virtual address, each request by a new connection.
import test from 'ava';
import { askHosts, type Report } from './support/ask-hosts.ts';
import { type Host, IMAGE, PAGE, type TaskView, TestCluster, until } from './support/cluster.ts';

const cluster = new TestCluster('e2e-drn');
test.before(() => cluster.up());
test.after.always(() => cluster.down());

// One that is up has to answer.
const HEALTH = [
  ...['--health-interval', '500ms', '--health-retries', '20'],
  ...['--health-cmd', `timeout 10 wget -q -O /dev/null http://127.0.0.1${PAGE}`],
];

/** Asks the virtual address from within the network. */
async function askVip(client: TaskView, vip: string): Promise<() => Promise<Report>> {
  await cluster.execIn(client, 'rm -f /tmp/stop');
  const loop = `n=0
while [ ! -f /tmp/stop ]; do
  n=$((n+1))
  said=$(timeout 10 wget -q -O /dev/null http://${vip}${PAGE} 2>&1) || echo "failed $n $(date +%T): $? $said"
  usleep 10000
done
echo "asked $n"`;
  const running = cluster.execIn(client, 'sh -c', loop);
  return async () => {
    await cluster.execIn(client, 'touch /tmp/stop');
    const lines = (await running).stdout.trim().split('\n');
    return {
      asked: Number(lines.at(-1)?.replace('asked ', '')),
      failed: lines.slice(0, -1),
    };
  };
}

const updated = (manager: Host) =>
  until('the update to be completed', async () => {
    const state = await cluster.ok(manager, 'service inspect web -f {{.UpdateStatus.State}}');
    return state === 'completed';
  });

test.serial('updates, scaling and draining a node lose no request', async (t) => {
  const manager = cluster.host(1);
  await cluster.ok(manager, 'network create -d overlay drain-net');
  await cluster.create(
    manager,
    'client',
    '-d --network drain-net --constraint node.hostname==h1',
    'sleep',
    '100000',
  );
  await cluster.ok(
    manager,
    'service create -d --name web --network drain-net --replicas 6 -p 8090:80',
    ...HEALTH,
    IMAGE,
  );
  const [client] = await cluster.running(manager, 'client', 1);
  if (client === undefined) throw new Error('no client');
  await cluster.running(manager, 'web', 6);
  const net = await cluster.ok(manager, 'network inspect -f {{.Id}} drain-net');
  const [web] = JSON.parse(await cluster.ok(manager, 'service inspect web'));
  const vips: { NetworkID: string; Addr: string }[] = web.Endpoint.VirtualIPs;
  const vip = vips.find(({ NetworkID }) => NetworkID === net)?.Addr.split('/')[0] ?? '';
  for (const { address } of cluster.hosts) {
    const url = `http://${address}:8090${PAGE}`;
    await until(`${url} to answer`, () => cluster.fetchFrom(manager, url));
  }
  await until('the virtual address to answer', async () => {
    const { code } = await cluster.execIn(client, `timeout 2 wget -q -O- http://${vip}${PAGE}`);
    return code === 0;
  });

  const endHosts = await askHosts(cluster, cluster.host(1), cluster.hosts, `8090${PAGE}`);
  const endVip = await askVip(client, vip);
  const step = async (what: string, doIt: () => Promise<unknown>) => {
    const startedMs = Date.now();
    await doIt();
    t.log(`${what}: ${Date.now() - startedMs} ms, from ${new Date(startedMs).toISOString()}`);
  };
  for (const order of ['start-first', 'stop-first']) {
    await step(order, async () => {
      const flags = `--update-parallelism 2 --update-monitor 500ms --update-order ${order}`;
      await cluster.ok(manager, `service update -d ${flags} --env-add ORDER=${order} web`);
      await updated(manager);
    });
  }
  await step('scaled down', async () => {
    await cluster.ok(manager, 'service scale -d web=3');
    await cluster.running(manager, 'web', 3);
    await until('the others to be gone', async () => {
      return (await cluster.tasks(manager, 'web', [])).length <= 3 + 6 * 2;
    });
  });
  await step('node drained', async () => {
    await cluster.ok(manager, 'node update --availability drain h3');
    await until('its tasks to run elsewhere', async () => {
      const h3 = (await cluster.nodes(manager)).find((node) => node.Description.Hostname === 'h3');
      const tasks = await cluster.running(manager, 'web', 3);
      return tasks.every(({ NodeID }) => NodeID !== h3?.ID);
    });
  });
  const [hosts, inside] = await Promise.all([endHosts(), endVip()]);
  t.log(`asked ${hosts.asked} times by published port, ${inside.asked} times by virtual address`);
  t.deepEqual(hosts.failed, []);
  t.deepEqual(inside.failed, []);
  t.true(hosts.asked > 100);
  t.true(inside.asked > 100);
});
