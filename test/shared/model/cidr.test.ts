import test from 'ava';
import fc from 'fast-check';
import {
  cidrContains,
  cidrsOverlap,
  formatCidr,
  formatIp,
  parseCidr,
  parseIp,
} from '../../../shared/model/cidr.ts';

const texts: [string, string][] = [
  ['0.0.0.0', '0.0.0.0'],
  ['10.1.2.3', '10.1.2.3'],
  ['255.255.255.255', '255.255.255.255'],
  ['::', '::'],
  ['::1', '::1'],
  ['fd00:0:0:1::', 'fd00:0:0:1::'],
  ['2001:DB8::8:800:200C:417A', '2001:db8::8:800:200c:417a'],
  ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
  ['1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'],
  ['::ffff:10.0.0.1', '::ffff:a00:1'],
];
for (const [text, expected] of texts) {
  test(`the address ${text} is ${expected}`, (t) => {
    const ip = parseIp(text);
    t.is(ip && formatIp(ip), expected);
  });
}

const NOT_ADDRESSES = [
  '',
  '10.1.2',
  '10.1.2.256',
  '010.1.2.3',
  '10.1.2.3.4',
  ':',
  ':::',
  '1::2::3',
];
NOT_ADDRESSES.push('1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', '1:2:3:4:5:6:7::8', 'g::', '::1%eth0');
NOT_ADDRESSES.push('1.2.3.4::', '::1.2.3', '12345::', ' 10.0.0.1');
for (const text of NOT_ADDRESSES) {
  test(`${JSON.stringify(text)} is not an address`, (t) => {
    t.is(parseIp(text), undefined);
  });
}

for (const text of ['10.0.0.0', '10.0.0.0/33', '10.0.0.0/', '10.0.0.0/08', 'fd00::/129', '/8']) {
  test(`${JSON.stringify(text)} is not a subnet`, (t) => {
    t.is(parseCidr(text), undefined);
  });
}

test('a subnet knows its base, whatever host bits it was written with', (t) => {
  const cidr = parseCidr('10.1.2.3/20');
  t.is(cidr && formatCidr(cidr), '10.1.0.0/20');
  const whole = parseCidr('1.2.3.4/0');
  t.is(whole && formatCidr(whole), '0.0.0.0/0');
});

const value = (bits: number) => fc.bigInt({ min: 0n, max: (1n << BigInt(bits)) - 1n });
const address = fc.oneof(
  value(32).map((v) => ({ family: 4 as const, value: v })),
  value(128).map((v) => ({ family: 6 as const, value: v })),
);

test('an address that is written can be read', (t) => {
  fc.assert(
    fc.property(address, (ip) => {
      t.deepEqual(parseIp(formatIp(ip)), ip);
    }),
    { seed: 1 },
  );
});

test('two subnets overlap when one contains the base of the other', (t) => {
  const subnet = fc
    .tuple(value(8), fc.integer({ min: 24, max: 32 }))
    .map(([last, prefix]) => parseCidr(`10.0.0.${last}/${prefix}`));
  fc.assert(
    fc.property(subnet, subnet, (a, b) => {
      if (a === undefined || b === undefined) return t.fail();
      const members = Array.from({ length: 256 }, (_, i) => ({
        family: 4 as const,
        value: 0x0a000000n + BigInt(i),
      }));
      const shared = members.some((ip) => cidrContains(a, ip) && cidrContains(b, ip));
      t.is(cidrsOverlap(a, b), shared);
    }),
    { seed: 2 },
  );
  const [v4, v6] = [parseCidr('0.0.0.0/0'), parseCidr('::/0')];
  t.false(v4 && v6 ? cidrsOverlap(v4, v6) : true);
});
