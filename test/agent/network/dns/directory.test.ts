import test from 'ava';
import { Directory } from '../../../../agent/network/dns/directory.ts';
import { decodeView, type PlainView } from '../support/views.ts';

const WEB = '10.0.1.2';
const plain = (): PlainView => ({
  revision: 1,
  networks: [
    { id: 'front', name: 'Front', vni: 4097, subnet: '10.0.1.0/24' },
    { id: 'back', name: 'back', vni: 4098, subnet: '10.0.2.0/24' },
    { id: 'ingress', name: 'ingress', vni: 4096, subnet: '10.0.0.0/24', ingress: true },
  ],
  hosts: [],
  services: [
    {
      id: 'web',
      name: 'web',
      network: 'front',
      vip: WEB,
      aliases: ['www'],
      tasks: [
        { id: 't1', node: 'n1', address: '10.0.1.11' },
        { id: 't2', node: 'n2', address: '10.0.1.12' },
        { id: 't3', node: 'n2', address: '10.0.1.13', ready: false },
      ],
    },
    {
      id: 'rr',
      name: 'rr',
      network: 'front',
      tasks: [
        { id: 't4', node: 'n1', address: '10.0.1.21' },
        { id: 't5', node: 'n1', address: '10.0.1.22' },
      ],
    },
    { id: 'idle', name: 'idle', network: 'front', tasks: [] },
    { id: 'none', name: 'none', network: 'front', vip: '10.0.1.4', tasks: [] },
    {
      id: 'db',
      name: 'db',
      network: 'back',
      vip: '10.0.2.2',
      tasks: [{ id: 't6', node: 'n1', address: '10.0.2.11' }],
    },
    {
      id: 'pub',
      name: 'pub',
      network: 'ingress',
      vip: '10.0.0.2',
      tasks: [{ id: 't7', node: 'n1', address: '10.0.0.11' }],
    },
  ],
});
const attached = (taskId: string, hostname: string, ...on: [string, string][]) => ({
  task: {
    taskId,
    serviceId: '',
    hostname,
    hostPorts: [],
    attachments: on.map(([networkId, address]) => ({ networkId, address: `${address}/24` })),
  },
  addresses: on.map(([networkId, address]) => ({ networkId, address })),
});
const TASKS = [
  attached('t1', 'box1', ['front', '10.0.1.11'], ['ingress', '10.0.0.12']),
  attached('t6', 'box6', ['back', '10.0.2.11']),
  attached('both', 'BOTH', ['back', '10.0.2.30'], ['front', '10.0.1.30']),
  attached('alone', 'alone', ['bridge', '172.26.0.2']),
];
const directory = new Directory();
directory.update(decodeView(plain(), 'n1'), TASKS);

const addresses = (list: string[], ttlSeconds: number) => ({
  kind: 'addresses',
  addresses: list,
  ttlSeconds,
});
const NO_DATA = { kind: 'no-data' };
const FORWARD = { kind: 'forward' };

for (const [source, name, type, answer] of [
  ['10.0.1.11', 'web', 'A', addresses([WEB], 30)],
  ['10.0.1.11', 'WEB.', 'A', addresses([WEB], 30)],
  ['10.0.1.11', 'www', 'A', addresses([WEB], 30)],
  ['10.0.1.11', 'web.front', 'A', addresses([WEB], 30)],
  ['10.0.1.11', 'web.back', 'A', FORWARD],
  ['10.0.1.11', 'web', 'AAAA', NO_DATA],
  ['10.0.1.11', 'web', 'MX', NO_DATA],
  ['10.0.1.11', 'tasks.web', 'A', addresses(['10.0.1.11', '10.0.1.12'], 3)],
  ['10.0.1.11', 'tasks.www', 'A', addresses(['10.0.1.11', '10.0.1.12'], 3)],
  ['10.0.1.11', 'rr', 'A', addresses(['10.0.1.21', '10.0.1.22'], 3)],
  ['10.0.1.11', 'idle', 'A', NO_DATA],
  ['10.0.1.11', 'none', 'A', addresses(['10.0.1.4'], 30)],
  ['10.0.1.11', 'tasks.none', 'A', NO_DATA],
  ['10.0.1.11', 'web.3.t3', 'A', addresses(['10.0.1.13'], 3)],
  ['10.0.1.11', 'box1', 'A', addresses(['10.0.1.11'], 3)],
  ['10.0.1.11', 'both', 'A', addresses(['10.0.1.30'], 3)],
  ['10.0.1.11', 'db', 'A', FORWARD],
  ['10.0.1.11', 'pub', 'A', FORWARD], // on the ingress network with it: no reason to know its name
  ['10.0.1.11', 'example.com', 'A', FORWARD],
  ['10.0.1.30', 'db', 'A', addresses(['10.0.2.2'], 30)],
  ['10.0.2.30', 'web', 'A', addresses([WEB], 30)],
  ['172.26.0.2', 'web', 'A', FORWARD],
  [
    '10.0.1.11',
    '12.1.0.10.in-addr.arpa',
    'PTR',
    { kind: 'name', name: 'web.2.t2.Front', ttlSeconds: 3 },
  ],
  ['10.0.1.11', '2.1.0.10.in-addr.arpa', 'PTR', { kind: 'name', name: 'web.Front', ttlSeconds: 3 }],
  ['10.0.1.11', '200.1.0.10.in-addr.arpa', 'PTR', { kind: 'no-name' }],
  ['10.0.1.11', '11.2.0.10.in-addr.arpa', 'PTR', FORWARD],
  ['10.0.1.11', '8.8.8.8.in-addr.arpa', 'PTR', FORWARD],
  ['10.0.1.11', '12.1.0.10.in-addr.arpa', 'A', NO_DATA],
] as const) {
  test(`${source} asks for ${type} of ${name}`, (t) => {
    t.deepEqual(directory.lookup(source, { name, type }) as unknown, answer);
  });
}

test('only addresses of tasks are known', (t) => {
  t.true(directory.knows('10.0.1.11'));
  t.true(directory.knows('172.26.0.2'));
  t.false(directory.knows('10.0.1.12')); // a task of another host asks that host
  t.false(directory.knows('192.0.2.7'));
});

test('update() is seen by the next question', (t) => {
  const changing = new Directory();
  const first = plain();
  changing.update(decodeView(first, 'n1'), TASKS);
  t.is(changing.lookup('10.0.1.11', { name: 'tasks.web', type: 'A' }).kind, 'addresses');
  for (const service of first.services) service.tasks = [];
  changing.update(decodeView(first, 'n1'), TASKS);
  t.is(changing.lookup('10.0.1.11', { name: 'tasks.web', type: 'A' }).kind, 'no-data');
  t.is(changing.lookup('10.0.1.30', { name: 'box1', type: 'A' }).kind, 'addresses');
  changing.update(decodeView(first, 'n1'), TASKS.slice(1));
  t.is(changing.lookup('10.0.1.30', { name: 'box1', type: 'A' }).kind, 'forward');
  changing.update(undefined, []);
  t.false(changing.knows('10.0.1.11'));
});

test('a service name goes before the host name of somebody’s container', (t) => {
  const other = new Directory();
  other.update(decodeView(plain(), 'n1'), [attached('evil', 'web', ['front', '10.0.1.66'])]);
  t.deepEqual(
    other.lookup('10.0.1.66', { name: 'web', type: 'A' }) as unknown,
    addresses([WEB], 30),
  );
});
