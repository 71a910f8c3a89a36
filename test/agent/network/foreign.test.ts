import test from 'ava';
import {
  type ForeignFilter,
  foreignChains,
  foreignWarnings,
  legacyPassCommands,
  legacyUnpassCommands,
  listCommand,
  passCommands,
  unpassCommands,
} from '../../../agent/network/foreign.ts';

const FORWARD: ForeignFilter = {
  family: 'ip',
  table: 'filter',
  name: 'FORWARD',
  hook: 'forward',
  policy: 'accept',
  text: '',
};
const INPUT: ForeignFilter = { ...FORWARD, name: 'INPUT', hook: 'input' };
const chain = (policy: string, ...rules: string[]) =>
  `table ip filter {\n\tchain FORWARD { # handle 1\n\t\ttype filter hook forward priority filter; policy ${policy};\n${rules
    .map((rule) => `\t\t${rule}\n`)
    .join('')}\t}\n}\n`;
const OURS = [
  'iifname "sw-*"  counter packets 3 bytes 180 accept # handle 7',
  'oifname "sw-*" counter packets 0 bytes 0 accept # handle 8',
];

test('foreignChains() names the base filters that see forwarded and incoming packets, ours left out', (t) => {
  const base = (fields: object) => ({
    chain: { family: 'ip', table: 'filter', name: 'x', type: 'filter', prio: 0, ...fields },
  });
  const json = JSON.stringify({
    nftables: [
      { metainfo: { version: '1.0.6' } },
      base({ name: 'FORWARD', hook: 'forward', policy: 'drop' }),
      base({ family: 'inet', table: 'mine', name: 'in', hook: 'input', policy: 'accept' }),
      base({ family: 'ip6', hook: 'forward', policy: 'drop' }),
      base({ hook: 'output', policy: 'drop' }),
      base({ type: 'nat', hook: 'input', policy: 'accept' }),
      base({ table: 'swi', name: 'transit', hook: 'forward', policy: 'accept' }),
      { chain: { family: 'ip', table: 'filter', name: 'DOCKER-USER' } },
    ],
  });
  t.deepEqual(foreignChains(json), [
    { family: 'ip', table: 'filter', name: 'FORWARD', hook: 'forward', policy: 'drop' },
    { family: 'inet', table: 'mine', name: 'in', hook: 'input', policy: 'accept' },
  ]);
  t.deepEqual(foreignChains('{"nftables": [{"metainfo": {}}]}'), []);
});

test('only chains that can be in the way are listed', (t) => {
  t.is(listCommand(FORWARD), 'list chain ip filter FORWARD');
  const mine = { ...FORWARD, family: 'inet', table: 'mine', name: 'forwarding' };
  t.is(listCommand(mine), undefined);
  t.is(listCommand({ ...mine, policy: 'drop' }), 'list chain inet mine forwarding');
  t.is(listCommand({ ...mine, table: 'firewalld' }), 'list table inet firewalld');
});

test('a policy of DROP gets our rules at its top, once', (t) => {
  const drop = { ...FORWARD, policy: 'drop', text: chain('drop') };
  t.deepEqual(passCommands([drop]), [
    'insert rule ip filter FORWARD iifname "sw-*" counter accept',
    'insert rule ip filter FORWARD oifname "sw-*" counter accept',
  ]);
  t.deepEqual(passCommands([{ ...drop, text: chain('drop', ...OURS) }]), []);
  t.deepEqual(passCommands([{ ...drop, text: chain('drop', ...OURS.slice(1)) }]), [
    'insert rule ip filter FORWARD iifname "sw-*" counter accept',
  ]);
});

test('rules of the administrator for Docker come first', (t) => {
  const text = chain(
    'drop',
    'counter packets 0 bytes 0 jump DOCKER-USER # handle 3',
    'counter packets 0 bytes 0 jump DOCKER-FORWARD # handle 4',
  );
  t.deepEqual(passCommands([{ ...FORWARD, policy: 'drop', text }]), [
    'add rule ip filter FORWARD handle 3 iifname "sw-*" counter accept',
    'add rule ip filter FORWARD handle 3 oifname "sw-*" counter accept',
  ]);
});

