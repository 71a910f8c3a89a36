import test from 'ava';
import fc from 'fast-check';
import { AddressPool, chooseSubnet, defaultGateway } from '../../../manager/allocator/ipam.ts';
import {
  type Cidr,
  cidrContains,
  cidrsOverlap,
  formatCidr,
  formatIp,
  parseCidr,
  parseIp,
} from '../../../shared/model/cidr.ts';

const cidr = (text: string) => parseCidr(text) as Cidr;
const value = (text: string) => parseIp(text)?.value ?? 0n;
const text = (address: bigint | undefined) =>
  address === undefined ? undefined : formatIp({ family: 4, value: address });

test('a pool gives out its addresses in order, without network, broadcast and gateway', (t) => {
  const subnet = cidr('10.0.1.0/29');
  const pool = new AddressPool({ subnet, reserved: [defaultGateway(subnet).value] });
  t.is(pool.free, 5);
  const given = Array.from({ length: 6 }, () => text(pool.take()));
  t.deepEqual(given, ['10.0.1.2', '10.0.1.3', '10.0.1.4', '10.0.1.5', '10.0.1.6', undefined]);
});

test('an address just freed is the last to be given out again', (t) => {
  const pool = new AddressPool({ subnet: cidr('10.0.1.0/29') });
  const first = pool.take() as bigint;
  pool.release(first);
  const next = Array.from({ length: 6 }, () => text(pool.take()));
  t.deepEqual(next, ['10.0.1.2', '10.0.1.3', '10.0.1.4', '10.0.1.5', '10.0.1.6', '10.0.1.1']);
});

test('a range limits what is given out, and addresses outside of it can be claimed by nobody', (t) => {
  const pool = new AddressPool({ subnet: cidr('10.0.1.0/24'), range: cidr('10.0.1.128/30') });
  t.false(pool.claim(value('10.0.1.5')));
  const given = Array.from({ length: 5 }, () => text(pool.take()));
  t.deepEqual(given, ['10.0.1.128', '10.0.1.129', '10.0.1.130', '10.0.1.131', undefined]);
});

test('subnets of one and two addresses, and IPv6, have all their addresses to give', (t) => {
  t.is(new AddressPool({ subnet: cidr('10.0.0.4/31') }).free, 2);
  t.is(new AddressPool({ subnet: cidr('10.0.0.4/32') }).free, 1);
  const pool = new AddressPool({ subnet: cidr('fd00::/64') });
  t.is(formatIp({ family: 6, value: pool.take() ?? 0n }), 'fd00::1');
});

test('claiming what objects hold makes the next address follow the highest of them', (t) => {
  const pool = new AddressPool({ subnet: cidr('10.0.1.0/24') });
  t.true(pool.claim(value('10.0.1.9')));
  t.true(pool.claim(value('10.0.1.4')));
  t.false(pool.claim(value('10.0.1.4')));
  t.is(text(pool.take()), '10.0.1.10');
});

test('a pool never gives an address twice, and gives all of them before it refuses', (t) => {
  const step = fc.oneof(
    fc.constant({ kind: 'take' as const }),
    fc.record({ kind: fc.constant('release' as const), at: fc.nat() }),
    fc.record({ kind: fc.constant('claim' as const), at: fc.nat({ max: 63 }) }),
  );
  fc.assert(
    fc.property(
      fc.integer({ min: 26, max: 30 }),
      fc.array(step, { maxLength: 200 }),
      (prefix, steps) => {
        const subnet = cidr(`10.9.0.0/${prefix}`);
        const pool = new AddressPool({ subnet });
        const size = 2 ** (32 - prefix) - 2;
        const held = new Set<bigint>();
        for (const now of steps) {
          if (now.kind === 'take') {
            const taken = pool.take();
            if (held.size === size) t.is(taken, undefined);
            else if (taken === undefined || held.has(taken)) return false;
            else held.add(taken);
          } else if (now.kind === 'release') {
            const [address] = [...held].slice(now.at % (held.size || 1));
            if (address !== undefined) pool.release(address);
            if (address !== undefined) held.delete(address);
          } else {
            const address = subnet.base + BigInt(now.at % 2 ** (32 - prefix));
            if (pool.claim(address)) {
              if (held.has(address)) return false;
              held.add(address);
            }
          }
          if (pool.free !== size - held.size) return false;
          if ([...held].some((address) => !pool.has(address))) return false;
        }
        return true;
      },
    ),
  );
  t.pass();
});

// ---- subnets --------------------------------------------------------------------------------

const choose = (
  taken: string[],
  options: { after?: string; avoid?: string[]; pools?: string[] } = {},
) =>
  chooseSubnet({
    pools: (options.pools ?? ['10.0.0.0/8']).map(cidr),
    prefix: 24,
    taken: taken.map(cidr),
    avoid: (options.avoid ?? []).flatMap((address) => parseIp(address) ?? []),
    ...(options.after === undefined ? {} : { after: cidr(options.after) }),
  });
const chosen = (...args: Parameters<typeof choose>) => {
  const subnet = choose(...args);
  return subnet && formatCidr(subnet);
};

test('subnets are cut from the pools in order, past those in use and those hosts live in', (t) => {
  t.is(chosen([]), '10.0.0.0/24');
  t.is(chosen(['10.0.0.0/24']), '10.0.1.0/24');
  t.is(chosen(['10.0.0.0/16']), '10.1.0.0/24');
  t.is(chosen(['10.0.0.128/25']), '10.0.1.0/24');
  t.is(chosen([], { avoid: ['10.0.0.7'] }), '10.0.1.0/24');
  t.is(chosen([], { after: '10.0.4.0/24' }), '10.0.5.0/24');
});

test('after the last subnet of the last pool comes the first one again', (t) => {
  const pools = ['10.1.0.0/23', '10.9.0.0/24'];
  t.is(chosen([], { pools, after: '10.1.1.0/24' }), '10.9.0.0/24');
  t.is(chosen([], { pools, after: '10.9.0.0/24' }), '10.1.0.0/24');
  t.is(chosen(['10.1.0.0/23'], { pools, after: '10.9.0.0/24' }), '10.9.0.0/24');
  t.is(chosen(['10.1.0.0/23', '10.9.0.0/24'], { pools, after: '10.9.0.0/24' }), undefined);
  t.is(chosen([], { pools: ['10.0.0.0/25'] }), undefined);
});

test('a chosen subnet lies in a pool, overlaps nothing and hides no host', (t) => {
  const subnet = fc
    .tuple(fc.nat({ max: 7 }), fc.nat({ max: 255 }), fc.integer({ min: 20, max: 27 }))
    .map(([third, fourth, prefix]) => `10.0.${third}.${fourth}/${prefix}`);
  fc.assert(
    fc.property(fc.array(subnet, { maxLength: 12 }), fc.option(subnet), (taken, after) => {
      const options = {
        pools: ['10.0.0.0/21'],
        avoid: ['10.0.3.3'],
        ...(after === null ? {} : { after: after.replace(/\/\d+/, '/24') }),
      };
      const found = choose(taken, options);
      const free = Array.from({ length: 8 }, (_, i) => cidr(`10.0.${i}.0/24`)).filter(
        (candidate) =>
          !taken.some((other) => cidrsOverlap(cidr(other), candidate)) &&
          candidate.base !== cidr('10.0.3.0/24').base,
      );
      if (found === undefined) return free.length === 0;
      return (
        cidrContains(cidr('10.0.0.0/21'), { family: 4, value: found.base }) &&
        free.some((candidate) => candidate.base === found.base)
      );
    }),
  );
  t.pass();
});
