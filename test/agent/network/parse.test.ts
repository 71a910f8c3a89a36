import test from 'ava';
import { type Dump, parseCounters, parseHost, parseNetwork } from '../../../agent/network/parse.ts';

const EMPTY: Dump = {
  links: '[]',
  addresses: '[]',
  routes: '[]',
  neighbours: '',
  rules: '[]',
  forwarding: '[]',
  table: '',
};
const nft = (...items: object[]) =>
  JSON.stringify({ nftables: [{ metainfo: {} }, { table: { name: 'sw' } }, ...items] });

test('parseNetwork() reads devices, addresses, routes, neighbours, forwarding and rules', (t) => {
  const state = parseNetwork(
    {
      ...EMPTY,
      links: JSON.stringify([
        { ifname: 'lo', flags: ['UP'], mtu: 65536, address: '00:00:00:00:00:00' },
        {
          ifname: 'vx',
          flags: ['BROADCAST', 'UP'],
          mtu: 1450,
          address: '02:44:0a:09:00:01',
          linkinfo: {
            info_kind: 'vxlan',
            info_data: { id: 4097, local: '10.9.0.1', port: 4789, learning: false },
          },
        },
        {
          ifname: 'c1',
          flags: [],
          mtu: 1450,
          address: 'ee:ee:ee:ee:ee:ee',
          linkinfo: { info_kind: 'veth' },
        },
      ]),
      addresses: JSON.stringify([
        { ifname: 'lo', addr_info: [{ local: '127.0.0.1', prefixlen: 8 }] },
        { ifname: 'gw', addr_info: [{ local: '169.254.64.2', prefixlen: 32 }] },
        {},
      ]),
      routes: JSON.stringify([
        { dst: 'default', gateway: '10.9.0.2', dev: 'vx', table: '168361986', flags: ['onlink'] },
        { type: 'unreachable', dst: '10.78.0.0/24', flags: [] },
        { dst: '10.78.0.11', dev: 'c1', scope: 'link', flags: [] },
        { type: 'local', dst: '127.0.0.1', dev: 'lo', table: 'local', protocol: 'kernel' },
      ]),
      neighbours: JSON.stringify([{ dst: '10.9.0.2', dev: 'vx', lladdr: '02:44:0a:09:00:02' }]),
      rules: JSON.stringify([
        { priority: 0, src: 'all', table: 'local' },
        { priority: 100, src: 'all', fwmark: '0', goto: 32766 },
        { priority: 101, src: 'all', fwmark: '0xa090002', table: '168361986' },
        { priority: 32766, src: 'all', table: 'main' },
      ]),
      forwarding: JSON.stringify([
        { mac: '33:33:00:00:00:01', ifname: 'c1', flags: ['self'] },
        { mac: '02:44:0a:09:00:02', ifname: 'vx', dst: '10.9.0.2', flags: ['self'] },
      ]),
    },
    0,
  );
  t.deepEqual(
    [...state.links],
    [
      [
        'vx',
        {
          kind: 'vxlan',
          up: true,
          mtu: 1450,
          mac: '02:44:0a:09:00:01',
          vxlan: { vni: 4097, port: 4789, local: '10.9.0.1' },
        },
      ],
      ['c1', { kind: 'veth', up: false, mtu: 1450, mac: 'ee:ee:ee:ee:ee:ee' }],
    ],
  );
  t.deepEqual([...state.addresses], ['gw 169.254.64.2/32']);
  t.deepEqual(
    [...state.routes],
    [
      ['168361986 default', 'via 10.9.0.2 dev vx onlink'],
      ['main 10.78.0.0/24', 'unreachable'],
      ['main 10.78.0.11', 'dev c1 scope link'],
    ],
  );
  t.deepEqual([...state.neighbours], [['vx 10.9.0.2', '02:44:0a:09:00:02']]);
  t.deepEqual([...state.forwarding], [['02:44:0a:09:00:02', '10.9.0.2']]);
  t.deepEqual(
    [...state.rules],
    ['pref 100 fwmark 0 goto 32766', 'pref 101 fwmark 0xa090002 lookup 168361986'],
  );
  t.is(state.table, undefined);
});

