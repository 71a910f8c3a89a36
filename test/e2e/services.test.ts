// Services as an operator uses them: names and ports, scale, updates, and what is refused.
import test from 'ava';
import { IMAGE, PAGE, spread, type TaskView, TestCluster, until } from './support/cluster.ts';

const cluster = new TestCluster('e2e-svc');
test.before(() => cluster.up());
test.after.always(() => cluster.down());

test.serial(
  'a service answers by name, by VIP, by task address and by published port from every host',
  async (t) => {
    const manager = cluster.host(1);
    await cluster.ok(manager, 'network create -d overlay web-net');
    // Attached: the CLI's progress bars have to converge.
    const created = await cluster.create(
      manager,
      'web',
      `--replicas 6 --publish 8080:80 --network web-net
       --env TASK={{.Task.Name}} --env NODE={{.Node.Hostname}}`,
    );
    t.regex(created, /converged/);
    const tasks = await cluster.running(manager, 'web', 6);
    t.deepEqual(spread(tasks), [2, 2, 2]);

    const global = '-d --mode global --network web-net';
    await cluster.create(manager, 'client', global, 'sleep', '100000');
    // busybox's own time-out crashes it.
    const ask = (from: TaskView, address: string) =>
      cluster.execIn(from, `timeout 2 wget -q -O- http://${address}${PAGE}`);
    const clients = await cluster.running(manager, 'client', 3);
    const inspected = JSON.parse(await cluster.ok(manager, 'service inspect web'));
    const webNet = await cluster.ok(manager, 'network inspect -f {{.Id}} web-net');
    const vips: { NetworkID: string; Addr: string }[] = inspected[0].Endpoint.VirtualIPs;
    const vip = vips.find(({ NetworkID }) => NetworkID === webNet)?.Addr.split('/')[0] ?? '';
    // Only the service's own network: a client is not in the ingress network, and would wait in vain.
    const addresses = tasks.map(
      ({ NetworksAttachments }) =>
        (NetworksAttachments ?? [])
          .find(({ Network }) => Network.ID === webNet)
          ?.Addresses[0]?.split('/')[0] ?? 'none',
    );
    for (const client of clients) {
      for (const target of ['web', vip, 'tasks.web', ...addresses]) {
        await until(`${target} to answer a client`, async () =>
          (await ask(client, target)).stdout.startsWith('Hello from web.'),
        );
      }
    }
    for (const from of cluster.hosts) {
      for (const to of cluster.hosts) {
        await until(`${to.name}:8080 to answer ${from.name}`, async () =>
          (await cluster.fetchFrom(from, `http://${to.address}:8080${PAGE}`))?.startsWith(
            'Hello from web.',
          ),
        );
      }
    }
    // All back-ends are used, through one host.
    const seen = new Set<string>();
    await until('all six tasks to answer', async () => {
      const answer = await cluster.fetchFrom(
        cluster.host(1),
        `http://${cluster.host(2).address}:8080${PAGE}`,
      );
      if (answer !== undefined) seen.add(answer.split(' ')[2] ?? '');
      return seen.size === 6;
    });
    t.is(seen.size, 6);
    await cluster.ok(manager, 'service rm client');
  },
);

test.serial('a service scales up and down', async (t) => {
  const manager = cluster.host(2);
  t.regex(await cluster.ok(manager, 'service scale web=12'), /converged/);
  t.deepEqual(spread(await cluster.running(manager, 'web', 12)), [4, 4, 4]);
  t.regex(await cluster.ok(manager, 'service scale web=3'), /converged/);
  t.deepEqual(spread(await cluster.running(manager, 'web', 3)), [1, 1, 1]);
  await until('the containers to be gone', async () => {
    const counts = await Promise.all(
      cluster.hosts.map(
        async (host) =>
          (await cluster.ok(host, 'ps -q --filter label=com.docker.swarm.service.name=web'))
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
            `http://${cluster.host(2).address}:8080${PAGE}`,
          )) === undefined
        )
          refused++;
      }
    })();
    // Without health checks: a server that takes a while to listen gets nothing until it does.
    const updated = await cluster.ok(
      manager,
      `service update --env-add COLOR=blue
       --update-parallelism 1 --update-delay 200ms --update-order start-first`,
      '--args',
      "sh -c 'sleep 1; exec serve'",
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
    t.deepEqual((await cluster.ok(manager, 'service ls --format {{.Name}}')).split('\n'), ['web']);
  },
);

test.serial('what cannot be placed or pulled says why', async (t) => {
  const manager = cluster.host(1);
  const reason = async (name: string, wording: RegExp) => {
    await until(`${name}'s reason`, async () =>
      (await cluster.tasks(manager, name, [])).some(({ Status }) => wording.test(Status.Err ?? '')),
    );
    t.pass();
    await cluster.ok(manager, 'service rm', name);
  };
  await cluster.create(manager, 'huge', '-d --reserve-memory 100t');
  await reason('huge', /no suitable node \(insufficient resources on 3 nodes\)/);
  await cluster.create(manager, 'elsewhere', '-d --constraint node.labels.zone==mars');
  await reason('elsewhere', /no suitable node \(scheduling constraints not satisfied on 3 nodes\)/);
  await cluster.ok(
    manager,
    'service create -d --no-resolve-image --name imageless 127.0.0.1:1/no/such:1',
  );
  await reason('imageless', /No such image|127\.0\.0\.1:1/);
  await cluster.create(manager, 'noexec', '-d', '/no/such/program');
  await reason('noexec', /no such file or directory/);
});

test.serial('networks in use stay, and go when the service has gone', async (t) => {
  const manager = cluster.host(1);
  const busy = await cluster.docker(manager, 'network rm web-net');
  t.regex(busy.stderr, /is in use by service/);
  await cluster.ok(manager, 'service rm web');
  await until(
    'the network to go',
    async () => (await cluster.docker(manager, 'network rm web-net')).code === 0,
  );
  t.notRegex(await cluster.ok(manager, 'network ls --format {{.Name}}'), /web-net/);
});
