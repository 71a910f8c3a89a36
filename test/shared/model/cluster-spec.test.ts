import test from 'ava';
import { isShoalError } from '../../../shared/errors.ts';
import { ClusterSpec } from '../../../shared/gen/shoal/v1/objects.ts';
import {
  DEFAULT_CLUSTER_SPEC,
  newAddressPools,
  newClusterSpec,
  newDataPathPort,
} from '../../../shared/model/cluster-spec.ts';

const pools = (defaultAddressPools: string[], subnetSize = 0) =>
  newAddressPools({ defaultAddressPools, subnetSize });
const spec = (fields: Partial<ClusterSpec>) => newClusterSpec(ClusterSpec.fromPartial(fields));

test('what a new cluster is not told, it has from the defaults', (t) => {
  t.deepEqual(spec({ taskHistoryLimit: 5 }), DEFAULT_CLUSTER_SPEC);
  t.like(spec({ taskHistoryLimit: 0, keepOldSnapshots: 3, autolockManagers: true }), {
    taskHistoryLimit: 0,
    keepOldSnapshots: 3,
    autolockManagers: true,
    snapshotInterval: 10_000,
  });
  t.deepEqual(pools([]), { defaultAddressPools: ['10.0.0.0/8'], subnetSize: 24 });
  t.deepEqual(pools(['10.9.0.0/16'], 26), {
    defaultAddressPools: ['10.9.0.0/16'],
    subnetSize: 26,
  });
  t.is(newDataPathPort(0), 4789);
  t.is(newDataPathPort(5000), 5000);
});

const BAD: readonly [() => unknown, string][] = [
  [() => pools(['x']), 'default address pool "x" is not an IPv4 subnet'],
  [
    () => pools(['10.0.0.0/16'], 8),
    'default address pool 10.0.0.0/16: a mask length of 8 does not fit: it must be from 16 to 29',
  ],
  [
    () => pools(['10.0.0.0/8', '10.1.0.0/16']),
    'default address pools 10.0.0.0/8 and 10.1.0.0/16 overlap',
  ],
  [() => newDataPathPort(80), 'Datapath port number is not in valid range (1024-49151) : 80'],
  [() => spec({ nodeCertExpiryNs: 1 }), 'minimum certificate expiry time is: 1h0m0s'],
  [
    () => spec({ dispatcherHeartbeatNs: -1 }),
    'heartbeat time period cannot be a negative duration',
  ],
  [() => spec({ dispatcherHeartbeatNs: 1 }), 'heartbeat time period must be at least 100ms'],
  [() => spec({ labels: { ' ': 'x' } }), 'labels: a label needs a key before its value'],
];
for (const [make, message] of BAD) {
  test(`a cluster does not begin: ${message}`, (t) => {
    const error = t.throws(make, { message });
    t.true(isShoalError(error, 'invalid-argument'));
  });
}
