import test from 'ava';
import { conntrackArguments } from '../../../agent/network/kernel.ts';
import { makeGateway, makeVxlan, tableTransactions } from '../../../agent/network/render.ts';
import { hostTable, networkTable } from '../../../agent/network/tables.ts';
import { ModelNamespace } from './support/model-kernel.ts';

const shape = networkTable({ internal: false, ingress: false, dnsPort: 5399 });
const table = (services: number) => ({
  fingerprint: shape.fingerprint,
  sets: new Map([
    ['svc', new Map(Array.from({ length: services }, (_, i) => [`10.0.${i}.1`, 'goto s64']))],
    ['empty', new Map([['10.9.9.9', '']])],
  ]),
  slots: new Map(
    Array.from({ length: services }, (_, i) => [
      `m64 10.0.${i}.1`,
      new Array<string>(64).fill(`10.1.${i}.1`),
    ]),
  ),
});

test('a change of elements is one transaction that also records the revision', (t) => {
  const change = {
    kind: 'update' as const,
    remove: [{ set: 'm16', key: '10.0.0.1 . 3', value: '10.1.0.1' }],
    add: [
      { set: 'm16', key: '10.0.0.1 . 3', value: '10.1.0.2' },
      { set: 'empty', key: '10.0.0.9', value: '' },
    ],
  };
  t.deepEqual(tableTransactions(shape, table(0), change, 2 ** 33 + 5), [
    [
      'delete element ip sw m16 { 10.0.0.1 . 3 }',
      'add element ip sw m16 { 10.0.0.1 . 3 : 10.1.0.2 }',
      'add element ip sw empty { 10.0.0.9 }',
      'delete element ip sw gen { 1, 2 }',
      'add element ip sw gen { 1 : 5, 2 : 2 }',
    ].join('\n'),
  ]);
  t.deepEqual(tableTransactions(shape, table(0), { kind: 'none' }, 9), []);
});

test('a whole table is one transaction, so that its hooks are never away', (t) => {
  const texts = tableTransactions(shape, table(3), { kind: 'replace' }, 9);
  t.is(texts.length, 1);
  t.true(texts[0]?.startsWith('table ip sw\ndelete table ip sw\ntable ip sw {\n'));
  const model = new ModelNamespace();
  for (const text of texts) model.nft(text);
  t.deepEqual(model.state().table?.slots, table(3).slots);
  t.is(model.state().table?.fingerprint, shape.fingerprint);
});

test('a very large table comes in parts: slots, then what leads to them, then the mark that it is whole', (t) => {
  const texts = tableTransactions(shape, table(200), { kind: 'replace' }, 9);
  t.true(texts.length > 2);
  const model = new ModelNamespace();
  for (const [index, text] of texts.entries()) {
    model.nft(text);
    const { fingerprint } = model.state().table ?? {};
    t.is(fingerprint, index === texts.length - 1 ? shape.fingerprint : Number.NaN);
    if (index < texts.length - 1) t.false(text.includes('add element ip sw svc'));
  }
  t.deepEqual(model.state().table?.slots, table(200).slots);
});

test('tables of another kind have another fingerprint', (t) => {
  const all = [
    shape,
    networkTable({ internal: true, ingress: false, dnsPort: 5399 }),
    networkTable({ internal: false, ingress: true, dnsPort: 5399 }),
    networkTable({ internal: false, ingress: false, dnsPort: 53 }),
    hostTable({ dataPathPort: 4789, dnsPort: 5399 }),
    hostTable({ dataPathPort: 4790, dnsPort: 5399 }),
  ];
  t.is(new Set(all.map(({ fingerprint }) => fingerprint)).size, all.length);
});

test('devices are made in the namespace they are for', (t) => {
  t.is(
    makeVxlan('vx', 'sw-n-a', {
      kind: 'vxlan',
      up: true,
      mtu: 1450,
      mac: '02:44:00:00:00:01',
      vxlan: { vni: 5000, port: 4789, local: '192.0.2.1' },
    }),
    'link add vx netns sw-n-a address 02:44:00:00:00:01 mtu 1450 type vxlan id 5000 dstport 4789 local 192.0.2.1 nolearning',
  );
  const end = (mac: string) => ({ kind: 'veth' as const, up: true, mtu: 1450, mac });
  t.is(
    makeGateway(
      { name: 'sw-na', link: end('02:45:00:00:00:01') },
      { name: 'gw', namespace: 'sw-n-a', link: end('02:46:00:00:00:01') },
    ),
    'link add sw-na address 02:45:00:00:00:01 mtu 1450 type veth peer name gw address 02:46:00:00:00:01 mtu 1450 netns sw-n-a',
  );
});

for (const [key, backend, args] of [
  ['10.0.0.2', '10.0.0.11', '-p udp --orig-dst 10.0.0.2 --reply-src 10.0.0.11'],
  ['udp . 53', '10.0.0.11 . 5353', '-p udp --orig-port-dst 53 --reply-src 10.0.0.11'],
  ['udp . 53', '', '-p udp --orig-port-dst 53'],
  ['tcp . 80', '10.0.0.11 . 8080', undefined],
] as const) {
  test(`flows of "${key}" to "${backend}" are cut by ${args ?? 'nobody'}`, (t) => {
    t.is(conntrackArguments({ key, backend })?.join(' '), args);
  });
}
