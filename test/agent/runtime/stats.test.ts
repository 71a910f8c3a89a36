import test from 'ava';
import { parseCgroupMounts, parseOomKills, parseSingle } from '../../../agent/runtime/cgroup.ts';
import { containerStats } from '../../../agent/runtime/stats.ts';

const MACHINE = {
  procStat:
    'cpu  100 0 50 800 50 0 0 0 10 0\ncpu0 50 0 25 400 25 0 0 0 0 0\ncpu1 50 0 25 400 25 0 0 0 0 0\nintr 5\n',
  memoryBytes: 8 << 20,
};
const NET_DEV = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  eth0: 1234567      11    1    2    0     0          0         0      987       6    3    4    0     0       0          0
`;

test('v2 files give the same figures as v1 files', (t) => {
  const v1 = containerStats(
    1,
    {
      usage: '5000000\n',
      usageUser: '3000000\n',
      usageKernel: '2000000\n',
      cpu: 'nr_periods 10\nnr_throttled 2\nthrottled_time 7000\n',
      memory: '4096000\n',
      memoryLimit: '6291456\n',
      memoryStat: 'cache 1\ninactive_file 5\ntotal_inactive_file 4096\n',
      pids: '3\n',
      pidsLimit: '100\n',
      io: '254:0 Read 8192\n254:0 Write 4096\n254:0 Sync 1\n254:16 Read 1\n254:0 Total 12289\nTotal 12289\n',
    },
    NET_DEV,
    MACHINE,
    42,
  );
  const v2 = containerStats(
    2,
    {
      cpu: 'usage_usec 5000\nuser_usec 3000\nsystem_usec 2000\nnr_periods 10\nnr_throttled 2\nthrottled_usec 7\n',
      memory: '4096000\n',
      memoryLimit: '6291456\n',
      memoryStat: 'anon 1\nfile 2\ninactive_file 4096\n',
      pids: '3\n',
      pidsLimit: '100\n',
      io: '254:0 rbytes=8192 wbytes=4096 rios=2 wios=1 dbytes=0 dios=0\n254:16 rbytes=1 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n',
    },
    NET_DEV,
    MACHINE,
    42,
  );
  t.deepEqual({ ...v2, cgroupVersion: 1 }, v1);
  t.deepEqual(v1, {
    readAtMs: 42,
    cpuTotalNs: 5e6,
    cpuKernelNs: 2e6,
    cpuUserNs: 3e6,
    systemCpuNs: 1000 * 1e7,
    onlineCpus: 2,
    periods: 10,
    throttledPeriods: 2,
    throttledNs: 7000,
    memoryUsageBytes: 4096000,
    memoryInactiveFileBytes: 4096,
    memoryLimitBytes: 6291456,
    pids: 3,
    pidsLimit: 100,
    blockReadBytes: 8193,
    blockWriteBytes: 4096,
    networks: {
      eth0: {
        rxBytes: 1234567,
        rxPackets: 11,
        rxErrors: 1,
        rxDropped: 2,
        txBytes: 987,
        txPackets: 6,
        txErrors: 3,
        txDropped: 4,
      },
    },
    cgroupVersion: 1,
  });
});

test('no limit is the memory of the machine, and no limit of processes is 0', (t) => {
  const v1 = containerStats(
    1,
    { memoryLimit: '9223372036854771712\n', pidsLimit: 'max\n' },
    '',
    MACHINE,
    0,
  );
  const v2 = containerStats(2, { memoryLimit: 'max\n', pidsLimit: 'max\n' }, '', MACHINE, 0);
  for (const stats of [v1, v2]) {
    t.is(stats.memoryLimitBytes, MACHINE.memoryBytes);
    t.is(stats.pidsLimit, 0);
    t.deepEqual(stats.networks, {});
  }
  t.is(parseSingle(''), 0);
});

test('kills for lack of memory are counted on both versions', (t) => {
  t.is(parseOomKills('oom_kill_disable 0\nunder_oom 0\noom_kill 3\n'), 3);
  t.is(parseOomKills('low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\noom_group_kill 0\n'), 1);
  t.is(parseOomKills(''), 0);
});

test('a hybrid host is v1; separate and joint mounts of controllers are both found', (t) => {
  const hybrid = `30 29 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
31 29 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
32 29 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 29 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
34 29 0:28 / /other/memory rw - cgroup cgroup rw,memory`;
  t.deepEqual(parseCgroupMounts(hybrid), {
    version: 1,
    roots: {
      cpu: '/sys/fs/cgroup/cpu,cpuacct',
      cpuacct: '/sys/fs/cgroup/cpu,cpuacct',
      memory: '/sys/fs/cgroup/memory',
    },
  });
  const unified = '30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate';
  t.deepEqual(parseCgroupMounts(unified), { version: 2, root: '/sys/fs/cgroup' });
});
