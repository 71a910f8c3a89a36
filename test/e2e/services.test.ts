// A cluster of three hosts used as an operator would, through the unmodified docker CLI.
import test from 'ava';
import { IMAGE, TestCluster, until } from './support/cluster.ts';

const cluster = new TestCluster('e2e-svc');
test.before(() => cluster.up());
test.after.always(() => cluster.down());

const WEB = [
  '--network',
  'web-net',
  '--env',
  'TASK={{.Task.Name}}',
  '--env',
  'NODE={{.Node.Hostname}}',
];

test.serial('all hosts are ready managers, one of them leads', async (t) => {
  await cluster.ready(cluster.host(1), 3);
  const nodes = await cluster.nodes(cluster.host(2));
  t.is(nodes.filter(({ ManagerStatus }) => ManagerStatus?.Leader).length, 1);
  t.deepEqual(nodes.map(({ Description }) => Description.Hostname).sort(), ['h1', 'h2', 'h3']);
  t.regex(
    await cluster.ok(cluster.host(3), 'info'),
    /Swarm: active[\s\S]*Is Manager: true[\s\S]*Managers: 3/,
  );
  t.regex(await cluster.ok(cluster.host(3), 'version'), /Server/);
});

test.serial('a host joins with a token as a worker, and leaves again', async (t) => {
  const host = await cluster.add('h4');
  const manager = cluster.host(1);
  const token = await cluster.ok(manager, 'swarm', 'join-token', '-q', 'worker');
  const remote = `${manager.address}:2377`;

  const malformed = await cluster.docker(
    host,
    'swarm',
    'join',
    '--token',
    'SWMTKN-1-nonsense',
    remote,
  );
  t.not(malformed.code, 0);
  t.regex(malformed.stderr, /invalid join token/);
  // Right digest, wrong secret.
  const wrong = await cluster.docker(
    host,
    'swarm',
    'join',
    '--token',
    `${token.slice(0, -25)}${'0'.repeat(25)}`,
    remote,
  );
  t.not(wrong.code, 0);
  t.regex(wrong.stderr, /token/);
  t.regex(await cluster.ok(host, 'info'), /Swarm: inactive/);

  await cluster.ok(
    host,
    'swarm',
    'join',
    '--advertise-addr',
    host.address,
    '--token',
    token,
    remote,
  );
  await cluster.ready(manager, 4);
  const refused = await cluster.docker(host, 'node', 'ls');
  t.not(refused.code, 0);
  t.regex(
    refused.stderr,
    /This node is not a swarm manager\. Worker nodes can't be used to view or modify cluster state\./,
  );

  await cluster.ok(
    manager,
    'service',
    'create',
    '-d',
    '--name',
    'onworker',
    '--constraint',
    'node.role==worker',
    IMAGE,
  );
  const [task] = await cluster.running(manager, 'onworker', 1);
  const worker = (await cluster.nodes(manager)).find(
    ({ Description }) => Description.Hostname === 'h4',
  );
  t.is(task?.NodeID, worker?.ID);
  await cluster.ok(manager, 'service', 'rm', 'onworker');

  await cluster.ok(host, 'swarm', 'leave');
  await until('the left node to be down', async () =>
    (await cluster.nodes(manager)).some(
      ({ Description, Status }) => Description.Hostname === 'h4' && Status.State === 'down',
    ),
  );
  await cluster.ok(manager, 'node', 'rm', worker?.ID ?? '');
  t.is((await cluster.nodes(manager)).length, 3);
  t.regex(await cluster.ok(host, 'info'), /Swarm: inactive/);
  await cluster.local('remove', '--host', 'h4');
});

test.serial('an old token is refused after its rotation', async (t) => {
  const manager = cluster.host(1);
  const before = await cluster.ok(manager, 'swarm', 'join-token', '-q', 'worker');
  const after = await cluster.ok(manager, 'swarm', 'join-token', '--rotate', '-q', 'worker');
  t.not(after, before);
  const host = await cluster.add('h5');
  const { code, stderr } = await cluster.docker(
    host,
    'swarm',
    'join',
    '--token',
    before,
    `${manager.address}:2377`,
  );
  t.not(code, 0);
  t.regex(stderr, /token/);
  await cluster.local('remove', '--host', 'h5');
});

