import test from 'ava';
import {
  checkNetworkSpec,
  completeNetworkSpec,
} from '../../../manager/control/validation/network-spec.ts';
import { type ErrorCode, isShoalError } from '../../../shared/errors.ts';
import { type IpamConfig, NetworkSpec, TaskState } from '../../../shared/gen/shoal/v1/objects.ts';
import { controlFixture } from '../../support/control.ts';
import { networkFixture, taskFixture } from '../../support/objects.ts';
import type { MessageInitShape } from '../../support/types.ts';

const refused: [MessageInitShape<typeof NetworkSpec>, string, ErrorCode?][] = [
  [{ name: '' }, 'name must be provided'],
  [
    { name: 'a b' },
    'invalid network name "a b": at most 64 of [a-zA-Z0-9_.-], the first one of [a-zA-Z0-9]',
  ],
  [{ name: 'host' }, 'operation is not permitted on predefined host network', 'permission-denied'],
  [
    { driver: 'macvlan' },
    'network driver "macvlan" is not supported for cluster networks: use overlay',
    'unimplemented',
  ],
  [
    { driverOptions: { encrypted: '' } },
    'network option "encrypted" is not supported yet: leave it out',
    'unimplemented',
  ],
  [
    { driverOptions: { 'com.docker.network.driver.mtu': 'big' } },
    'option com.docker.network.driver.mtu: "big" must be a number from 576 to 65535',
  ],
  [{ ipv6: true }, 'networks with IPv6 are not supported yet: leave out --ipv6', 'unimplemented'],
  [
    { ipam: [{ subnet: 'fd00:9::/64' }] },
    'IPAM: subnet fd00:9::/64: networks with IPv6 are not supported yet: give one of IPv4',
    'unimplemented',
  ],
  [{ ingress: true, attachable: true }, 'ingress network cannot be attachable'],
  [{ ingress: true, internal: true }, 'ingress network cannot be internal'],
];
for (const [spec, message, code = 'invalid-argument'] of refused) {
  test(`a network is refused: ${message}`, (t) => {
    const full = completeNetworkSpec(NetworkSpec.fromPartial({ name: 'backend', ...spec }));
    t.true(
      isShoalError(
        t.throws(() => checkNetworkSpec(full), { message }),
        code,
      ),
    );
  });
}

const refusedIpam: [Partial<IpamConfig>[], string][] = [
  [
    [{ subnet: '10.0.0.0' }],
    'IPAM: invalid subnet "10.0.0.0": expected an address and a length, like 10.10.0.0/24',
  ],
  [
    [{ subnet: '10.0.0.1/24' }],
    'IPAM: invalid subnet 10.0.0.1/24: it should be 10.0.0.0/24, without host bits',
  ],
  [
    [{ subnet: '10.0.0.0/30' }],
    'IPAM: invalid subnet 10.0.0.0/30: its length must be from /8 to /29',
  ],
  [[{ gateway: '10.0.0.1' }], 'IPAM: a range or a gateway needs the subnet that it lies in'],
  [
    [{ subnet: '10.0.0.0/24', gateway: '10.0.1.1' }],
    'IPAM: gateway 10.0.1.1 is not in subnet 10.0.0.0/24',
  ],
  [
    [{ subnet: '10.0.0.0/24', range: '10.0.0.0/16' }],
    'IPAM: range "10.0.0.0/16" is not a part of subnet 10.0.0.0/24',
  ],
  [
    [{ subnet: '10.0.0.0/24', auxAddresses: { router: 'x' } }],
    'IPAM: auxiliary address router "x" is not an address',
  ],
  [
    [{ subnet: '10.0.0.0/16' }, { subnet: '10.0.3.0/24' }],
    'IPAM: subnets 10.0.0.0/16 and 10.0.3.0/24 overlap',
  ],
];
for (const [ipam, message] of refusedIpam) {
  test(`a network is refused: ${message}`, (t) => {
    const spec = NetworkSpec.fromPartial({ name: 'backend', ipam });
    t.throws(() => checkNetworkSpec(completeNetworkSpec(spec)), { message });
  });
}

test('a network is created as an overlay, for the allocator to fill in', async (t) => {
  const { createNetwork, store } = await controlFixture();
  const id = await createNetwork({
    name: 'backend',
    ipam: [{ subnet: '10.9.0.0/24', gateway: '10.9.0.1', range: '10.9.0.128/25' }],
    driverOptions: { 'com.docker.network.driver.mtu': '1400' },
  });
  t.like(store.get('network', id), { vni: 0, ipam: [], spec: { driver: 'overlay' } });
});

test('a name, a subnet and the place of the ingress network are taken once', async (t) => {
  const given = networkFixture({
    spec: { name: 'given', driver: 'overlay' },
    ipam: [{ subnet: '10.0.7.0/24' }],
  });
  const { createNetwork } = await controlFixture({ network: [given] });
  await t.throwsAsync(createNetwork({ name: 'given' }), {
    message: 'network with name given already exists',
  });
  await t.throwsAsync(createNetwork({ name: 'wide', ipam: [{ subnet: '10.0.0.0/16' }] }), {
    message:
      'Pool overlaps with other one on this address space: 10.0.0.0/16 overlaps with 10.0.7.0/24 of network given',
  });
  await t.throwsAsync(createNetwork({ name: 'mesh', ingress: true }), {
    message: /^ingress network \(\w+\) is already present: remove it first$/,
  });
});

test('a network is not removed while a service asks for it', async (t) => {
  const { createNetwork, createService, remove, store } = await controlFixture();
  await createNetwork({ name: 'backend' });
  const container = { image: 'web' };
  await createService({ task: { container, networks: [{ target: 'backend' }] } });
  await t.throwsAsync(remove('network', 'backend'), {
    message: 'network backend is in use by service web',
  });
  await remove('service', 'web');
  await remove('network', 'backend');
  t.is(store.byName('network', 'backend'), undefined);
});

test('a task holds a network while it runs for a service that dropped it, and no longer', async (t) => {
  const { createNetwork, createService, remove, writer, store } = await controlFixture();
  const target = await createNetwork({ name: 'backend' });
  const serviceId = await createService();
  const task = taskFixture({
    serviceId,
    spec: { container: { image: 'web' }, networks: [{ target }] },
    status: { state: TaskState.RUNNING },
  });
  await writer.write([
    { action: { $case: 'create', value: { kind: { $case: 'task', value: task } } } },
  ]);
  await t.throwsAsync(remove('network', 'backend'), {
    message: `network backend is in use by task ${task.id}`,
  });
  const desiredState = TaskState.SHUTDOWN;
  await writer.write([
    { action: { $case: 'taskDesiredState', value: { taskId: task.id, desiredState } } },
  ]);
  await remove('network', 'backend');
  t.is(store.byName('network', 'backend'), undefined);
});

test('the ingress network goes only when nothing is published on it', async (t) => {
  const { createService, remove } = await controlFixture();
  const id = await createService({ endpoint: { ports: [{ targetPort: 80 }] } });
  await t.throwsAsync(remove('network', 'ingress'), {
    message: `ingress network cannot be removed because service web (${id}) depends on it`,
  });
  await remove('service', id);
  await t.notThrowsAsync(remove('network', 'ingress'));
});
