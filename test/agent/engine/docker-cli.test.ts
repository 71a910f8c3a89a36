// The unmodified docker CLI against the API, over the real control plane: what an operator types and
// sees. Where no docker CLI is installed these are skipped: api.test.ts covers the same routes.

import { spawnSync } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import anyTest, { type ExecutionContext, type TestFn } from 'ava';
import { EngineHost } from '../../support/engine-host.ts';

type Context = { host: EngineHost };
const hasDocker = spawnSync('docker', ['--version']).status === 0;
const test = (hasDocker ? anyTest.serial : anyTest.skip) as TestFn<Context>;

if (hasDocker) {
  (anyTest as TestFn<Context>).before(async (t) => {
    t.context.host = await EngineHost.start();
    const line = (stream: 1 | 2, data: string) => ({
      stream,
      at: '2026-01-01T00:00:00.000000001Z',
      data: new TextEncoder().encode(data),
      partial: false,
    });
    t.context.host.runtime.lines.push(line(1, 'hello'), line(2, 'oops'));
  });
  (anyTest as TestFn<Context>).after.always((t) => t.context.host.close());
}

/** Runs the command, which must succeed, and gives what it printed. */
async function docker(t: ExecutionContext<Context>, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await t.context.host.docker(args);
  t.is(code, 0, `docker ${args.join(' ')}: ${stdout}${stderr}`);
  return stdout;
}

/** The same with text for its stdin. */
async function dockerWith(t: ExecutionContext<Context>, input: string, ...args: string[]) {
  const { code, stdout, stderr } = await t.context.host.docker(args, { input });
  t.is(code, 0, `docker ${args.join(' ')}: ${stdout}${stderr}`);
  return stdout;
}

/** Runs the command, which must fail, and gives what it complained. */
async function fails(t: ExecutionContext<Context>, ...args: string[]): Promise<string> {
  const { code, stderr } = await t.context.host.docker(args);
  t.not(code, 0, `docker ${args.join(' ')} did not fail`);
  return stderr;
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    if (await holds()) return;
    await delay(50);
  }
  throw new Error('not reached');
}

/** The container, on this host, of a service that nothing else here touches. */
async function steadyContainer(t: ExecutionContext<Context>): Promise<string> {
  const { host } = t.context;
  if ((await host.docker(['service', 'inspect', 'steady'])).code !== 0) {
    const flags = '-d --name steady --constraint node.hostname==h1';
    await docker(t, 'service', 'create', ...flags.split(' '), 'web:1');
  }
  let id = '';
  await until(async () => {
    id = (await docker(t, 'ps', '-q', '--filter', 'name=steady')).trim();
    return id !== '';
  });
  return id;
}

test('version, info and node ls show the host and the cluster', async (t) => {
  t.regex(await docker(t, 'version'), /API version:\s+1\.48 \(minimum version 1\.24\)/);
  const info = await docker(t, 'info');
  t.regex(info, /Swarm: active/);
  t.regex(info, /Is Manager: true/);
  t.regex(info, /Nodes: 2/);
  const nodes = await docker(t, 'node', 'ls');
  t.regex(nodes, /\* +h1 +Ready +Active +Leader/);
  t.regex(nodes, / h2 +Ready +Active/);
  t.regex(await docker(t, 'node', 'inspect', '--pretty', 'self'), /Hostname:\s+h1/);
});

test('service create waits until the service has converged', async (t) => {
  const out = await docker(t, 'service', 'create', '--name', 'web', '--replicas', '3', 'web:1');
  t.regex(out, /overall progress: 3 out of 3 tasks/);
  t.regex(out, /verify: Service \w{25} converged/);
  t.regex(await docker(t, 'service', 'ls'), /web +replicated +3\/3 +web:1/);
  const tasks = await docker(t, 'service', 'ps', 'web');
  t.is(tasks.match(/web\.\d +web:1 +h[12] +Running +Running/g)?.length, 3);
});

