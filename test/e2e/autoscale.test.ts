// Services that follow their load: CPU under a client, queues that fill and empty, none and the first connection.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { IMAGE, OVERTAKEN, TestCluster, until } from './support/cluster.ts';

const cluster = new TestCluster('e2e-auto');
const ended: (() => Promise<void>)[] = [];
let folder = '';
let runs = 0;
test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-autoscale-'));
  await cluster.up(3, 3);
  await cluster.ready(cluster.host(1), 3);
});
test.after.always(async () => {
  for (const end of ended.reverse()) await end();
  await cluster.down();
  await rm(folder, { recursive: true, force: true });
});

const LOCAL_CLUSTER = fileURLToPath(new URL('../../deploy/local-cluster', import.meta.url));
const QUEUE = fileURLToPath(new URL('support/queue.ts', import.meta.url));

/** A program in h1's namespaces; returns how to end it. */
function run(...command: string[]): () => Promise<void> {
  const pidFile = join(folder, `${runs++}.pid`);
  const exec = ['exec', '--name', cluster.name, '--host', 'h1', '--'];
  const noting = ['sh', '-c', 'echo $$ >"$0"; exec "$@"', pidFile];
  const child = spawn(LOCAL_CLUSTER, [...exec, ...noting, ...command], { stdio: 'ignore' });
  const gone = once(child, 'exit');
  let isEnded = false;
  const end = async () => {
    if (isEnded) return;
    isEnded = true;
    // The host has a pid namespace of its own.
    await cluster.exec(cluster.host(1), 'kill', (await readFile(pidFile, 'utf8')).trim());
    await gone;
  };
  ended.push(end);
  return end;
}

type Autoscale = Readonly<{
  Replicas: number;
  Records:
    | readonly Readonly<{ From: number; To: number; Reason: string; Message: string }>[]
    | null;
  Last?: Readonly<{
    Reason: string;
    Message: string;
    Metrics: readonly Readonly<{ Name: string; Error?: string }>[] | null;
  }>;
}>;

async function state(service: string): Promise<Autoscale> {
  const { status, body, text } = await cluster.api(
    cluster.host(2),
    'GET',
    `/services/${service}/autoscale`,
  );
  if (status !== 200) throw new Error(text);
  return body as Autoscale;
}

const replicasOf = async (service: string) => (await state(service)).Replicas;

async function push(kind: 'redis' | 'nats', address: string, jobs: number): Promise<void> {
  const h1 = cluster.host(1);
  const { code, stderr } = await cluster.exec(
    h1,
    process.execPath,
    QUEUE,
    kind,
    address,
    'push',
    String(jobs),
  );
  if (code !== 0) throw new Error(stderr);
}

test.serial('a compose file with five labels scales under load, and comes back down', async (t) => {
  const h1 = cluster.host(1);
  const file = join(folder, 'stack.yml');
  await writeFile(
    file,
    `services:
  web:
    image: ${IMAGE}
    ports: ["8081:80"]
    deploy:
      replicas: 1
      resources:
        limits: { cpus: "0.15" }
      labels:
        autoscale.min: "1"
        autoscale.max: "4"
        autoscale.cpu: "60%"
        autoscale.down.stabilize: "8s"
        autoscale.enable: "true"
`,
  );
  const deploy = `stack deploy --resolve-image never -c ${file} app`;
  await cluster.ok(h1, deploy);
  await cluster.running(h1, 'app_web', 1);
  const url = `http://${h1.address}:8081/cgi-bin/burn?5000`;
  await until('an answer', () => cluster.fetchFrom(h1, url));
  const stop = run('wrk', '-t', '1', '-c', '8', '-d', '200s', '--timeout', '5s', url);
  await until('three tasks or more', async () => (await replicasOf('app_web')) >= 3);
  const { Records } = await state('app_web');
  t.true(Records?.some(({ From, To, Message }) => To > From && /cpu/.test(Message)));
  // The same file again, while it may still add tasks: what the autoscaler set stays.
  await cluster.okOnceLet(h1, [OVERTAKEN], deploy);
  t.true((await replicasOf('app_web')) >= 3);
  const said = new Set<string>();
  await until('answers by three tasks', async () => {
    const answer = await cluster.fetchFrom(h1, url);
    if (answer !== undefined) said.add(answer);
    return said.size >= 3;
  });
  await stop();
  await until('one task again', async () => (await replicasOf('app_web')) === 1);
  await cluster.ok(h1, 'stack rm app');
});