test.serial(
  'a service answers by name, by VIP, by task address and by published port from every host',
  async (t) => {
    const manager = cluster.host(1);
    await cluster.ok(manager, 'network', 'create', '-d', 'overlay', 'web-net');
    // Attached: the CLI's progress bars have to converge.
    const created = await cluster.ok(
      manager,
      'service',
      'create',
      '--name',
      'web',
      '--replicas',
      '6',
      '--publish',
      '8080:80',
      ...WEB,
      IMAGE,
    );
    t.regex(created, /converged/);
    const tasks = await cluster.running(manager, 'web', 6);
    t.deepEqual(spread(tasks), [2, 2, 2]);

    await cluster.ok(
      manager,
      'service',
      'create',
      '--name',
      'client',
      '--mode',
      'global',
      '--network',
      'web-net',
      IMAGE,
      'sleep',
      '100000',
    );
    const clients = await cluster.running(manager, 'client', 3);
    const inspected = JSON.parse(await cluster.ok(manager, 'service', 'inspect', 'web'));
    const webNet = await cluster.ok(manager, 'network', 'inspect', '-f', '{{.Id}}', 'web-net');
    const vips: { NetworkID: string; Addr: string }[] = inspected[0].Endpoint.VirtualIPs;
    const vip = vips.find(({ NetworkID }) => NetworkID === webNet)?.Addr.split('/')[0] ?? '';
    for (const client of clients) {
      for (const target of ['web', vip, 'tasks.web']) {
        await until(`${target} to answer a client`, async () =>
          (
            await cluster.execIn(
              client,
              'timeout',
              '2',
              'wget',
              '-q',
              '-O-',
              `http://${target}/cgi-bin/index.cgi`,
            )
          ).stdout.startsWith('Hello from web.'),
        );
      }
      for (const { NetworksAttachments } of tasks) {
        const addresses = (NetworksAttachments ?? [])
          .flatMap(({ Addresses }) => Addresses)
          .map((address) => address.split('/')[0]);
        const answers = await Promise.all(
          addresses.map((address) =>
            cluster.execIn(
              client,
              'timeout',
              '2',
              'wget',
              '-q',
              '-O-',
              `http://${address}/cgi-bin/index.cgi`,
            ),
          ),
        );
        t.true(answers.some(({ stdout }) => stdout.startsWith('Hello from web.')));
      }
    }
    for (const from of cluster.hosts) {
      for (const to of cluster.hosts) {
        await until(`${to.name}:8080 to answer ${from.name}`, async () =>
          (
            await cluster.fetchFrom(from, `http://${to.address}:8080/cgi-bin/index.cgi`)
          )?.startsWith('Hello from web.'),
        );
      }
    }
    // All back-ends are used, through one host.
    const seen = new Set<string>();
    await until('all six tasks to answer', async () => {
      const answer = await cluster.fetchFrom(
        cluster.host(1),
        `http://${cluster.host(2).address}:8080/cgi-bin/index.cgi`,
      );
      if (answer !== undefined) seen.add(answer.split(' ')[2] ?? '');
      return seen.size === 6;
    });
    t.is(seen.size, 6);
    await cluster.ok(manager, 'service', 'rm', 'client');
  },
);

test.serial('a service scales up and down', async (t) => {
  const manager = cluster.host(2);
  t.regex(await cluster.ok(manager, 'service', 'scale', 'web=12'), /converged/);
  t.deepEqual(spread(await cluster.running(manager, 'web', 12)), [4, 4, 4]);
  t.regex(await cluster.ok(manager, 'service', 'scale', 'web=3'), /converged/);
  t.deepEqual(spread(await cluster.running(manager, 'web', 3)), [1, 1, 1]);
  await until('the containers to be gone', async () => {
    const counts = await Promise.all(
      cluster.hosts.map(
        async (host) =>
          (
            await cluster.ok(
              host,
              'ps',
              '-q',
              '--filter',
              'label=com.docker.swarm.service.name=web',
            )
          )
            .split('\n')
            .filter(Boolean).length,
      ),
    );
    return counts.every((count) => count === 1);
  });
});

