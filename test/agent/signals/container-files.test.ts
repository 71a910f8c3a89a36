import test from 'ava';
import { resourcesOf } from '../../../agent/signals/container-files.ts';

const NET = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  eth0:    1048      12    0    0    0     0          0         0      952      11    0    0    0     0       0          0
`;

test('files of cgroups v1 are read', (t) => {
  t.deepEqual(
    resourcesOf(1, {
      cpu: '2500000000\n',
      memory: '10485760\n',
      memoryStat:
        'cache 4096\nrss 8192\ninactive_file 1000\nactive_file 5\ntotal_cache 4096\ntotal_inactive_file 485760\ntotal_active_file 5\n',
      pids: '7\n',
      network: NET,
    }),
    { cpuNs: 2_500_000_000, memoryBytes: 10_000_000, networkBytes: 2_000, pids: 7 },
  );
});

test('files of cgroups v2 are read', (t) => {
  t.deepEqual(
    resourcesOf(2, {
      cpu: 'usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\nnr_periods 0\n',
      memory: '10485760\n',
      memoryStat: 'anon 8192\nfile 4096\nkernel 10\ninactive_anon 0\ninactive_file 485760\n',
      pids: '7\n',
      network: NET,
    }),
    { cpuNs: 2_500_000_000, memoryBytes: 10_000_000, networkBytes: 2_000, pids: 7 },
  );
});

for (const version of [1, 2] as const) {
  test(`v${version}: what is missing or makes no sense is absent, and not 0`, (t) => {
    const nothing = {
      cpuNs: undefined,
      memoryBytes: undefined,
      networkBytes: undefined,
      pids: undefined,
    };
    t.deepEqual(resourcesOf(version, {}), nothing);
    t.deepEqual(
      resourcesOf(version, { cpu: '', memory: 'x', memoryStat: '', pids: 'max\n', network: '' }),
      nothing,
    );
    t.is(resourcesOf(version, { memory: '4096\n' }).memoryBytes, undefined, 'half of it is not it');
  });

  test(`v${version}: two files that disagree give 0 and not less`, (t) => {
    const memoryStat = 'total_inactive_file 9\ninactive_file 9\n';
    t.is(resourcesOf(version, { memory: '4\n', memoryStat }).memoryBytes, 0);
  });
}
