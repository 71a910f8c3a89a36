// The root certificate changes while a service answers and a manager is off; tokens change.
import test from 'ava';
import { askHosts } from './support/ask-hosts.ts';
import { type Host, TestCluster, until } from './support/cluster.ts';

const cluster = new TestCluster('e2e-tls');
test.before(() => cluster.up(3, 3));
test.after.always(() => cluster.down());

type Swarm = Readonly<{
  RootRotationInProgress: boolean;
  TLSInfo: Readonly<{ TrustRoot: string }>;
  JoinTokens: Readonly<{ Worker: string; Manager: string }>;
}>;

async function swarmAt(host: Host): Promise<Swarm> {
  const { status, body, text: said } = await cluster.api(host, 'GET', '/swarm');
  if (status !== 200) throw new Error(said);
  return body as Swarm;
}

/** As `docker node ls` says it, by host name. */
async function tlsStatus(host: Host): Promise<string[]> {
  const lines = await cluster.ok(host, 'node ls --format', '{{.Hostname}} {{.TLSStatus}}');
  return lines.split('\n').sort();
}

const digestOf = (token: string) => token.split('-')[2];

test.serial('the root is rotated under load, and a manager that was off comes back', async (t) => {
  const [h1, h2, h3] = [cluster.host(1), cluster.host(2), cluster.host(3)];
  await cluster.ready(h1, 3);
  await cluster.create(
    h1,
    'web',
    '-d --replicas 2 --constraint node.hostname!=h3 --publish 8090:80',
  );
  await cluster.running(h1, 'web', 2);
  await until('an answer', () => cluster.fetchFrom(h1, `http://${h2.address}:8090/`));
  t.deepEqual(await tlsStatus(h1), ['h1 Ready', 'h2 Ready', 'h3 Ready']);
  const before = await swarmAt(h1);
  t.is((await cluster.ok(h1, 'swarm ca')).trim(), before.TLSInfo.TrustRoot.trim());
  const ids = (await cluster.nodes(h1)).map(({ ID }) => ID).sort();

  await cluster.local('kill', '--host', 'h3');
  await until('h3 to be down', async () =>
    (await cluster.nodes(h1)).some(
      ({ Description, Status }) => Description.Hostname === 'h3' && Status.State === 'down',
    ),
  );
  const ended = await askHosts(cluster, h1, [h1, h2], '8090/');
  // Attached: it waits for all nodes that are up, and not for h3.
  await cluster.ok(h1, 'swarm ca --rotate');
  const after = await swarmAt(h1);
  t.false(after.RootRotationInProgress);
  t.not(after.TLSInfo.TrustRoot, before.TLSInfo.TrustRoot);
  const report = await ended();
  t.true(report.asked > 10);
  t.deepEqual(report.failed, []);
  t.not(digestOf(after.JoinTokens.Worker), digestOf(before.JoinTokens.Worker));
  const [first, second] = await tlsStatus(h1);
  t.deepEqual([first, second], ['h1 Ready', 'h2 Ready']);

  await cluster.local('start', '--host', 'h3');
  await cluster.ready(h1, 3);
  await until('h3 with the new root', async () => (await tlsStatus(h1))[2] === 'h3 Ready');
  t.deepEqual((await cluster.nodes(h1)).map(({ ID }) => ID).sort(), ids, 'as the node it was');
  t.is((await swarmAt(h3)).TLSInfo.TrustRoot, after.TLSInfo.TrustRoot);
});

test.serial('docker swarm ca --rotate waits for all nodes and prints the new root', async (t) => {
  const h2 = cluster.host(2);
  const before = await swarmAt(h2);
  const said = await cluster.ok(h2, 'swarm ca --rotate');
  const after = await swarmAt(h2);
  t.false(after.RootRotationInProgress);
  t.not(after.TLSInfo.TrustRoot, before.TLSInfo.TrustRoot);
  t.true(said.includes(after.TLSInfo.TrustRoot.trim()));
  t.deepEqual(await tlsStatus(h2), ['h1 Ready', 'h2 Ready', 'h3 Ready']);
  const external = await cluster.docker(
    h2,
    'swarm update --external-ca protocol=cfssl,url=https://ca.example',
  );
  t.regex(external.stderr, /not supported yet: CAConfig\.ExternalCAs/);
});

test.serial('a token that was rotated lets nobody in', async (t) => {
  const h1 = cluster.host(1);
  const old = await cluster.ok(h1, 'swarm join-token -q worker');
  const token = await cluster.ok(h1, 'swarm join-token --rotate -q worker');
  const h4 = await cluster.add('h4');
  const join = (by: string) =>
    cluster.docker(
      h4,
      `swarm join --token ${by} --advertise-addr ${h4.address}`,
      `${h1.address}:2377`,
    );
  const refused = await join(old);
  t.not(refused.code, 0);
  t.regex(refused.stderr, /invalid join token/);
  t.is((await join(token)).code, 0);
  await cluster.ready(h1, 4);
});