test('every option of the list round-trips through create and inspect', async (t) => {
  await docker(t, 'network', 'create', '-d', 'overlay', '--subnet', '10.9.0.0/24', 'ov');
  await dockerWith(t, 'hush', 'secret', 'create', '-l', 'a=b', 'key', '-');
  await dockerWith(t, 'x = 1', 'config', 'create', 'conf', '-');
  const flags =
    '-d --network name=ov,alias=db --secret key --config source=conf,target=/etc/c,mode=0400 ' +
    '--mount type=volume,src=v1,dst=/v,volume-label=x=y --mount type=bind,src=/tmp,dst=/b,ro ' +
    '--mount type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=700 --limit-cpu 0.5 --limit-memory 64m ' +
    '--limit-pids 50 --reserve-cpu 0.1 --reserve-memory 16m --constraint node.role==manager ' +
    '--label l=1 --container-label cl=2 --restart-condition on-failure --restart-delay 2s ' +
    '--restart-max-attempts 3 --user 1000 --workdir /w --hostname hh --env E=1 ' +
    '--publish mode=host,target=90,published=9090 --stop-grace-period 3s --cap-add NET_ADMIN ' +
    '--sysctl net.core.somaxconn=1 --ulimit nofile=10:20 --dns 1.1.1.1 --host a:1.2.3.4 --init ' +
    '--health-cmd true --health-interval 5s --log-driver json-file --placement-pref spread=node.labels.z ' +
    '--update-parallelism 2 --update-delay 1s --update-order start-first --replicas-max-per-node 4';
  await docker(
    t,
    'service',
    'create',
    '--name',
    'full',
    ...flags.split(' '),
    'web:1',
    'sh',
    '-c',
    'x',
  );
  const inspect = async () =>
    JSON.parse(await docker(t, 'service', 'inspect', 'full', '--format', '{{json .Spec}}'));
  const spec = await inspect();
  t.like(spec.TaskTemplate.ContainerSpec, {
    Args: ['sh', '-c', 'x'],
    Env: ['E=1'],
    User: '1000',
    Dir: '/w',
    Hostname: 'hh',
    Init: true,
    StopGracePeriod: 3e9,
    CapabilityAdd: ['CAP_NET_ADMIN'],
    Hosts: ['1.2.3.4 a'],
    Labels: { cl: '2' },
  });
  t.like(spec.TaskTemplate, {
    Resources: {
      Limits: { NanoCPUs: 5e8, MemoryBytes: 64 << 20, Pids: 50 },
      Reservations: { NanoCPUs: 1e8, MemoryBytes: 16 << 20 },
    },
    RestartPolicy: { Condition: 'on-failure', Delay: 2e9, MaxAttempts: 3 },
    LogDriver: { Name: 'json-file' },
  });
  t.like(spec.UpdateConfig, { Parallelism: 2, Delay: 1e9, Order: 'start-first' });
  // The CLI reads the spec and sends all of it back: only the label may change.
  await docker(t, 'service', 'update', '-d', '--label-add', 'l2=2', 'full');
  const updated = await inspect();
  for (const one of [spec, updated]) {
    // In no order of its own: the CLI sorts them by source when it sends an update.
    one.TaskTemplate.ContainerSpec.Mounts.sort((a: { Target: string }, b: { Target: string }) =>
      a.Target < b.Target ? -1 : 1,
    );
  }
  t.deepEqual(updated, { ...spec, Labels: { l: '1', l2: '2' } });
  const pretty = await docker(t, 'service', 'inspect', '--pretty', 'full');
  t.regex(pretty, /Update order:\s+start-first/);
  t.regex(pretty, /PublishedPort = 9090/);
  t.regex(
    await fails(t, 'secret', 'rm', 'key'),
    /secret 'key' is in use by the following service: full/,
  );
  t.regex(await fails(t, 'network', 'rm', 'ov'), /is in use by service/);
  await docker(t, 'service', 'rm', 'full');
});

test('networks, secrets and configs are listed, inspected and removed', async (t) => {
  t.regex(await docker(t, 'network', 'ls'), /ov +overlay +swarm/);
  t.regex(await docker(t, 'network', 'inspect', 'ov'), /"Subnet": "10\.9\.0\.0\/24"/);
  t.regex(await docker(t, 'secret', 'ls'), / key /);
  t.regex(await docker(t, 'secret', 'inspect', '--pretty', 'key'), /a=b/);
  t.regex(await docker(t, 'config', 'inspect', '--pretty', 'conf'), /x = 1/);
  await docker(t, 'secret', 'rm', 'key');
  await docker(t, 'config', 'rm', 'conf');
  await until(async () => (await t.context.host.docker(['network', 'rm', 'ov'])).code === 0);
  t.regex(await fails(t, 'network', 'rm', 'ov'), /network ov not found/);
});