test.serial(
  'a rolling update replaces every task, and the published port answers throughout',
  async (t) => {
    const manager = cluster.host(1);
    const before = new Set((await cluster.running(manager, 'web', 3)).map(({ ID }) => ID));
    let asked = 0;
    let refused = 0;
    let updating = true;
    const asking = (async () => {
      while (updating) {
        asked++;
        if (
          (await cluster.fetchFrom(
            cluster.host(3),
            `http://${cluster.host(2).address}:8080/cgi-bin/index.cgi`,
          )) === undefined
        )
          refused++;
      }
    })();
    const updated = await cluster.ok(
      manager,
      'service',
      'update',
      '--env-add',
      'COLOR=blue',
      '--update-parallelism',
      '1',
      '--update-delay',
      '200ms',
      '--update-order',
      'start-first',
      'web',
    );
    updating = false;
    await asking;
    t.regex(updated, /converged/);
    const after = await cluster.running(manager, 'web', 3);
    t.true(
      after.every(
        ({ ID, Spec }) => !before.has(ID) && (Spec.ContainerSpec.Env ?? []).includes('COLOR=blue'),
      ),
    );
    t.true(asked > 10);
    t.is(refused, 0, `${refused} of ${asked} requests were refused during the update`);
  },
);

test.serial('logs, exec, ps, inspect, stats and events show the tasks', async (t) => {
  const manager = cluster.host(1);
  await cluster.ok(
    manager,
    'service',
    'create',
    '--name',
    'talker',
    '--replicas',
    '3',
    IMAGE,
    'sh',
    '-c',
    'echo said-by-$HOSTNAME; sleep 100000',
  );
  const tasks = await cluster.running(manager, 'talker', 3);
  await until('the lines of all three tasks', async () => {
    const { stdout } = await cluster.docker(manager, 'service', 'logs', 'talker');
    return stdout.split('\n').filter((line) => /said-by-/.test(line)).length === 3;
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
    await cluster.ok(host, 'stats', '--no-stream', '--format', '{{.Name}} {{.MemUsage}}', id),
    /talker.*iB/,
  );
  t.regex(await cluster.ok(manager, 'service', 'ps', 'talker'), /Running/);
  t.regex(await cluster.ok(manager, 'service', 'inspect', '--pretty', 'talker'), /Name:\s+talker/);
  // Watched from another manager while a service changes.
  const endsAt = Math.ceil(Date.now() / 1000) + 5;
  const watching = cluster.docker(
    cluster.host(2),
    'events',
    '--filter',
    'type=service',
    '--until',
    String(endsAt),
  );
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  await cluster.ok(manager, 'service', 'update', '-d', '--label-add', 'seen=yes', 'talker');
  t.regex((await watching).stdout, /service update .*name=talker/);
  await cluster.ok(manager, 'service', 'rm', 'talker');
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
  await cluster.ok(
    manager,
    'service',
    'create',
    '--name',
    'keeper',
    '--secret',
    'pass',
    '--config',
    'source=conf,target=/etc/app.conf,mode=0440',
    IMAGE,
    'sleep',
    '100000',
  );
  const [task] = await cluster.running(manager, 'keeper', 1);
  if (task === undefined) throw new Error('no task');
  t.is((await cluster.execIn(task, 'cat', '/run/secrets/pass')).stdout, 's3cret');
  t.is((await cluster.execIn(task, 'cat', '/etc/app.conf')).stdout, 'key=value');
  t.notRegex(await cluster.ok(manager, 'secret', 'inspect', 'pass'), /s3cret|czNjcmV0/);
  const busy = await cluster.docker(manager, 'secret', 'rm', 'pass');
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
  await cluster.ok(manager, 'service', 'rm', 'keeper');
  await cluster.ok(manager, 'secret', 'rm', 'pass');
  await cluster.ok(manager, 'config', 'rm', 'conf');
});

test.serial('limits, mounts, user, workdir and hostname reach the container', async (t) => {
  const manager = cluster.host(1);
  await cluster.ok(
    manager,
    'service',
    'create',
    '--name',
    'odd',
    '--limit-cpu',
    '0.5',
    '--limit-memory',
    '64m',
    '--limit-pids',
    '50',
    '--reserve-memory',
    '16m',
    '--user',
    '1000:1000',
    '--workdir',
    '/tmp',
    '--hostname',
    'odd-{{.Task.Slot}}',
    '--label',
    'a=b',
    '--constraint',
    'node.hostname==h1',
    '--mount',
    'type=volume,source=data,target=/data',
    '--mount',
    'type=tmpfs,target=/scratch,tmpfs-size=1m',
    '--mount',
    'type=bind,source=/etc,target=/host-etc,readonly',
    '--restart-condition',
    'on-failure',
    '--restart-delay',
    '1s',
    '--restart-max-attempts',
    '3',
    IMAGE,
    'sleep',
    '100000',
  );
  const [task] = await cluster.running(manager, 'odd', 1);
  if (task === undefined) throw new Error('no task');
  t.is(
    (await cluster.execIn(task, 'sh', '-c', 'id -u; pwd; hostname')).stdout,
    '1000\n/tmp\nodd-1\n',
  );
  const mounts = (await cluster.execIn(task, 'cat', '/proc/mounts')).stdout;
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
  await cluster.ok(manager, 'service', 'rm', 'odd');
});

test.serial(
  'a drained node loses its tasks, a paused one gets none, an active one gets them again',
  async (t) => {
    const manager = cluster.host(1);
    await cluster.ok(manager, 'service', 'scale', '-d', 'web=6');
    await cluster.running(manager, 'web', 6);
    const drained = (await cluster.nodes(manager)).find(
      ({ Description }) => Description.Hostname === 'h3',
    );
    await cluster.ok(manager, 'node', 'update', '--availability', 'drain', 'h3');
    await until('no task on h3', async () => {
      const tasks = (await cluster.tasks(manager, 'web')).filter(
        ({ Status }) => Status.State === 'running',
      );
      return tasks.length === 6 && tasks.every(({ NodeID }) => NodeID !== drained?.ID);
    });
    await cluster.ok(manager, 'node', 'update', '--availability', 'active', 'h3');
    await cluster.ok(
      manager,
      'service',
      'update',
      '--detach',
      '--force',
      '--update-parallelism',
      '0',
      'web',
    );
    await until('tasks on h3 again', async () =>
      (await cluster.tasks(manager, 'web')).some(
        ({ NodeID, Status }) => Status.State === 'running' && NodeID === drained?.ID,
      ),
    );
    t.pass();
  },
);

test.serial(
  'bad input gets a clear error with the right status, and nothing is half done',
  async (t) => {
    const manager = cluster.host(1);
    const create = (spec: object) => cluster.api(manager, 'POST', '/services/create', spec);
    const task = (container: object, more: object = {}) => ({
      TaskTemplate: { ContainerSpec: { Image: IMAGE, ...container }, ...more },
    });
    const message = (answer: { body: unknown }) => (answer.body as { message: string }).message;
    const cases: readonly [string, { status: number; body: unknown }, number, RegExp][] = [
      [
        'not JSON',
        await cluster.api(manager, 'POST', '/services/create', '{"Name": '),
        400,
        /JSON/,
      ],
      ['a wrong type', await create({ Name: 'x', ...task({ Env: 'A=1' }) }), 400, /Env/],
      [
        'a bad name',
        await create({ Name: 'not a name!', ...task({}) }),
        400,
        /name must be valid as a DNS name component/,
      ],
      ['no image', await create({ Name: 'x', TaskTemplate: { ContainerSpec: {} } }), 400, /image/i],
      [
        'a taken name',
        await create({ Name: 'web', ...task({}) }),
        409,
        /name conflicts with an existing object/,
      ],
      [
        'a taken port',
        await create({
          Name: 'x',
          ...task({}),
          EndpointSpec: { Ports: [{ PublishedPort: 8080, TargetPort: 80 }] },
        }),
        400,
        /port '8080' is already in use by service 'web'/,
      ],
      [
        'a bad constraint',
        await create({
          Name: 'x',
          ...task({}, { Placement: { Constraints: ['node.role=~worker'] } }),
        }),
        400,
        /constraint/,
      ],
      [
        'an unknown network',
        await create({ Name: 'x', ...task({}, { Networks: [{ Target: 'nowhere' }] }) }),
        404,
        /network nowhere not found/,
      ],
      [
        'too little memory',
        await create({ Name: 'x', ...task({}, { Resources: { Limits: { MemoryBytes: 1 } } }) }),
        400,
        /memory/i,
      ],
      [
        'an unknown secret',
        await create({
          Name: 'x',
          ...task({ Secrets: [{ SecretID: 'nope', SecretName: 'nope' }] }),
        }),
        400,
        /secret/i,
      ],
    ];
    for (const [what, answer, status, wording] of cases) {
      t.is(answer.status, status, `${what}: ${message(answer)}`);
      t.regex(message(answer), wording, what);
    }
    const service = (await cluster.api(manager, 'GET', '/services/web')).body as {
      ID: string;
      Version: { Index: number };
      Spec: object;
    };
    const stale = await cluster.api(
      manager,
      'POST',
      `/services/${service.ID}/update?version=1`,
      service.Spec,
    );
    t.is(stale.status, 500);
    t.regex(message(stale), /update out of sequence/);
    const two = await Promise.all(
      [1, 2].map(() =>
        cluster.api(
          manager,
          'POST',
          `/services/${service.ID}/update?version=${service.Version.Index}`,
          service.Spec,
        ),
      ),
    );
    t.deepEqual(two.map(({ status }) => status).sort(), [200, 500]);
    const big = await cluster.api(manager, 'POST', '/services/create', {
      Name: 'big',
      Junk: 'x'.repeat(10 << 20),
    });
    t.true(big.status === 413 || big.status === 400, `${big.status}`);
    const missing = await cluster.api(manager, 'POST', '/containers/create', { Image: IMAGE });
    t.is(missing.status, 501);
    t.is((await cluster.api(manager, 'GET', '/no/such/page')).status, 404);
    t.deepEqual((await cluster.ok(manager, 'service', 'ls', '--format', '{{.Name}}')).split('\n'), [
      'web',
    ]);
  },
);

test.serial('what cannot be placed or pulled says why', async (t) => {
  const manager = cluster.host(1);
  const reason = async (name: string, wording: RegExp) => {
    await until(`${name}'s reason`, async () =>
      (await cluster.tasks(manager, name, [])).some(({ Status }) => wording.test(Status.Err ?? '')),
    );
    t.pass();
    await cluster.ok(manager, 'service', 'rm', name);
  };
  await cluster.ok(
    manager,
    'service',
    'create',
    '-d',
    '--name',
    'huge',
    '--reserve-memory',
    '100t',
    IMAGE,
  );
  await reason('huge', /no suitable node \(insufficient resources on 3 nodes\)/);
  await cluster.ok(
    manager,
    'service',
    'create',
    '-d',
    '--name',
    'elsewhere',
    '--constraint',
    'node.labels.zone==mars',
    IMAGE,
  );
  await reason('elsewhere', /no suitable node \(scheduling constraints not satisfied on 3 nodes\)/);
  await cluster.ok(
    manager,
    'service',
    'create',
    '-d',
    '--no-resolve-image',
    '--name',
    'imageless',
    '127.0.0.1:1/no/such:1',
  );
  await reason('imageless', /No such image|127\.0\.0\.1:1/);
  await cluster.ok(
    manager,
    'service',
    'create',
    '-d',
    '--name',
    'noexec',
    IMAGE,
    '/no/such/program',
  );
  await reason('noexec', /no such file or directory/);
});

test.serial('networks in use stay, and go when the service has gone', async (t) => {
  const manager = cluster.host(1);
  const busy = await cluster.docker(manager, 'network', 'rm', 'web-net');
  t.regex(busy.stderr, /is in use by service/);
  await cluster.ok(manager, 'service', 'rm', 'web');
  await until(
    'the network to go',
    async () => (await cluster.docker(manager, 'network', 'rm', 'web-net')).code === 0,
  );
  t.notRegex(await cluster.ok(manager, 'network', 'ls', '--format', '{{.Name}}'), /web-net/);
});

function spread(tasks: readonly { NodeID: string }[]): number[] {
  const counts = new Map<string, number>();
  for (const { NodeID } of tasks) counts.set(NodeID, (counts.get(NodeID) ?? 0) + 1);
  return [...counts.values()].sort();
}
