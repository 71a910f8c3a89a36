import test from 'ava';
import { advertisedNow, resolveAdvertised, splitHostPort } from '../../../agent/node/address.ts';

const SPLIT: readonly [string, string, number][] = [
  ['', '', 2377],
  ['10.0.0.1', '10.0.0.1', 2377],
  ['10.0.0.1:99', '10.0.0.1', 99],
  ['eth0', 'eth0', 2377],
  ['eth0:99', 'eth0', 99],
  [':99', '', 99],
  ['[fd00::1]:99', 'fd00::1', 99],
  ['[fd00::1]', 'fd00::1', 2377],
  ['fd00::1', 'fd00::1', 2377],
];
for (const [text, host, port] of SPLIT) {
  test(`splitHostPort() reads "${text}"`, (t) => {
    t.deepEqual(splitHostPort(text, 2377), { host, port });
  });
}
for (const text of ['10.0.0.1:0', '10.0.0.1:70000', 'a:b', '[fd00::1]x']) {
  test(`splitHostPort() refuses "${text}"`, (t) => {
    t.throws(() => splitHostPort(text, 2377), { message: /invalid address/ });
  });
}

const LO = { name: 'lo', address: '127.0.0.1', internal: true };
const ETH0 = { name: 'eth0', address: '10.0.0.1', internal: false };
const ETH1 = { name: 'eth1', address: '10.0.1.1', internal: false };

test('resolveAdvertised() takes the only address, an address, or an interface by name', (t) => {
  t.is(resolveAdvertised('', [LO, ETH0]), '10.0.0.1');
  t.is(resolveAdvertised('192.0.2.7', [LO, ETH0]), '192.0.2.7');
  t.is(resolveAdvertised('eth1', [LO, ETH0, ETH1]), '10.0.1.1');
});

test('resolveAdvertised() asks which one when there are several, and refuses what is neither', (t) => {
  t.throws(() => resolveAdvertised('', [LO, ETH0, ETH1]), {
    message: /multiple addresses .*--advertise-addr/,
  });
  t.throws(() => resolveAdvertised('', [LO]), { message: /--advertise-addr/ });
  t.throws(() => resolveAdvertised('eth9', [LO, ETH0]), { message: /"eth9" is neither/ });
});

const HOST = [
  { name: 'lo', address: '127.0.0.1', internal: true },
  { name: 'eth0', address: '10.0.0.9', internal: false },
];
const MOVES: readonly [
  string,
  recorded: string,
  found: { asked: string; flag: string } | undefined,
  flag: string,
  now: string,
][] = [
  ['a host that stayed', '10.0.0.9', { asked: '', flag: '' }, '', '10.0.0.9'],
  ['the only address is another now', '10.0.0.1', { asked: '', flag: '' }, '', '10.0.0.9'],
  ['an interface that was asked for', '10.0.0.1', { asked: 'eth0', flag: '' }, '', '10.0.0.9'],
  ['an interface by the flag', '10.0.0.1', { asked: '', flag: 'eth0' }, 'eth0', '10.0.0.9'],
  ['an address that was asked for', '192.0.2.1', { asked: '192.0.2.1', flag: '' }, '', '192.0.2.1'],
  [
    'an address by the flag',
    '192.0.2.1',
    { asked: '', flag: '192.0.2.1' },
    '192.0.2.1',
    '192.0.2.1',
  ],
  ['another flag', '10.0.0.1', { asked: '10.0.0.1', flag: '10.0.0.1' }, '10.0.0.7', '10.0.0.7'],
  ['a flag where there was none', '10.0.0.1', { asked: '', flag: '' }, 'eth0', '10.0.0.9'],
  ['nothing written down', '10.0.0.1', undefined, '10.0.0.7', '10.0.0.1'],
];
for (const [title, recorded, found, flag, now] of MOVES) {
  test(`advertisedNow(): ${title}`, (t) => {
    t.is(advertisedNow(recorded, found, flag, HOST), now);
  });
}

test('advertisedNow() does not guess among several addresses', (t) => {
  const two = [...HOST, { name: 'eth1', address: '10.1.0.9', internal: false }];
  t.throws(() => advertisedNow('10.0.0.1', { asked: '', flag: '' }, '', two), {
    message: /--advertise-addr/,
  });
});
