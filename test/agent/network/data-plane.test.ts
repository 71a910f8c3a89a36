import test from 'ava';
import { NetworkController } from '../../../agent/network/data-plane.ts';
import type { HeldPort, PortHolder } from '../../../agent/network/ports.ts';
import type { LocalTask } from '../../../agent/network/types.ts';
import { silentLog } from '../../../shared/log.ts';
import { ManualClock, settle } from '../../support/manual-clock.ts';
import { ModelKernel, ModelNamespace } from './support/model-kernel.ts';
import { decodeView, type PlainView } from './support/views.ts';

const FRONT = 'front000000';
const NS = 'sw-n-front000';
const SIGNAL = new AbortController().signal;

class FakePorts implements PortHolder {
  readonly taken = new Set<string>();
  async hold(protocol: string, port: number): Promise<HeldPort | undefined> {
    const wanted = port || 40_000 + this.taken.size;
    const key = `${protocol}/${wanted}`;
    if (this.taken.has(key)) return undefined;
    this.taken.add(key);
    return {
      port: wanted,
      release: async () => {
        this.taken.delete(key);
      },
    };
  }
}

const plain = (revision = 1): PlainView => ({
  revision,
  networks: [{ id: FRONT, name: 'front', vni: 4097, subnet: '10.0.1.0/24' }],
  hosts: [1, 2].map((i) => ({ id: `node${i}`, address: `192.0.2.${i}` })),
  services: [
    {
      id: 'web',
      name: 'web',
      network: FRONT,
      vip: '10.0.1.2',
      tasks: [
        { id: 'web1', node: 'node1', address: '10.0.1.11' },
        { id: 'web2', node: 'node2', address: '10.0.1.12' },
      ],
    },
  ],
});
const view = (from = plain()) => decodeView(from, 'node1');
const task = (taskId: string, address?: string, ports: number[] = []): LocalTask => ({
  taskId,
  serviceId: 'web',
  hostname: taskId,
  attachments: address === undefined ? [] : [{ networkId: FRONT, address: `${address}/24` }],
  hostPorts: ports.map((publishedPort) => ({
    name: '',
    protocol: 'tcp',
    targetPort: 80,
    publishedPort,
    publishMode: 'host',
  })),
});

async function make(kernel = new ModelKernel(), adopted: LocalTask[] | null = []) {
  const clock = new ManualClock();
  const ports = new FakePorts();
  const plane = new NetworkController({
    nodeId: 'node1',
    hostAddress: '192.0.2.1',
    kernel,
    ports,
    clock,
    log: silentLog,
    dnsPort: 5399,
    egressPool: '172.26.0.0/29',
    hostNamespace: '1',
    netnsDir: '/run/netns',
    onNames: () => Promise.resolve(),
  });
  /** Time for rounds that are due, and the promises in them. */
  const run = async (durationMs = 20) => {
    await clock.advance(durationMs);
    for (let i = 0; i < 30; i++) await settle();
  };
  if (adopted !== null) {
    const done = plane.adopt(adopted);
    await run();
    await done;
  }
  return { kernel, clock, ports, plane, run };
}
const attached = async (
  world: Awaited<ReturnType<typeof make>>,
  wanted: LocalTask,
  signal = SIGNAL,
) => {
  const wiring = world.plane.attach(wanted, signal);
  wiring.catch(() => undefined);
  await world.run();
  return wiring;
};

test('a view becomes namespaces, and its revision is told when it is applied', async (t) => {
  const { plane, kernel, run } = await make();
  const revisions: number[] = [];
  plane.onApplied((revision) => revisions.push(revision));
  plane.setView(view());
  await run();
  t.deepEqual(revisions, [1]);
  t.is(plane.appliedRevision, 1);
  const space = kernel.space(NS);
  t.is(space.routes.get('main 10.0.1.12'), 'via 192.0.2.2 dev vx onlink');
  t.is(space.routes.get('main 10.0.1.0/24'), 'unreachable');
  t.is(space.sets?.get('svc')?.get('10.0.1.2'), 'goto s16');
  t.is(space.sets?.get('m16')?.size, 16);
  t.deepEqual(
    [...(kernel.space(undefined).sets?.get('nodes')?.keys() ?? [])],
    ['192.0.2.1', '192.0.2.2'],
  );
});

