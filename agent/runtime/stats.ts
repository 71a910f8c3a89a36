import {
  parseIoStat,
  parseKeyed,
  parseNetDev,
  parseProcStat,
  parseServiceBytes,
  parseSingle,
} from './cgroup.ts';
import type { ContainerStats } from './types.ts';

/** Text of each file, by the names below; a file that the host lacks is empty. */
export type StatsFiles = Readonly<Record<string, string>>;
export type StatsFile = Readonly<{ name: string; controller: string; file: string }>;

/** What is read for one container; `controller` only matters on v1. */
export const STATS_FILES: Readonly<Record<1 | 2, readonly StatsFile[]>> = {
  1: [
    { name: 'usage', controller: 'cpuacct', file: 'cpuacct.usage' },
    { name: 'usageUser', controller: 'cpuacct', file: 'cpuacct.usage_user' },
    { name: 'usageKernel', controller: 'cpuacct', file: 'cpuacct.usage_sys' },
    { name: 'cpu', controller: 'cpu', file: 'cpu.stat' },
    { name: 'memory', controller: 'memory', file: 'memory.usage_in_bytes' },
    { name: 'memoryLimit', controller: 'memory', file: 'memory.limit_in_bytes' },
    { name: 'memoryStat', controller: 'memory', file: 'memory.stat' },
    { name: 'pids', controller: 'pids', file: 'pids.current' },
    { name: 'pidsLimit', controller: 'pids', file: 'pids.max' },
    { name: 'io', controller: 'blkio', file: 'blkio.throttle.io_service_bytes' },
  ],
  2: [
    { name: 'cpu', controller: '', file: 'cpu.stat' },
    { name: 'memory', controller: '', file: 'memory.current' },
    { name: 'memoryLimit', controller: '', file: 'memory.max' },
    { name: 'memoryStat', controller: '', file: 'memory.stat' },
    { name: 'pids', controller: '', file: 'pids.current' },
    { name: 'pidsLimit', controller: '', file: 'pids.max' },
    { name: 'io', controller: '', file: 'io.stat' },
  ],
};

export type MachineFacts = Readonly<{
  /** Text of /proc/stat. */
  procStat: string;
  memoryBytes: number;
}>;

/** One reading from the text of the files. A container without a memory limit has the machine's, as in Docker. */
export function containerStats(
  version: 1 | 2,
  files: StatsFiles,
  netDev: string,
  machine: MachineFacts,
  readAtMs: number,
): ContainerStats {
  const single = (name: string) => parseSingle(files[name] ?? '');
  const cpu = parseKeyed(files.cpu ?? '');
  const memoryStat = parseKeyed(files.memoryStat ?? '');
  const io = version === 1 ? parseServiceBytes(files.io ?? '') : parseIoStat(files.io ?? '');
  const v1 = version === 1;
  const usec = (name: string) => (cpu.get(name) ?? 0) * 1000;
  return {
    readAtMs,
    cpuTotalNs: v1 ? single('usage') : usec('usage_usec'),
    cpuKernelNs: v1 ? single('usageKernel') : usec('system_usec'),
    cpuUserNs: v1 ? single('usageUser') : usec('user_usec'),
    ...parseProcStat(machine.procStat),
    periods: cpu.get('nr_periods') ?? 0,
    throttledPeriods: cpu.get('nr_throttled') ?? 0,
    throttledNs: v1 ? (cpu.get('throttled_time') ?? 0) : usec('throttled_usec'),
    memoryUsageBytes: single('memory'),
    memoryInactiveFileBytes:
      (v1 ? memoryStat.get('total_inactive_file') : memoryStat.get('inactive_file')) ?? 0,
    memoryLimitBytes: Math.min(single('memoryLimit') || machine.memoryBytes, machine.memoryBytes),
    pids: single('pids'),
    pidsLimit: single('pidsLimit'),
    blockReadBytes: io.readBytes,
    blockWriteBytes: io.writeBytes,
    networks: parseNetDev(netDev),
    cgroupVersion: version,
  };
}
