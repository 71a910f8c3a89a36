import test from 'ava';
import { clusterMtu, disjoint } from '../../../agent/network/facts.ts';
import { containerMac, ipv4Number, vtepMac } from '../../../agent/network/names.ts';

for (const [mtus, mtu] of [
  [[], 1450],
  [[1450, 1450], 1450],
  [[8950, 1450], 1450],
  [[1350, 1450, 1400], 1350],
  [[0, 1400], 1400], // a host that has not said
] as const) {
  test(`clusterMtu() of hosts with ${mtus.join(', ') || 'nothing'} is ${mtu}`, (t) => {
    t.is(clusterMtu(mtus.map((overlayMtu) => ({ overlayMtu }))), mtu);
  });
}

test('disjoint() leaves out subnets that lie in others', (t) => {
  t.deepEqual(
    disjoint(['10.0.1.0/24', '10.0.0.0/16', '10.1.0.0/24', '10.1.0.0/24', '10.0.1.7/32']),
    ['10.0.0.0/16', '10.1.0.0/24'],
  );
});

test('addresses of VTEPs follow from the underlay, those of containers do not from the overlay', (t) => {
  t.is(vtepMac('172.30.0.1'), '02:44:ac:1e:00:01');
  t.is(ipv4Number('255.255.255.255'), 2 ** 32 - 1);
  t.throws(() => ipv4Number('fd00::1'), { instanceOf: RangeError });
  t.regex(containerMac('task', 'net'), /^02:42(:[0-9a-f]{2}){4}$/);
  t.not(containerMac('task', 'net'), containerMac('task', 'other'));
});
