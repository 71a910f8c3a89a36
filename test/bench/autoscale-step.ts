// autoscale-step.ts [REPETITIONS]: three hosts, a web service that follows its CPU with the default settings. From the
// moment a client begins to load it: until the decision is written, until the first new task runs, until the count is
// steady, and what the client got per second before and after.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { TestCluster, until } from '../e2e/support/cluster.ts';

const repetitions = Number(process.argv[2] ?? 3);
const cluster = new TestCluster('bench-as');
const LOAD_S = 30;
const LOCAL_CLUSTER = fileURLToPath(new URL('../../deploy/local-cluster', import.meta.url));

/** Requests per second of eight clients for so many seconds. */
function load(url: string, seconds: number): Promise<number> {
  const child = spawn(
    LOCAL_CLUSTER,
    `exec --name ${cluster.name} --host h1 -- wrk -t 1 -c 8 -d ${seconds}s --timeout 5s ${url}`.split(
      ' ',
    ),
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let said = '';
  child.stdout.on('data', (part: Buffer) => {
    said += part.toString();
  });
  return new Promise((resolve) => {
    child.once('exit', () => resolve(Number(/Requests\/sec:\s+([\d.]+)/.exec(said)?.[1] ?? 0)));
  });
}

await cluster.up(3, 3);
try {
  const h1 = cluster.host(1);
  await cluster.ready(h1, 3);
  const url = `http://${h1.address}:8083/cgi-bin/burn?5000`;
  const running = async () =>
    (await cluster.tasks(h1, 'web')).filter(({ Status }) => Status.State === 'running').length;
  const labels =
    '--label-add autoscale.enable=true --label-add autoscale.max=5 --label-add autoscale.cpu=70%';
  for (let round = 1; round <= repetitions; round++) {
    await cluster.create(h1, 'web', '-d --limit-cpu 0.2 --publish 8083:80');
    await until('an answer', () => cluster.fetchFrom(h1, url));
    const before = await load(url, 5);
    await new Promise((resolve) => setTimeout(resolve, 10_000)); // that load is forgotten
    await cluster.ok(h1, `service update -d ${labels} web`);
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    const startMs = performance.now();
    const since = () => `${((performance.now() - startMs) / 1000).toFixed(2)} s`;
    const loaded = load(url, LOAD_S);
    const replicas = async () => {
      const { body } = await cluster.api(h1, 'GET', '/services/web');
      return (body as { Spec: { Mode: { Replicated: { Replicas: number } } } }).Spec.Mode.Replicated
        .Replicas;
    };
    await until('a decision', async () => (await replicas()) > 1);
    const decided = since();
    await until('a second task', async () => (await running()) > 1);
    const second = since();
    await loaded;
    const tasks = await running();
    const after = await load(url, 5);
    console.log(
      `round ${round}: decided ${decided}, second task running ${second}, ${tasks} tasks after ${LOAD_S} s, requests/s from ${before.toFixed(0)} to ${after.toFixed(0)}`,
    );
    await cluster.ok(h1, 'service rm web');
    await new Promise((resolve) => setTimeout(resolve, 3_000)); // its tasks are gone
  }
} finally {
  await cluster.down();
}
