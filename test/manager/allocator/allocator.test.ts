import test from 'ava';
import { runAllocator } from '../../../manager/allocator/runner.ts';
import {
  createAction,
  removeAction,
  taskStatusAction,
  updateAction,
} from '../../../manager/store/tables.ts';
import { ShoalError } from '../../../shared/errors.ts';
import {
  type Network,
  type Service,
  type Task,
  TaskState,
} from '../../../shared/gen/shoal/v1/objects.ts';
import { silentLog } from '../../../shared/log.ts';
import { settle } from '../../support/manual-clock.ts';
import {
  clusterFixture,
  networkFixture,
  nodeFixture,
  serviceFixture,
  taskOf,
  taskSpecFixture,
} from '../../support/objects.ts';
import { type StoreFixture, storeFixture } from '../../support/store.ts';

const port = (targetPort: number, publishedPort = 0, publishMode = 'ingress') => ({
  name: '',
  protocol: 'tcp',
  targetPort,
  publishedPort,
  publishMode,
});
const ingress = () =>
  networkFixture({ spec: { name: 'ingress', driver: 'overlay', ingress: true } });
const onNetwork = (network: Network, fields: object = {}) =>
  serviceFixture({
    spec: { task: taskSpecFixture({ networks: [{ target: network.id }] }), ...fields },
  });
const small = () =>
  networkFixture({ spec: { name: 'small', driver: 'overlay', ipam: [{ subnet: '10.5.0.0/29' }] } });

async function allocating(objects: Parameters<typeof storeFixture>[0] = {}) {
  const fixture = await storeFixture({ cluster: [clusterFixture()], ...objects });
  return { ...fixture, ...run(fixture) };
}

function run({ store, writer, clock, random }: StoreFixture) {
  const stop = new AbortController();
  const ended = runAllocator({ store, writer, clock, random, log: silentLog }, stop.signal);
  return {
    stop: async () => {
      stop.abort();
      await ended;
    },
    rest: () => clock.advance(1000),
    network: (id: string) => store.get('network', id) as Network,
    service: (id: string) => store.get('service', id) as Service,
    task: (id: string) => store.get('task', id) as Task,
    addressesOf: (id: string) => store.get('task', id)?.networks.flatMap((one) => one.addresses),
  };
}

test('networks get numbers from 4096, subnets of the pools and their first address as gateway', async (t) => {
  const [a, b] = [ingress(), networkFixture({ spec: { name: 'b', driver: 'overlay' } })];
  const c = networkFixture({
    spec: {
      name: 'c',
      ipam: [{ subnet: '10.0.2.0/23', range: '10.0.3.0/24', auxAddresses: { host: '10.0.3.7' } }],
    },
  });
  const d = networkFixture({ spec: { name: 'd', driver: 'overlay', ipv6: true } });
  const { stop, rest, network } = await allocating({ network: [a, b, c, d] });
  await rest();
  t.deepEqual(
    [a, b, c, d].map(({ id }) => network(id).vni),
    [4096, 4097, 4098, 4099],
  );
  const ipam = [a, b, c].map(({ id }) => network(id).ipam[0]);
  t.deepEqual(
    ipam.map((one) => [one?.subnet, one?.gateway]),
    [
      ['10.0.0.0/24', '10.0.0.1'],
      ['10.0.1.0/24', '10.0.1.1'],
      ['10.0.2.0/23', '10.0.2.1'],
    ],
  );
  t.is(ipam[2]?.range, '10.0.3.0/24');
  t.deepEqual(
    network(d.id).ipam.map((one) => [one.subnet, one.gateway]),
    [
      ['10.0.4.0/24', '10.0.4.1'],
      ['fd53:686f:6100:1003::/64', 'fd53:686f:6100:1003::1'],
    ],
  );
  await stop();
});

test('a default subnet never hides an address of a host', async (t) => {
  const node = nodeFixture({ status: { state: 2, address: '10.0.0.17' } });
  const network = ingress();
  const { stop, rest, network: stored } = await allocating({ node: [node], network: [network] });
  await rest();
  t.is(stored(network.id).ipam[0]?.subnet, '10.0.1.0/24');
  await stop();
});

test('a subnet that overlaps says with which, and is given when that network goes', async (t) => {
  const first = small();
  const second = networkFixture({ spec: { name: 'wide', ipam: [{ subnet: '10.5.0.0/16' }] } });
  const { stop, rest, network, writer } = await allocating({ network: [first, second] });
  await rest();
  t.is(
    network(second.id).allocationError,
    'subnet 10.5.0.0/16 overlaps with 10.5.0.0/29 of network small',
  );
  await writer.write([removeAction('network', first.id)]);
  await rest();
  t.is(network(second.id).allocationError, '');
  t.is(network(second.id).ipam[0]?.subnet, '10.5.0.0/16');
  await stop();
});

