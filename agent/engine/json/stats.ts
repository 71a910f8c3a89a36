import type { ContainerConfig, ContainerStats } from '../../runtime/types.ts';
import { ZERO_TIME } from './meta.ts';

/** One object of `GET /containers/{id}/stats`; without samples (it does not run) all is zero. */
export function statsJson(
  config: Pick<ContainerConfig, 'id' | 'name'>,
  now: ContainerStats | undefined,
  before: ContainerStats | undefined,
) {
  return {
    name: `/${config.name}`,
    id: config.id,
    read: at(now),
    preread: at(before),
    num_procs: 0,
    storage_stats: {},
    pids_stats:
      now === undefined
        ? {}
        : { current: now.pids, ...(now.pidsLimit > 0 && { limit: now.pidsLimit }) },
    cpu_stats: cpuJson(now),
    precpu_stats: cpuJson(before),
    memory_stats: memoryJson(now),
    blkio_stats: blockJson(now),
    ...(now !== undefined &&
      Object.keys(now.networks).length > 0 && {
        networks: Object.fromEntries(
          Object.entries(now.networks).map(([name, counters]) => [
            name,
            {
              rx_bytes: counters.rxBytes,
              rx_packets: counters.rxPackets,
              rx_errors: counters.rxErrors,
              rx_dropped: counters.rxDropped,
              tx_bytes: counters.txBytes,
              tx_packets: counters.txPackets,
              tx_errors: counters.txErrors,
              tx_dropped: counters.txDropped,
            },
          ]),
        ),
      }),
  };
}

function at(stats: ContainerStats | undefined): string {
  return stats === undefined ? ZERO_TIME : new Date(stats.readAtMs).toISOString();
}

function cpuJson(stats: ContainerStats | undefined) {
  const usage = {
    total_usage: stats?.cpuTotalNs ?? 0,
    usage_in_kernelmode: stats?.cpuKernelNs ?? 0,
    usage_in_usermode: stats?.cpuUserNs ?? 0,
  };
  const throttling_data = {
    periods: stats?.periods ?? 0,
    throttled_periods: stats?.throttledPeriods ?? 0,
    throttled_time: stats?.throttledNs ?? 0,
  };
  if (stats === undefined) return { cpu_usage: usage, throttling_data };
  return {
    cpu_usage: usage,
    system_cpu_usage: stats.systemCpuNs,
    online_cpus: stats.onlineCpus,
    throttling_data,
  };
}

/** The page cache that the kernel can take back has a name of its own in each cgroup version. */
function memoryJson(stats: ContainerStats | undefined) {
  if (stats === undefined) return {};
  const cacheName = stats.cgroupVersion === 2 ? 'inactive_file' : 'total_inactive_file';
  return {
    usage: stats.memoryUsageBytes,
    stats: { [cacheName]: stats.memoryInactiveFileBytes },
    limit: stats.memoryLimitBytes,
  };
}

function blockJson(stats: ContainerStats | undefined) {
  const io_service_bytes_recursive =
    stats === undefined
      ? null
      : [
          { major: 0, minor: 0, op: 'read', value: stats.blockReadBytes },
          { major: 0, minor: 0, op: 'write', value: stats.blockWriteBytes },
        ];
  return {
    io_service_bytes_recursive,
    io_serviced_recursive: null,
    io_queue_recursive: null,
    io_service_time_recursive: null,
    io_wait_time_recursive: null,
    io_merged_recursive: null,
    io_time_recursive: null,
    sectors_recursive: null,
  };
}