test('views that come in a burst are one round, and a view without changes writes nothing', async (t) => {
  const { plane, kernel, run } = await make();
  plane.setView(view());
  await run();
  kernel.calls.length = 0;
  const changed = plain(2);
  for (const service of changed.services) service.tasks.splice(1);
  for (let revision = 2; revision < 10; revision++) plane.setView(view({ ...changed, revision }));
  await run();
  t.deepEqual(
    kernel.calls.filter((call) => call.startsWith('apply')),
    [`apply ${NS}`],
  );
  t.deepEqual(
    kernel.calls.filter((call) => call.startsWith('cut')),
    ['cut 10.0.1.2 10.0.1.12'],
  );
  t.is(plane.appliedRevision, 9);
  kernel.calls.length = 0;
  plane.setView({ ...view({ ...changed, revision: 10 }) });
  await run();
  t.deepEqual(kernel.calls, []);
  t.is(plane.appliedRevision, 10);
});

test('attach() waits for its network, wires, and gives the same wiring again', async (t) => {
  const world = await make();
  let wired = false;
  const first = world.plane.attach(task('web1', '10.0.1.11'), SIGNAL);
  void first.then(() => {
    wired = true;
  });
  await world.run();
  t.false(wired);
  world.plane.setView(view());
  await world.run();
  const wiring = await first;
  t.is(wiring.netnsPath, '/run/netns/sw-t-web1');
  t.is(wiring.interfaces[0]?.address, '10.0.1.11/24');
  t.deepEqual(await attached(world, task('web1', '10.0.1.11')), wiring);
  const space = world.kernel.space(NS);
  t.is(space.routes.get('main 10.0.1.11'), 'dev cweb1 scope link');
  t.is(space.links.get('cweb1')?.up, true);
  t.true(space.sets?.get('hairpin')?.has('10.0.1.11 . 10.0.1.11'));
  t.deepEqual(world.plane.hostInterface('web1', FRONT), {
    netnsPath: `/run/netns/${NS}`,
    name: 'cweb1',
  });
  t.is(world.plane.hostInterface('web1', 'other'), undefined);
});

test('tasks that come together are wired together', async (t) => {
  const world = await make();
  world.plane.setView(view());
  await world.run();
  world.kernel.calls.length = 0;
  const all = Array.from({ length: 20 }, (_, i) =>
    world.plane.attach(task(`web${i}`, `10.0.1.${100 + i}`), SIGNAL),
  );
  await world.run();
  await Promise.all(all);
  t.deepEqual(world.kernel.calls, ['wire 20', `apply ${NS}`]);
});

test('detach() takes all away, and is no error when it is gone already', async (t) => {
  const world = await make();
  world.plane.setView(view());
  await attached(world, task('web1', '10.0.1.11', [8080]));
  t.true(world.ports.taken.has('tcp/8080'));
  t.is(world.kernel.space(undefined).sets?.get('ports')?.get('tcp . 8080'), '10.0.1.11 . 80');
  const gone = world.plane.detach('web1');
  await world.run();
  await gone;
  t.false(world.kernel.spaces.has('sw-t-web1'));
  t.false(world.kernel.space(NS).routes.has('main 10.0.1.11'));
  t.is(world.kernel.space(undefined).sets?.get('ports')?.size, 0);
  t.is(world.ports.taken.size, 0);
  await world.plane.detach('web1');
});

test('attach() says that a port is taken: by a task, by a process, by a published port', async (t) => {
  const world = await make();
  const ingress = plain();
  ingress.networks.push({
    id: 'ingress',
    name: 'ingress',
    vni: 4096,
    subnet: '10.0.0.0/24',
    ingress: true,
  });
  ingress.services.push({
    id: 'pub',
    name: 'pub',
    network: 'ingress',
    vip: '10.0.0.2',
    ports: [[9090, 80, 'tcp']],
    tasks: [],
  });
  world.plane.setView(view(ingress));
  await attached(world, task('a', '10.0.1.20', [8080]));
  world.ports.taken.add('tcp/7070');
  for (const port of [8080, 7070, 9090]) {
    await t.throwsAsync(attached(world, task('b', '10.0.1.21', [6060, port])), {
      code: 'failed-precondition',
      message: `port ${port}/tcp is already in use on this host`,
    });
    t.false(world.ports.taken.has('tcp/6060'), 'nothing of the refused task stays');
  }
  const { hostPorts } = await attached(world, task('b', '10.0.1.21', [0]));
  t.true((hostPorts[0]?.publishedPort ?? 0) >= 40_000);
});