test.serial('workers follow a Redis list from none and back, and outlive its server', async (t) => {
  const h1 = cluster.host(1);
  const address = `${h1.address}:6390`;
  const server = ['redis-server', '--port', '6390', '--bind', h1.address, '--save', ''];
  const stop = run(...server, '--protected-mode', 'no');
  await until('Redis', async () => {
    await push('redis', address, 1);
    return true;
  });
  const labels = `--label autoscale.enable=true --label autoscale.min=0 --label autoscale.max=3
    --label autoscale.redis-list.address=${address} --label autoscale.redis-list.key=jobs
    --label autoscale.redis-list.per-replica=10 --label autoscale.cooldown-to-zero=3s
    --label autoscale.down.stabilize=2s`;
  const take = `while :; do printf 'BLPOP jobs 1\\r\\n' | timeout 2 nc ${h1.address} 6390; sleep 0.3; done`;
  await cluster.create(h1, 'jobs', `-d --replicas 0 ${labels}`, 'sh', '-c', take);
  await until('the one job to be done, and none left', async () => {
    const { Replicas, Records } = await state('jobs');
    return Replicas === 0 && Records?.some(({ From, To }) => From === 0 && To > 0);
  });

  await push('redis', address, 120);
  await until('three workers', async () => (await replicasOf('jobs')) === 3);
  await stop();
  await until('the source to be told as broken', async () =>
    (await state('jobs')).Last?.Metrics?.some(
      ({ Error: said }) => said !== undefined && said !== '',
    ),
  );
  t.is(await replicasOf('jobs'), 3, 'a source that is gone is no sign of idleness');
  run(...server, '--protected-mode', 'no', '--loglevel', 'warning');
  await until('no workers, since the list went with the server', async () => {
    return (await replicasOf('jobs')) === 0;
  });
  await cluster.ok(h1, 'service rm jobs');
});

test.serial('workers follow a NATS consumer from none and back', async (t) => {
  const h1 = cluster.host(1);
  const address = `${h1.address}:4333`;
  run('nats-server', '-a', h1.address, '-p', '4333', '-js', '-sd', join(folder, 'nats'));
  await until('NATS', async () => {
    await push('nats', address, 60);
    return true;
  });
  const labels = `--label autoscale.enable=true --label autoscale.min=0 --label autoscale.max=3
    --label autoscale.nats.url=nats://${address} --label autoscale.nats.stream=JOBS
    --label autoscale.nats.consumer=work --label autoscale.nats.per-replica=10
    --label autoscale.cooldown-to-zero=3s --label autoscale.down.stabilize=2s`;
  const take = `mkfifo /tmp/out; exec 3<>/tmp/out
    next() { printf 'PUB $JS.API.CONSUMER.MSG.NEXT.JOBS.work in 1\\r\\n1\\r\\n' >&3; }
    nc ${h1.address} 4333 </tmp/out | {
      printf 'CONNECT {"verbose":false,"pedantic":false}\\r\\nSUB in 1\\r\\n' >&3; next
      while read -r word _ _ reply _; do case $word in
        MSG) printf 'PUB %s 4\\r\\n+ACK\\r\\n' "$reply" >&3; sleep 0.2; next ;;
        PING*) printf 'PONG\\r\\n' >&3 ;;
      esac; done; }`;
  await cluster.create(h1, 'mails', `-d --replicas 0 ${labels}`, 'sh', '-c', take);
  await until('three workers', async () => (await replicasOf('mails')) === 3);
  await until('none, when all is done', async () => (await replicasOf('mails')) === 0);
  const { Records } = await state('mails');
  t.true(Records?.some(({ From, To }) => From === 0 && To > 0));
  await cluster.ok(h1, 'service rm mails');
});

test.serial('the first connection to a service with no task is held, and answered', async (t) => {
  const [h1, h2] = [cluster.host(1), cluster.host(2)];
  const labels = `--label autoscale.enable=true --label autoscale.min=0 --label autoscale.max=2
    --label autoscale.requests=50/s --label autoscale.cooldown-to-zero=3s
    --label autoscale.down.stabilize=2s`;
  await cluster.ok(h1, 'network create -d overlay held-net');
  await cluster.create(
    h1,
    'held',
    `-d --replicas 0 --publish 8082:80 --network held-net ${labels}`,
    // Longer than to the client's first repetition, which would find nobody.
    ...['sh', '-c', 'sleep 2; exec serve'],
  );
  await cluster.create(h1, 'asker', '-d --network held-net', 'sleep', '100000');
  const [asker] = await cluster.running(h1, 'asker', 1);
  if (asker === undefined) throw new Error('no asker');
  t.is(await replicasOf('held'), 0);

  const url = `http://${h2.address}:8082/cgi-bin/index.cgi`;
  const byPort = await cluster.exec(h1, 'curl', '-sS', '--max-time', '60', url);
  t.regex(byPort.stdout, /^Hello from/);
  await until('none again', async () => (await replicasOf('held')) === 0);
  await cluster.running(h1, 'held', 0);

  const byName = await cluster.execIn(asker, 'wget -q -O- http://held/cgi-bin/index.cgi');
  t.regex(byName.stdout, /^Hello from/);
  await cluster.ok(h1, 'service rm held asker');
});