test('networks, a service on them and its tasks are allocated in one entry', async (t) => {
  const { stop, rest, writer, consensus, service, task } = await allocating();
  await rest();
  const [net, mesh] = [small(), ingress()];
  const made = onNetwork(net, { endpoint: { ports: [port(80)] } });
  const tasks = [1, 2].map((slot) => taskOf(made, { slot, ports: [port(80)] }));
  const before = consensus.entries.length;
  await writer.write([
    createAction('network', net),
    createAction('network', mesh),
    createAction('service', made),
    ...tasks.map((one) => createAction('task', one)),
  ]);
  await rest();
  t.is(consensus.entries.length - before, 2);
  t.deepEqual(service(made.id).endpoint, {
    ports: [port(80, 30000)],
    virtualIps: [
      { networkId: net.id, address: '10.5.0.2/29' },
      { networkId: mesh.id, address: '10.0.0.2/24' },
    ],
  });
  const [one, two] = tasks.map(({ id }) => task(id));
  t.is(one?.status?.state, TaskState.PENDING);
  t.is(one?.status?.message, 'pending task scheduling');
  t.deepEqual(one?.ports, [port(80, 30000)]);
  t.deepEqual(one?.networks, [
    { networkId: mesh.id, addresses: ['10.0.0.3/24'], aliases: [] },
    { networkId: net.id, addresses: ['10.5.0.3/29'], aliases: [] },
  ]);
  t.deepEqual(
    two?.networks.map((attachment) => attachment.addresses),
    [['10.0.0.4/24'], ['10.5.0.4/29']],
  );
  await stop();
});

test('a service that needs neither network nor port is left as it is', async (t) => {
  const made = serviceFixture();
  const task = taskOf(made);
  const { stop, rest, service, task: stored } = await allocating({ service: [made], task: [task] });
  await rest();
  t.is(service(made.id).endpoint, undefined);
  t.is(stored(task.id).status?.state, TaskState.PENDING);
  await stop();
});

test('dnsrr services have no virtual address, local networks no attachment', async (t) => {
  const net = small();
  const made = serviceFixture({
    spec: {
      task: taskSpecFixture({ networks: [{ target: net.id }, { target: 'host' }] }),
      endpoint: { mode: 'dnsrr' },
    },
  });
  const one = taskOf(made);
  const { stop, rest, service, task } = await allocating({
    network: [net],
    service: [made],
    task: [one],
  });
  await rest();
  t.deepEqual(service(made.id).endpoint?.virtualIps, [{ networkId: net.id, address: '' }]);
  t.deepEqual(task(one.id).networks, [
    { networkId: net.id, addresses: ['10.5.0.2/29'], aliases: [] },
  ]);
  await stop();
});

test('a task without an address says in which subnet, and gets one when another task ends', async (t) => {
  const net = small(); // 6 addresses: gateway, VIP, four tasks
  const made = onNetwork(net);
  const tasks = [1, 2, 3, 4, 5].map((slot) => taskOf(made, { slot }));
  const { stop, rest, task, addressesOf, writer, consensus } = await allocating({
    network: [net],
    service: [made],
    task: tasks,
  });
  await rest();
  const [first, , , , last] = tasks;
  t.is(task(last?.id ?? '').status?.state, TaskState.NEW);
  t.is(task(last?.id ?? '').status?.err, 'network small has no free address in 10.5.0.0/29');
  const before = consensus.entries.length;
  await rest();
  t.is(consensus.entries.length, before, 'told once');
  const freed = addressesOf(first?.id ?? '');
  const status = task(first?.id ?? '').status;
  if (status)
    await writer.write([taskStatusAction(first?.id ?? '', { ...status, state: TaskState.FAILED })]);
  await rest();
  t.is(task(last?.id ?? '').status?.state, TaskState.PENDING);
  t.is(task(last?.id ?? '').status?.err, '');
  t.deepEqual(addressesOf(last?.id ?? ''), freed);
  await stop();
});

test('a port that another service publishes is refused until that service goes', async (t) => {
  const spec = { endpoint: { ports: [port(80, 8080)] } };
  const [first, second] = [serviceFixture({ spec }), serviceFixture({ spec })];
  const waiting = taskOf(second, { ports: [port(80, 8080)] });
  const { stop, rest, service, task, writer } = await allocating({
    network: [ingress()],
    service: [first, second],
    task: [waiting],
  });
  await rest();
  const refusal = `port '8080' is already in use by service ${first.id} as an ingress port`;
  t.is(service(second.id).allocationError, refusal);
  t.is(task(waiting.id).status?.err, refusal);
  t.is(task(waiting.id).status?.state, TaskState.NEW);
  await writer.write([removeAction('service', first.id)]);
  await rest();
  t.is(service(second.id).allocationError, '');
  t.is(service(second.id).endpoint?.ports[0]?.publishedPort, 8080);
  t.is(task(waiting.id).status?.state, TaskState.PENDING);
  await stop();
});