test('attach() ends with its signal, and nothing of the task stays', async (t) => {
  const world = await make();
  const stop = new AbortController();
  const wiring = world.plane.attach(task('web1', '10.0.1.11'), stop.signal);
  stop.abort(new Error('enough'));
  await t.throwsAsync(wiring, { message: 'enough' });
  world.plane.setView(view());
  await world.run();
  t.false(world.kernel.space(NS).links.has('cweb1'));
});

test('attach() says so after three rounds that failed', async (t) => {
  const world = await make();
  world.plane.setView(view());
  await world.run();
  world.kernel.failing.set('wire', 3);
  const wiring = world.plane.attach(task('web1', '10.0.1.11'), SIGNAL);
  wiring.catch(() => undefined);
  await world.run(2_000);
  await t.throwsAsync(wiring, { code: 'unavailable', message: /cannot wire task web1/ });
  await attached(world, task('web1', '10.0.1.11'));
  t.true(world.kernel.space(NS).links.has('cweb1'));
});

test('after a failure the kernel is read again, and mended', async (t) => {
  const world = await make();
  world.plane.setView(view());
  await world.run();
  world.kernel.failing.set('apply', 2);
  const changed = plain(2);
  changed.services = [];
  world.plane.setView(view(changed));
  await world.run(50);
  t.is(world.plane.appliedRevision, 1);
  await world.run(2_000);
  t.is(world.plane.appliedRevision, 2);
  t.is(world.kernel.space(NS).sets?.get('svc')?.size, 0);
});

test('once a minute what was done by hand is undone', async (t) => {
  const world = await make();
  world.plane.setView(view());
  await attached(world, task('web1', '10.0.1.11'));
  const space = world.kernel.space(NS);
  space.routes.delete('main 10.0.1.12');
  space.routes.set('main 10.0.1.99', 'dev gw scope link');
  space.sets?.get('svc')?.clear();
  space.dropLink('cweb1');
  world.kernel.space(undefined).dropLink('sw-nfront000');
  world.kernel.spaces.set('sw-t-stray', new ModelNamespace());
  await world.run(61_000);
  t.is(space.routes.get('main 10.0.1.12'), 'via 192.0.2.2 dev vx onlink');
  t.false(space.routes.has('main 10.0.1.99'));
  t.is(space.sets?.get('svc')?.get('10.0.1.2'), 'goto s16');
  t.is(space.routes.get('main 10.0.1.11'), 'dev cweb1 scope link');
  t.is(world.kernel.space(undefined).links.get('sw-nfront000')?.up, true);
  t.false(world.kernel.spaces.has('sw-t-stray'));
});

test('a new process keeps what a former one made for tasks that run, and only that', async (t) => {
  const before = await make();
  before.plane.setView(view());
  const running = task('web1', '10.0.1.11', [8080, 0]);
  const first = await attached(before, running);
  await attached(before, task('plain', undefined, [8081]));
  await attached(before, task('old', '10.0.1.30'));
  await before.plane.close();

  const after = await make(before.kernel, null);
  after.kernel.calls.length = 0;
  after.plane.setView(view());
  await after.run();
  t.deepEqual(after.kernel.calls, [], 'nothing is done before adopt()');
  const done = after.plane.adopt([running, task('plain', undefined, [8081])]);
  await after.run();
  await done;
  t.deepEqual(
    after.kernel.calls.filter((call) => call.startsWith('wire')),
    [],
  );
  t.false(after.kernel.spaces.has('sw-t-old'));
  t.false(after.kernel.space(NS).routes.has('main 10.0.1.30'));
  t.deepEqual(await attached(after, running), first, 'the dynamic port is the same');
  t.is(after.kernel.space(undefined).sets?.get('ports')?.get('tcp . 8081'), '172.26.0.2 . 80');
  await attached(after, task('next'));
  t.is(after.kernel.space(undefined).routes.get('main 172.26.0.3'), 'dev sw-gnext scope link');
});