test('scale, update and rollback change what runs', async (t) => {
  await docker(t, 'service', 'scale', '-d', 'web=5');
  t.regex(await docker(t, 'service', 'inspect', 'web', '--format', '{{json .Spec.Mode}}'), /5/);
  await docker(
    t,
    'service',
    'update',
    '-d',
    '--env-add',
    'A=b',
    '--update-parallelism',
    '0',
    'web',
  );
  const env = () =>
    docker(
      t,
      'service',
      'inspect',
      'web',
      '--format',
      '{{json .Spec.TaskTemplate.ContainerSpec.Env}}',
    );
  t.is((await env()).trim(), '["A=b"]');
  await docker(t, 'service', 'rollback', '-d', 'web');
  t.is((await env()).trim(), 'null');
});

test('ps, inspect, logs, top and stats show a task’s container', async (t) => {
  const id = await steadyContainer(t);
  t.regex(await docker(t, 'ps'), /web:1 .* Up \d+ seconds? +80\/tcp +steady\.\d\.\w{25}/);
  t.is((await docker(t, 'inspect', id, '--format', '{{.State.Status}}')).trim(), 'running');
  const logs = await t.context.host.docker(['logs', id]);
  t.is(logs.stdout, 'hello\n');
  t.is(logs.stderr, 'oops\n');
  t.regex(
    await docker(t, 'logs', '-t', '--tail', '2', id),
    /^2026-01-01T00:00:00.000000001Z hello/,
  );
  t.regex(await docker(t, 'service', 'logs', 'steady'), /steady\.1\.\w+@h1 +\| hello/);
  t.regex(await docker(t, 'service', 'logs', '--raw', 'steady'), /^hello/);
  t.regex(await docker(t, 'top', id), /UID +PID/);
  t.regex(await docker(t, 'stats', '--no-stream', id), /10MiB \/ 100MiB/);
});

test('a line longer than a log entry is one line of service logs', async (t) => {
  await steadyContainer(t);
  const { lines } = t.context.host.runtime;
  const part = (text: string, partial: boolean) => ({
    stream: 1 as const,
    at: '2026-01-01T00:00:00.000000002Z',
    data: new TextEncoder().encode(text),
    partial,
  });
  const added = [part('x'.repeat(16 << 10), true), part('y', false)];
  lines.push(...added);
  t.teardown(() => lines.splice(lines.indexOf(added[0] as (typeof lines)[0]), 2));
  const shown = (await docker(t, 'service', 'logs', '--timestamps', 'steady')).split('\n');
  const [long] = shown.filter((text) => text.includes('xxx'));
  t.regex(long ?? '', /^2026\S+ steady\.1\.\w+@h1 +\| x{16384}y$/);
});

test('exec carries stdin, both outputs and the exit code', async (t) => {
  const { host } = t.context;
  const id = await steadyContainer(t);
  t.is(await docker(t, 'exec', id, 'echo', 'hi'), 'hi\n');
  t.is(await dockerWith(t, 'some input', 'exec', '-i', id, 'cat'), 'some input');
  const failed = await host.docker(['exec', id, 'sh', '-c', 'echo err >&2; exit 3']);
  t.deepEqual(failed, { code: 3, stdout: '', stderr: 'err\n' });
  const unknown = await host.docker(['exec', id, 'no-such-program']);
  t.is(unknown.code, 127);
  t.regex(unknown.stdout, /executable file not found/);
  await docker(t, 'exec', '-d', id, 'true');
  const large = await host.docker(['exec', '-i', id, 'cat'], { input: 'x'.repeat(3_000_000) });
  t.is(large.stdout.length, 3_000_000);
});