test('host-mode ports may be equal, but not equal to an ingress port', async (t) => {
  const service = (mode: string) =>
    serviceFixture({ spec: { endpoint: { ports: [port(80, 80, mode)] } } });
  const [first, second, third] = [service('host'), service('host'), service('ingress')];
  const {
    stop,
    rest,
    service: stored,
  } = await allocating({
    network: [ingress()],
    service: [first, second, third],
  });
  await rest();
  t.is(stored(second.id).allocationError, '');
  t.regex(
    stored(third.id).allocationError,
    /^port '80' is already in use by service .* as a host-published port$/,
  );
  await stop();
});

test('publishing without an ingress network says what to do, and works once there is one', async (t) => {
  const made = serviceFixture({ spec: { endpoint: { ports: [port(80)] } } });
  const { stop, rest, service, writer } = await allocating({ service: [made] });
  await rest();
  t.regex(service(made.id).allocationError, /^there is no ingress network: create one/);
  await writer.write([createAction('network', ingress())]);
  await rest();
  t.is(service(made.id).allocationError, '');
  t.true((service(made.id).endpoint?.ports[0]?.publishedPort ?? 0) >= 30000);
  await stop();
});

test('an updated service keeps its addresses and the numbers of ports that stay', async (t) => {
  const [net, mesh] = [small(), ingress()];
  const made = onNetwork(net, { endpoint: { ports: [port(80), port(443, 8443)] } });
  const { stop, rest, service, writer } = await allocating({
    network: [net, mesh],
    service: [made],
  });
  await rest();
  const before = service(made.id);
  const ports = [port(443, 8443), port(8080), port(80)];
  const spec = before.spec && { ...before.spec, endpoint: { mode: '', ports } };
  await writer.write([updateAction('service', { ...before, spec })]);
  await rest();
  const after = service(made.id).endpoint;
  t.deepEqual(
    after?.ports.map((one) => one.publishedPort),
    [8443, 30001, 30000],
  );
  t.deepEqual(after?.virtualIps, before.endpoint?.virtualIps);
  await stop();
});

test('another leader goes on with what objects hold, and hands out nothing twice', async (t) => {
  const [net, mesh] = [small(), ingress()];
  const made = onNetwork(net, { endpoint: { ports: [port(80)] } });
  const one = taskOf(made);
  const first = await allocating({ network: [net, mesh], service: [made], task: [one] });
  await first.rest();
  await first.stop();
  const other = onNetwork(net, { endpoint: { ports: [port(80)] } });
  const two = taskOf(other);
  const third = networkFixture();
  await first.writer.write([
    createAction('network', third),
    createAction('service', other),
    createAction('task', two),
  ]);
  const second = run(first);
  await second.rest();
  t.is(second.network(third.id).vni, 4098);
  t.is(second.network(third.id).ipam[0]?.subnet, '10.0.1.0/24');
  t.is(second.service(other.id).endpoint?.ports[0]?.publishedPort, 30001);
  t.is(second.service(other.id).endpoint?.virtualIps[0]?.address, '10.5.0.4/29');
  t.deepEqual(second.addressesOf(two.id), ['10.5.0.5/29']);
  await second.stop();
});

test('addresses of a write whose outcome is unknown are not given to others before it is settled', async (t) => {
  const net = small();
  const made = onNetwork(net);
  const fixture = await storeFixture({
    cluster: [clusterFixture()],
    network: [net],
    service: [made],
  });
  // The first write after the start is the VIP's; the one held back is the first task's.
  let held: Parameters<typeof fixture.writer.write>[0] | undefined;
  let hold = false;
  const writer = {
    write: async (actions: NonNullable<typeof held>) => {
      if (hold) {
        hold = false;
        held = actions;
        throw new ShoalError('unknown-outcome', 'lost the answer');
      }
      return fixture.writer.write(actions);
    },
  };
  const loop = run({ ...fixture, writer: writer as unknown as StoreFixture['writer'] });
  const others = [1, 2, 3].map((slot) => taskOf(made, { slot }));
  await fixture.writer.write(others.map((task) => createAction('task', task)));
  await loop.rest();
  const one = taskOf(made, { slot: 4 });
  const two = taskOf(made, { slot: 5 });
  hold = true;
  await fixture.writer.write([createAction('task', one)]);
  await settle();
  t.truthy(held);
  // The first task goes before the loop writes again: its address, the last one, seems to be free.
  await fixture.writer.write([removeAction('task', one.id), createAction('task', two)]);
  const refusals: (string | undefined)[] = [];
  fixture.store.onCommit(() => refusals.push(loop.task(two.id).status?.err));
  await loop.rest();
  t.is(refusals[0], 'network small has no free address in 10.5.0.0/29');
  t.deepEqual(loop.addressesOf(two.id), ['10.5.0.6/29'], 'settled by the write of the refusal');
  await loop.stop();
});