test('without a view a new process leaves networks and published ports as they are', async (t) => {
  const before = await make();
  before.plane.setView(view());
  await attached(before, task('web1', '10.0.1.11', [8080]));
  await before.plane.close();
  const host = () => JSON.stringify([...before.kernel.space(undefined).routes].sort());
  const known = host();
  const after = await make(before.kernel, [task('web1', '10.0.1.11', [8080])]);
  after.plane.setView({ ...view(), revision: 0, networks: new Map(), hosts: new Map() });
  await after.run();
  t.true(after.kernel.spaces.has(NS));
  t.is(host(), known);
  t.is(after.kernel.space(undefined).sets?.get('nodes')?.size, 2);
});

test('a network that left the view stays while a task is on it', async (t) => {
  const world = await make();
  world.plane.setView(view());
  await attached(world, task('web1', '10.0.1.11'));
  world.plane.setView(view({ ...plain(2), networks: [], services: [] }));
  await world.run();
  t.true(world.kernel.spaces.has(NS));
  void world.plane.detach('web1');
  await world.run();
  t.false(world.kernel.spaces.has(NS));
  t.false(world.kernel.space(undefined).links.has('sw-nfront000'));
});

test('addresses of the pool run out with a clear error', async (t) => {
  const world = await make();
  for (let i = 0; i < 5; i++) await attached(world, task(`t${i}`));
  await t.throwsAsync(attached(world, task('t5')), {
    code: 'resource-exhausted',
    message: /all addresses of 172.26.0.0\/29 are in use/,
  });
  void world.plane.detach('t3');
  await world.run();
  await attached(world, task('t5'));
  t.is(world.kernel.space(undefined).routes.get('main 172.26.0.5'), 'dev sw-gt5 scope link');
});

test('removeAll() leaves nothing; close() changes nothing and turns away who waits', async (t) => {
  const world = await make();
  world.plane.setView(view());
  await attached(world, task('web1', '10.0.1.11', [8080]));
  await world.plane.removeAll();
  t.deepEqual([...world.kernel.spaces.keys()], [undefined]);
  t.is(world.kernel.space(undefined).links.size, 0);
  t.is(world.ports.taken.size, 0);
  // A host may join again.
  world.plane.setView(view());
  await attached(world, task('web1', '10.0.1.11'));
  const waiting = world.plane.attach(
    { ...task('late'), attachments: [{ networkId: 'unknown', address: '10.9.0.2/24' }] },
    SIGNAL,
  );
  const known = world.kernel.space(NS).state();
  await Promise.all([t.throwsAsync(waiting, { code: 'unavailable' }), world.plane.close()]);
  t.deepEqual(world.kernel.space(NS).state(), known);
  await t.throwsAsync(world.plane.attach(task('x'), SIGNAL), { code: 'unavailable' });
});

test('what stands in the way on the host is looked for at start and once a minute', async (t) => {
  const kernel = new ModelKernel();
  kernel.foreign = ['a filter drops it'];
  const { plane, clock, run } = await make(kernel);
  t.deepEqual(plane.warnings, ['a filter drops it']);
  kernel.foreign = [];
  await clock.advance(59_000);
  t.deepEqual(plane.warnings, ['a filter drops it']);
  await run(2_000);
  t.deepEqual(plane.warnings, []);
  kernel.failing.set('passForeign', 1);
  await run(61_000);
  t.regex(plane.warnings.join(), /cannot look for filters/);
  plane.setView(view());
  await run();
  t.is(plane.appliedRevision, 1, 'the rest is done all the same');
});