test('images are pulled, imported, loaded, saved, tagged and removed', async (t) => {
  t.regex(await docker(t, 'pull', 'reg.example/there:1'), /Downloaded newer image/);
  t.regex(await dockerWith(t, 'tar', 'import', '-', 'imp:1'), /^sha256:/);
  t.regex(await dockerWith(t, 'tar', 'load'), /Loaded image: web:1/);
  t.is(await docker(t, 'save', 'web:1'), 'tar bytes');
  await docker(t, 'tag', 'imp:1', 'other:2');
  t.regex(await docker(t, 'image', 'ls'), /other +2 /);
  t.regex(await docker(t, 'image', 'inspect', 'imp:1'), /"Architecture": "amd64"/);
  t.regex(await docker(t, 'history', 'imp:1'), /COPY \. \//);
  t.regex(await docker(t, 'rmi', 'imp:1'), /Deleted: sha256/);
  t.regex(await fails(t, 'rmi', 'web:1'), /is using its referenced image/);
  t.regex(await fails(t, 'pull', 'missing'), /pull access denied/);
});

test('volumes are made, listed and removed; one in use is kept', async (t) => {
  await docker(t, 'volume', 'create', '--label', 'a=b', 'vol');
  t.regex(await docker(t, 'volume', 'ls', '--filter', 'label=a=b'), /local +vol/);
  t.regex(await docker(t, 'volume', 'inspect', 'vol'), /_data/);
  await docker(t, 'volume', 'rm', 'vol');
  t.regex(await fails(t, 'volume', 'rm', 'vol'), /no such volume/);
});

test('prune and df answer the CLI', async (t) => {
  await docker(t, 'volume', 'create', 'unused');
  t.regex(await docker(t, 'volume', 'prune', '-af'), /unused[\s\S]*Total reclaimed space: 0B/);
  await docker(t, 'network', 'create', '-d', 'overlay', 'unused-net');
  t.regex(await docker(t, 'network', 'prune', '-f'), /unused-net/);
  t.regex(await docker(t, 'container', 'prune', '-f'), /Total reclaimed space/);
  t.regex(await docker(t, 'image', 'prune', '-f'), /Total reclaimed space/);
  t.regex(await docker(t, 'system', 'prune', '-f', '--volumes'), /Total reclaimed space/);
  t.regex(await docker(t, 'system', 'df'), /Images +\d+[\s\S]*Containers[\s\S]*Build Cache +0/);
  t.regex(await docker(t, 'system', 'df', '-v'), /Local Volumes space usage/);
});

test('nodes are drained, relabelled and inspected; a live one is not removed', async (t) => {
  await docker(t, 'node', 'update', '--availability', 'drain', '--label-add', 'zone=b', 'h2');
  t.regex(await docker(t, 'node', 'ls', '--filter', 'node.label=zone=b'), /h2 +Ready +Drain/);
  await until(async () => !/Running +Running/.test(await docker(t, 'node', 'ps', 'h2')));
  t.regex(await fails(t, 'node', 'rm', 'h2'), /is not down and can't be removed/);
  t.regex(await fails(t, 'node', 'demote', 'h1'), /last manager/);
});

test('tokens are shown and rotated, the cluster’s settings changed', async (t) => {
  const token = () => docker(t, 'swarm', 'join-token', '-q', 'worker');
  const before = await token();
  t.regex(before, /^SWMTKN-1-/);
  const rotated = await docker(t, 'swarm', 'join-token', '--rotate', '-q', 'worker');
  t.not(rotated, before);
  t.is(await token(), rotated);
  await docker(t, 'swarm', 'update', '--task-history-limit', '3');
  t.regex(await docker(t, 'info'), /Task History Retention Limit: 3/);
});

test('inspect finds objects of every kind, and says when there is none', async (t) => {
  await dockerWith(t, 'hush', 'secret', 'create', 'found', '-');
  t.regex(await docker(t, 'inspect', 'web'), /"TaskTemplate"/);
  t.regex(await docker(t, 'inspect', 'found'), /"Name": "found"/);
  t.regex(await docker(t, 'inspect', 'ingress'), /"Ingress": true/);
  t.regex(await fails(t, 'inspect', 'nothing'), /No such object: nothing/);
});

const REFUSED: [args: string, words: RegExp][] = [
  ['service create -d --name web web:1', /service web already exists/],
  ['service create -d --constraint node.role=manager web:1', /constraint expected one operator/],
  ['service create -d --limit-cpu 0.00001 web:1', /invalid cpu value/],
  ['service create -d --name a_b/c web:1', /name must be valid/],
  ['service create -d --network nope web:1', /network nope not found/],
  ['service create -d --secret nope web:1', /secret not found: nope/],
  ['swarm init', /already part of a swarm/],
  ['swarm leave', /participating as a manager/],
  ['run web:1', /not supported yet: standalone containers/],
  ['network create local', /--driver overlay/],
  ['service ps nope', /no such service: nope/],
  ['service rm nope', /nope.* not found|no such service/i],
];
for (const [args, words] of REFUSED) {
  test(`docker ${args} fails and says why`, async (t) => {
    t.regex(await fails(t, ...args.split(' ')), words);
  });
}

test('a task that fits nowhere says why, and a service rm takes it away', async (t) => {
  await docker(t, 'service', 'create', '-d', '--name', 'huge', '--reserve-memory', '100g', 'web:1');
  await until(async () =>
    /insufficient resources/.test(await docker(t, 'service', 'ps', '--no-trunc', 'huge')),
  );
  await docker(t, 'service', 'rm', 'huge', 'web', 'steady');
  t.is((await docker(t, 'service', 'ls', '-q')).trim(), '');
});
