// What a task is given and what can be asked of it.
import { spawn } from 'node:child_process';
import test from 'ava';
import { TestCluster, until } from './support/cluster.ts';

const cluster = new TestCluster('e2e-task');
test.before(() => cluster.up());
test.after.always(() => cluster.down());

test.serial('logs, exec, ps, inspect, stats and events show the tasks', async (t) => {
  const manager = cluster.host(1);
  const beganMs = Date.now();
  await cluster.create(
    manager,
    'talker',
    '-d --replicas 3',
    'sh',
    '-c',
    'echo said-by-$HOSTNAME; head -c 40000 /dev/zero | tr "\\0" x; echo end; sleep 100000',
  );
  const tasks = await cluster.running(manager, 'talker', 3);
  await until('the lines of all three tasks', async () => {
    const { stdout } = await cluster.docker(manager, 'service logs talker');
    // 40,000 marks are three entries of the log, and one line for who reads it.
    const long = stdout.split('\n').filter((line) => /\| x{40000}end$/.test(line));
    const short = stdout.split('\n').filter((line) => /\| said-by-\w+$/.test(line));
    return short.length === 3 && long.length === 3;
  });
  const [task] = tasks;
  if (task === undefined) throw new Error('no task');
  const ran = await cluster.execIn(task, 'sh', '-c', 'echo out; echo err >&2; exit 7');
  t.is(ran.code, 7);
  t.regex(ran.stdout, /out/);
  t.regex(ran.stderr, /err/);
  const node = (await cluster.nodes(manager)).find(({ ID }) => ID === task.NodeID);
  const host = cluster.hosts.find(({ name }) => name === node?.Description.Hostname) ?? manager;
  const id = task.Status.ContainerStatus?.ContainerID ?? '';
  t.regex(await cluster.ok(host, 'ps'), /talker\.\d/);
  t.regex(await cluster.ok(host, 'logs', id), /said-by-/);
  const [details] = JSON.parse(await cluster.ok(host, 'inspect', id));
  t.true(details.State.Running);
  t.regex(
    await cluster.ok(host, 'stats --no-stream --format', '{{.Name}} {{.MemUsage}}', id),
    /talker.*iB/,
  );
  t.regex(await cluster.ok(manager, 'service ps talker'), /Running/);
  t.regex(await cluster.ok(manager, 'service inspect --pretty talker'), /Name:\s+talker/);
  // Watched from another manager while a service changes: more than once, as nothing tells that the watch has begun.
  const { socket } = cluster.host(2);
  const watch = spawn('docker', ['-H', `unix://${socket}`, 'events', '--filter', 'type=service']);
  t.teardown(() => watch.kill());
  let seen = '';
  watch.stdout.on('data', (part) => {
    seen += part;
  });
  let changes = 0;
  await until('a change to be told', async () => {
    await cluster.ok(manager, `service update -d --label-add seen=${changes++} talker`);
    return /service update .*name=talker/.test(seen);
  });
  // And afterwards, from the third, which may be behind the others.
  await until('the past to be told', async () => {
    const times = `--since ${Math.floor(beganMs / 1000)} --until ${Math.ceil(Date.now() / 1000)}`;
    const past = await cluster.ok(cluster.host(3), `events ${times} --filter type=service`);
    return /service create .*name=talker[\s\S]*service update .*name=talker/.test(past);
  });
  await cluster.ok(manager, 'service rm talker');
});

test.serial('secrets and configs reach the tasks that use them, and nothing else', async (t) => {
  const manager = cluster.host(1);
  const secret = await cluster.api(manager, 'POST', '/secrets/create', {
    Name: 'pass',
    Data: Buffer.from('s3cret').toString('base64'),
  });
  t.is(secret.status, 201);
  const config = await cluster.api(manager, 'POST', '/configs/create', {
    Name: 'conf',
    Data: Buffer.from('key=value').toString('base64'),
  });
  t.is(config.status, 201);
  await cluster.create(
    manager,
    'keeper',
    '-d --secret pass --config source=conf,target=/etc/app.conf,mode=0440',
    'sleep',
    '100000',
  );
  const [task] = await cluster.running(manager, 'keeper', 1);
  if (task === undefined) throw new Error('no task');
  t.is((await cluster.execIn(task, 'cat /run/secrets/pass')).stdout, 's3cret');
  t.is((await cluster.execIn(task, 'cat /etc/app.conf')).stdout, 'key=value');
  t.notRegex(await cluster.ok(manager, 'secret inspect pass'), /s3cret|czNjcmV0/);
  const busy = await cluster.docker(manager, 'secret rm pass');
  t.regex(busy.stderr, /in use by the following service: keeper/);
  for (const host of cluster.hosts) {
    const found = await cluster.exec(
      host,
      'sh',
      '-c',
      'grep -rlF s3cret "$1" 2>/dev/null | grep -v /manager/ || true',
      'sh',
      `/var/lib/shoal-local/${cluster.name}/${host.name}`,
    );
    t.is(found.stdout.trim(), '', `the secret lies on ${host.name}'s disk`);
  }
  await cluster.ok(manager, 'service rm keeper');
  await cluster.ok(manager, 'secret rm pass');
  await cluster.ok(manager, 'config rm conf');
});

test.serial('limits, mounts, user, workdir and hostname reach the container', async (t) => {
  const manager = cluster.host(1);
  await cluster.create(
    manager,
    'odd',
    `-d --limit-cpu 0.5 --limit-memory 64m --limit-pids 50 --reserve-memory 16m
     --user 1000:1000 --workdir /tmp --hostname odd-{{.Task.Slot}} --label a=b
     --constraint node.hostname==h1
     --mount type=volume,source=data,target=/data
     --mount type=tmpfs,target=/scratch,tmpfs-size=1m
     --mount type=bind,source=/etc,target=/host-etc,readonly
     --restart-condition on-failure --restart-delay 1s --restart-max-attempts 3`,
    'sleep',
    '100000',
  );
  const [task] = await cluster.running(manager, 'odd', 1);
  if (task === undefined) throw new Error('no task');
  t.is(
    (await cluster.execIn(task, 'sh', '-c', 'id -u; pwd; hostname')).stdout,
    '1000\n/tmp\nodd-1\n',
  );
  const mounts = (await cluster.execIn(task, 'cat /proc/mounts')).stdout;
  t.regex(mounts, / \/data /);
  t.regex(mounts, /tmpfs \/scratch tmpfs [^ ]*size=1024k/);
  t.regex(mounts, / \/host-etc [^ ]+ ro/);
  const limits = await cluster.exec(
    cluster.host(1),
    'sh',
    '-c',
    `cat /sys/fs/cgroup/memory/shoal-${cluster.name}/h1/ctr/*/memory.limit_in_bytes /sys/fs/cgroup/shoal-${cluster.name}/h1/ctr/*/memory.max 2>/dev/null`,
  );
  t.regex(limits.stdout, /67108864/);
  await cluster.ok(manager, 'service rm odd');
});