test('tasks are counted when it is asked for, and their packets read where they are wired', async (t) => {
  const { plane, kernel, run } = await make();
  plane.setView(view());
  await run();
  for (const made of [
    plane.attach(task('web1', '10.0.1.11'), SIGNAL),
    plane.attach(task('lone'), SIGNAL),
  ]) {
    await run();
    await made;
  }
  const lone = '172.26.0.2';
  t.deepEqual(await plane.traffic(), new Map(), 'nothing is read when nothing is counted');
  t.false(kernel.calls.some((call) => call.startsWith('counters')));
  plane.count(new Set(['web1', 'lone', 'elsewhere']));
  await run();
  for (const [name, address] of [
    [NS, '10.0.1.11'],
    [undefined, lone],
  ] as const) {
    const space = kernel.space(name);
    for (const set of ['requests', 'replies', 'connections']) {
      t.deepEqual([...(space.sets?.get(set) ?? [])], [[address, '']]);
    }
    space.packets.set(`requests ${address}`, 5).set(`connections ${address}`, 2);
  }
  const traffic = { requests: 5, replies: 0, connections: 2 };
  t.deepEqual(Object.fromEntries(await plane.traffic()), { web1: traffic, lone: traffic });
  kernel.failing.set('counters', 2);
  t.deepEqual(await plane.traffic(), new Map(), 'what cannot be read is absent');
  plane.count(new Set());
  await run();
  t.is(kernel.space(NS).sets?.get('requests')?.size, 0);
  await plane.close();
});

test('clients of a service that asks for it are held while it has no back-end, and told of', async (t) => {
  const { plane, kernel, run } = await make();
  const ingress = 'ingress00000000000000000';
  const from = (revision: number, ready: boolean, hold = true): PlainView => {
    const plainView = plain(revision);
    const [web] = plainView.services;
    if (web === undefined) throw new Error('no service');
    const tasks = web.tasks.map((each) => ({ ...each, ready }));
    const published = { id: 'web', name: 'web', network: ingress, vip: '10.0.0.2' };
    return {
      ...plainView,
      networks: [
        ...plainView.networks,
        { id: ingress, name: 'ingress', vni: 4096, subnet: '10.0.0.0/24', ingress: true },
      ],
      services: [
        { ...web, hold, tasks },
        {
          ...published,
          hold,
          ports: [[8080, 80, 'tcp']],
          tasks: [{ id: 'web1', node: 'node1', address: '10.0.0.11', ready }],
        },
      ],
    };
  };
  const held = () => ({
    network: [...(kernel.space(NS).sets?.get('knocks')?.keys() ?? [])],
    host: [...(kernel.space(undefined).sets?.get('knocks')?.keys() ?? [])],
    gate: [...(kernel.space(undefined).sets?.get('held')?.keys() ?? [])],
    refused: [...(kernel.space(NS).sets?.get('empty')?.keys() ?? [])],
  });
  plane.setView(view(from(1, true)));
  await run();
  t.deepEqual(held(), { network: [], host: [], gate: [], refused: [] });
  t.false(plane.isHolding);

  plane.setView(view(from(2, false)));
  await run();
  const port = 'tcp . 8080';
  t.deepEqual(held(), { network: ['10.0.1.2'], host: [port], gate: [port], refused: ['10.0.1.2'] });
  t.true(plane.isHolding);
  kernel.space(undefined).packets.set(`knocks ${port}`, 3);
  kernel.space(NS).packets.set('knocks 10.0.1.2', 1);
  t.deepEqual(
    (await plane.knocks()).map(({ serviceId, total }) => [serviceId, total]),
    [['web', 3]],
    'a network without tasks here has nobody who could try',
  );
  const wired = plane.attach(task('client', '10.0.1.50'), SIGNAL);
  await run();
  await wired;
  t.deepEqual((await plane.knocks()).map(({ total }) => total).sort(), [1, 3]);
  kernel.failing.set('counters', 1);
  t.is((await plane.knocks()).length, 1);

  plane.setView(view(from(3, false, false)));
  await run();
  t.deepEqual(held(), { network: [], host: [], gate: [], refused: ['10.0.1.2'] });
  plane.setView(view(from(4, true)));
  await run();
  t.false(plane.isHolding);
  t.deepEqual(await plane.knocks(), []);
  await plane.close();
});