test('parseHost() sees our links and what hangs on them, and nothing of anybody else', (t) => {
  const state = parseHost(
    {
      ...EMPTY,
      links: JSON.stringify([
        { ifname: 'eth0', flags: ['UP'], mtu: 1500, address: '02:00:00:00:00:01' },
        { ifname: 'sw-nfront', flags: ['UP'], mtu: 1450, address: '02:45:00:00:00:01' },
      ]),
      addresses: JSON.stringify([
        {
          ifname: 'lo',
          addr_info: [
            { local: '127.0.0.1', prefixlen: 8 },
            { local: '169.254.64.1', prefixlen: 32 },
          ],
        },
        { ifname: 'eth0', addr_info: [{ local: '192.0.2.1', prefixlen: 24 }] },
      ]),
      routes: JSON.stringify([
        { dst: 'default', gateway: '192.0.2.254', dev: 'eth0', flags: [] },
        { type: 'unreachable', dst: '10.0.0.0/8', flags: [] },
        { dst: '10.0.1.0/24', gateway: '169.254.64.2', dev: 'sw-nfront', flags: ['onlink'] },
      ]),
      neighbours: JSON.stringify([
        { dst: '192.0.2.254', dev: 'eth0', lladdr: '02:00:00:00:00:09' },
      ]),
      rules: JSON.stringify([{ priority: 50, src: 'all', fwmark: '0x1', table: '9' }]),
    },
    0,
  );
  t.deepEqual([...state.links.keys()], ['sw-nfront']);
  t.deepEqual([...state.addresses], ['lo 169.254.64.1/32']);
  t.deepEqual([...state.routes], [['main 10.0.1.0/24', 'via 169.254.64.2 dev sw-nfront onlink']]);
  t.is(state.neighbours.size + state.rules.size + state.forwarding.size, 0);
});

test('a table is read in the words that made it', (t) => {
  const { table } = parseNetwork(
    {
      ...EMPTY,
      table: nft(
        { set: { name: 'empty', elem: ['10.78.0.200'] } },
        { set: { name: 'subnets', elem: [{ prefix: { addr: '10.78.0.0', len: 24 } }] } },
        { set: { name: 'hairpin', elem: [{ concat: ['10.78.0.1', '10.78.0.1'] }] } },
        { map: { name: 'svc', elem: [['10.78.0.2', { goto: { target: 's16' } }]] } },
        { map: { name: 'vtep', elem: [['02:44:0a:09:00:02', 2887647233]] } },
        {
          map: {
            name: 'gen',
            elem: [
              [0, 77],
              [1, 5],
            ],
          },
        },
        { map: { name: 'm16', elem: [[{ concat: ['10.78.0.2', 3] }, '10.78.0.11']] } },
        {
          map: {
            name: 'm64',
            elem: [[{ concat: ['tcp', 80, 63] }, { concat: ['10.78.0.11', 8080] }]],
          },
        },
        { map: { name: 'ports' } },
        { rule: {} },
        { rule: {} },
      ),
    },
    2,
  );
  t.is(table?.fingerprint, 77);
  const elements = [...(table?.sets ?? [])].map(([name, set]) => [name, ...set]);
  t.deepEqual(elements, [
    ['empty', ['10.78.0.200', '']],
    ['subnets', ['10.78.0.0/24', '']],
    ['hairpin', ['10.78.0.1 . 10.78.0.1', '']],
    ['svc', ['10.78.0.2', 'goto s16']],
    ['vtep', ['02:44:0a:09:00:02', '2887647233']],
    ['ports'],
  ]);
  t.is(table?.slots.get('m16 10.78.0.2')?.[3], '10.78.0.11');
  t.is(table?.slots.get('m16 10.78.0.2')?.[4], '');
  t.is(table?.slots.get('m64 tcp . 80')?.[63], '10.78.0.11 . 8080');
});

test('a table with a rule more or less counts as another one', (t) => {
  const dump = { ...EMPTY, table: nft({ map: { name: 'gen', elem: [[0, 77]] } }, { rule: {} }) };
  t.is(parseNetwork(dump, 1).table?.fingerprint, 77);
  t.is(parseNetwork(dump, 2).table?.fingerprint, Number.NaN);
});

test('parseCounters() reads packets by element, of addresses and of ports', (t) => {
  const shown = (elem: unknown) =>
    JSON.stringify({
      nftables: [
        { metainfo: { version: '1.0.6', json_schema_version: 1 } },
        { set: { family: 'ip', name: 'x', table: 'sw', ...(elem === undefined ? {} : { elem }) } },
      ],
    });
  const counted = (val: unknown, packets: number) => ({
    elem: { val, counter: { packets, bytes: packets * 60 } },
  });
  t.deepEqual(
    [...parseCounters(shown([counted('10.0.0.1', 3), counted('10.0.0.2', 0)]))],
    [
      ['10.0.0.1', 3],
      ['10.0.0.2', 0],
    ],
  );
  t.deepEqual([...parseCounters(shown([counted({ concat: ['tcp', 80] }, 2)]))], [['tcp . 80', 2]]);
  t.is(parseCounters(shown(undefined)).size, 0);
  t.is(parseCounters(shown(['10.0.0.1'])).size, 0, 'an element that does not count');
});