test('a chain that accepts is left alone, one that ends in a rejection is not', (t) => {
  const lets = chain('accept', 'iifname "lo" counter packets 0 bytes 0 accept # handle 3');
  t.deepEqual(passCommands([{ ...FORWARD, text: lets }]), []);
  for (const end of ['reject with icmp host-prohibited', 'drop', 'xt target "REJECT"']) {
    const text = chain('accept', `counter packets 0 bytes 0 ${end} # handle 3`);
    t.is(passCommands([{ ...FORWARD, text }]).length, 2, end);
  }
});

test('INPUT lets containers ask the name server, and nothing else', (t) => {
  t.deepEqual(passCommands([{ ...INPUT, policy: 'drop' }]), [
    'insert rule ip filter INPUT iifname "sw-*" ip daddr 169.254.64.1 counter accept',
  ]);
});

test('unpassCommands() takes away our rules and no others', (t) => {
  const text = chain('drop', 'iifname "sw-x" accept # handle 3', ...OURS);
  t.deepEqual(unpassCommands([{ ...FORWARD, policy: 'drop', text }]), [
    'delete rule ip filter FORWARD handle 7',
    'delete rule ip filter FORWARD handle 8',
  ]);
  t.deepEqual(unpassCommands([{ ...FORWARD, family: 'inet', text }]), []);
});

test('native nftables and firewalld are the administrator’s: what to do is said, until it is done', (t) => {
  const fwd = {
    ...FORWARD,
    family: 'inet',
    table: 'fw',
    name: 'forwarding',
    policy: 'drop',
    text: '',
  };
  t.deepEqual(passCommands([fwd]), []);
  t.deepEqual(foreignWarnings([fwd, { ...FORWARD, policy: 'drop' }]), [
    'chain forwarding of table inet fw drops traffic of services (published ports and the way out of containers do not work): nft insert rule inet fw forwarding iifname "sw-*" accept; nft insert rule inet fw forwarding oifname "sw-*" accept',
  ]);
  t.deepEqual(foreignWarnings([{ ...fwd, text: 'iifname "sw-*" accept' }]), []);
  const firewalld = { ...fwd, table: 'firewalld', policy: 'accept' };
  const said = foreignWarnings([firewalld, { ...firewalld, hook: 'input' }]);
  t.is(said.length, 1);
  t.regex(said[0] ?? '', /--add-interface=sw-\+/);
});

test('iptables-legacy gets the same rules', (t) => {
  const bare = '-P INPUT ACCEPT\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n';
  t.deepEqual(legacyPassCommands(bare), [
    ['-I', 'FORWARD', '1', '-i', 'sw-+', '-j', 'ACCEPT'],
    ['-I', 'FORWARD', '1', '-o', 'sw-+', '-j', 'ACCEPT'],
  ]);
  const docker = `${bare}-A FORWARD -j DOCKER-USER\n`;
  t.deepEqual(legacyPassCommands(docker)[0]?.slice(0, 3), ['-I', 'FORWARD', '2']);
  const done = `${docker}-A FORWARD -o sw-+ -j ACCEPT\n-A FORWARD -i sw-+ -j ACCEPT\n`;
  t.deepEqual(legacyPassCommands(done), []);
  t.deepEqual(legacyUnpassCommands(done), [
    ['-D', 'FORWARD', '-i', 'sw-+', '-j', 'ACCEPT'],
    ['-D', 'FORWARD', '-o', 'sw-+', '-j', 'ACCEPT'],
  ]);
  t.deepEqual(legacyPassCommands('-P INPUT DROP\n-P FORWARD ACCEPT\n'), [
    ['-I', 'INPUT', '1', '-d', '169.254.64.1/32', '-i', 'sw-+', '-j', 'ACCEPT'],
  ]);
  t.deepEqual(legacyPassCommands('-P INPUT ACCEPT\n-P FORWARD ACCEPT\n'), []);
});
