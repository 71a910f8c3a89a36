import test from 'ava';
import {
  containerCommands,
  freeEgressAddress,
  planContainer,
  portAddress,
  wiringOf,
} from '../../../agent/network/local.ts';
import type { LocalTask } from '../../../agent/network/types.ts';
import { decodeView, type PlainView } from './support/views.ts';

const network = (
  id: string,
  subnet: string,
  more: Partial<PlainView['networks'][number]> = {},
) => ({
  id,
  name: id,
  vni: 4096,
  subnet,
  ...more,
});
const { networks } = decodeView(
  {
    revision: 1,
    networks: [
      network('ingress', '10.0.0.0/24', { ingress: true }),
      network('front', '10.0.1.0/24'),
      network('inner', '10.0.2.0/24', { internal: true }),
      network('small', '10.0.3.0/24', { options: { 'com.docker.network.driver.mtu': '1200' } }),
      network('secret', '10.0.4.0/24', { options: { encrypted: '' } }),
    ],
    hosts: [],
    services: [],
  },
  'node1',
);
const task = (...on: string[]): LocalTask => ({
  taskId: 'task00000000000000000001',
  serviceId: 'svc',
  hostname: 'box',
  attachments: on.map((networkId, i) => ({
    networkId,
    address: `${networks.get(networkId)?.ipam[0]?.subnet.replace('.0/24', '')}.${i + 5}/24`,
  })),
  hostPorts: [],
});

for (const [on, gateway] of [
  [['front'], 'front'],
  [['front', 'small'], 'front'],
  [['inner', 'front'], 'front'],
  [['front', 'ingress'], 'ingress'],
  [['inner'], undefined],
  [['inner', 'ingress'], 'ingress'],
] as const) {
  test(`a container on ${on.join(' and ')} reaches the world by ${gateway ?? 'nothing'}`, (t) => {
    const plan = planContainer(task(...on), networks, 1450, undefined);
    t.is(plan.gateway?.networkId, gateway);
    const defaults = containerCommands(plan, '1').filter((line) =>
      /^route replace default (?!.* table )/.test(line),
    );
    t.is(defaults.length, gateway === undefined ? 0 : 1);
    t.deepEqual(
      plan.interfaces.map(({ name }) => name),
      on.map((_, i) => `eth${i}`),
    );
  });
}

test('planContainer() takes the smaller MTU of cluster and network', (t) => {
  const plan = planContainer(task('front', 'small'), networks, 1400, undefined);
  t.deepEqual(
    plan.interfaces.map(({ mtu }) => mtu),
    [1400, 1200],
  );
});

test('planContainer() refuses an encrypted network and one that is not here', (t) => {
  t.throws(() => planContainer(task('secret'), networks, 1450, undefined), {
    message: /network secret asks for encryption/,
  });
  const unknown = { ...task(), attachments: [{ networkId: 'gone', address: '10.9.0.5/24' }] };
  t.throws(() => planContainer(unknown, networks, 1450, undefined), {
    message: 'network gone is not known on this host',
  });
});

test('a container on several networks answers by the interface it was asked on', (t) => {
  const lines = containerCommands(
    planContainer(task('front', 'inner'), networks, 1450, undefined),
    '1',
  );
  for (const [index, address] of [
    [0, '10.0.1.5'],
    [1, '10.0.2.6'],
  ] as const) {
    t.true(lines.includes(`rule add pref ${100 + index} from ${address} lookup ${100 + index}`));
    t.true(
      lines.includes(
        `route replace default via 169.254.1.1 dev eth${index} onlink table ${100 + index}`,
      ),
    );
  }
  t.true(lines.includes('route replace 10.0.2.0/24 via 169.254.1.1 dev eth1 onlink src 10.0.2.6'));
});

test('the commands of a container on one network are these', (t) => {
  const plan = planContainer(task('front'), networks, 1450, undefined);
  const [{ mac = '' } = {}] = plan.interfaces;
  t.deepEqual(containerCommands(plan, '77'), [
    'link set lo up',
    `link add eth0 address ${mac} mtu 1450 type veth peer name ctask00000000 address ee:ee:ee:ee:ee:ee mtu 1450 netns sw-n-front`,
    'link set eth0 addrgenmode none',
    'addr replace 10.0.1.5/32 dev eth0',
    'link set eth0 up',
    'neigh replace 169.254.1.1 lladdr ee:ee:ee:ee:ee:ee dev eth0 nud permanent',
    'route replace default via 169.254.1.1 dev eth0 onlink src 10.0.1.5',
    'route replace 127.0.0.11 via 169.254.1.1 dev eth0 onlink table local src 10.0.1.5',
  ]);
});

test('a container without networks is linked to the host, by an address of its pool', (t) => {
  const plan = planContainer(task(), networks, 1450, '172.26.0.2');
  const [line] = containerCommands(plan, '77').filter((text) => text.startsWith('link add'));
  t.regex(line ?? '', /peer name sw-gtask000000 .* netns 77$/);
  t.is(portAddress(plan), '172.26.0.2');
  const wiring = wiringOf(plan, '/run/netns/x', []);
  t.deepEqual(wiring.nameservers, ['127.0.0.11']);
  t.deepEqual(wiring.sysctls, { 'net.ipv4.conf.all.route_localnet': '1' });
  t.is(wiring.interfaces[0]?.networkId, 'bridge');
});

test('names of links fit into 15 characters', (t) => {
  for (const plan of [
    planContainer(task('front'), networks, 1450, undefined),
    planContainer(task(), networks, 1450, '172.26.0.2'),
  ]) {
    for (const { peer, name } of plan.interfaces) {
      t.true(peer.length <= 15, peer);
      t.true(name.length <= 15);
    }
  }
});

test('freeEgressAddress() gives the first free one, and none when all are taken', (t) => {
  t.is(freeEgressAddress('172.26.0.0/16', new Set()), '172.26.0.2');
  t.is(freeEgressAddress('172.26.0.0/29', new Set(['172.26.0.2', '172.26.0.4'])), '172.26.0.3');
  const all = new Set([2, 3, 4, 5, 6].map((i) => `172.26.0.${i}`));
  t.is(freeEgressAddress('172.26.0.0/29', all), undefined);
  t.is(freeEgressAddress('nonsense', new Set()), undefined);
});
