/** Where a host's cgroups are mounted: one tree (v2), or one per controller (v1). */
export type CgroupMounts =
  | Readonly<{ version: 2; root: string }>
  | Readonly<{ version: 1; roots: Readonly<Record<string, string>> }>;

/**
 * Reads /proc/self/mountinfo. A host where the controllers are bound to v1 is v1, even when an (empty) v2
 * tree is mounted beside them.
 */
export function parseCgroupMounts(mountinfo: string): CgroupMounts {
  const roots: Record<string, string> = {};
  let unified: string | undefined;
  for (const line of mountinfo.split('\n')) {
    const [left, right] = line.split(' - ');
    const point = left?.split(' ')[4];
    const [type, , options] = right?.split(' ') ?? [];
    if (point === undefined) continue;
    if (type === 'cgroup2') unified ??= point;
    if (type !== 'cgroup') continue;
    for (const option of options?.split(',') ?? []) {
      if (CONTROLLERS.has(option)) roots[option] ??= point;
    }
  }
  if (roots.memory !== undefined || roots.cpuacct !== undefined) return { version: 1, roots };
  return { version: 2, root: unified ?? '/sys/fs/cgroup' };
}

const CONTROLLERS = new Set(['cpu', 'cpuacct', 'cpuset', 'memory', 'pids', 'blkio', 'freezer']);

/** `name value` lines, as in memory.stat, cpu.stat, memory.events. */
export function parseKeyed(text: string): ReadonlyMap<string, number> {
  const values = new Map<string, number>();
  for (const line of text.split('\n')) {
    const blank = line.indexOf(' ');
    if (blank > 0) values.set(line.slice(0, blank), Number(line.slice(blank + 1)));
  }
  return values;
}

/** A file with one number; `max`, nothing and v1's "no limit" (close to 2^63) are 0. */
export function parseSingle(text: string): number {
  const value = Number(text.trim());
  return Number.isFinite(value) && value < 2 ** 62 ? value : 0;
}

/** Processes killed for lack of memory: v1 memory.oom_control, v2 memory.events. */
export function parseOomKills(text: string): number {
  return parseKeyed(text).get('oom_kill') ?? 0;
}

export type BlockBytes = Readonly<{ readBytes: number; writeBytes: number }>;

/** v2 io.stat: `MAJ:MIN rbytes=N wbytes=N ...`. */
export function parseIoStat(text: string): BlockBytes {
  let readBytes = 0;
  let writeBytes = 0;
  for (const field of text.split(/\s+/)) {
    const [key, value] = field.split('=');
    if (key === 'rbytes') readBytes += Number(value);
    if (key === 'wbytes') writeBytes += Number(value);
  }
  return { readBytes, writeBytes };
}

/** v1 blkio.throttle.io_service_bytes: `MAJ:MIN Read N`. */
export function parseServiceBytes(text: string): BlockBytes {
  let readBytes = 0;
  let writeBytes = 0;
  for (const line of text.split('\n')) {
    const [, operation, value] = line.split(' ');
    if (operation === 'Read') readBytes += Number(value);
    if (operation === 'Write') writeBytes += Number(value);
  }
  return { readBytes, writeBytes };
}

/** First line of /proc/stat: all CPU time of the machine in ns, and how many CPUs are online. */
export function parseProcStat(text: string): { systemCpuNs: number; onlineCpus: number } {
  const lines = text.split('\n');
  // user nice system idle iowait irq softirq steal; guest time is part of user. In ticks of 10 ms.
  const ticks = (lines[0] ?? '').trim().split(/\s+/).slice(1, 9).map(Number);
  return {
    systemCpuNs: ticks.reduce((sum, each) => sum + each, 0) * 1e7,
    onlineCpus: lines.filter((line) => /^cpu\d/.test(line)).length,
  };
}

export type InterfaceCounters = Readonly<{
  rxBytes: number;
  rxPackets: number;
  rxErrors: number;
  rxDropped: number;
  txBytes: number;
  txPackets: number;
  txErrors: number;
  txDropped: number;
}>;

/** /proc/PID/net/dev of a process in the container's network namespace; without `lo`. */
export function parseNetDev(text: string): Record<string, InterfaceCounters> {
  const interfaces: Record<string, InterfaceCounters> = {};
  for (const line of text.split('\n')) {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon).trim();
    if (colon < 0 || name === 'lo') continue;
    const n = line
      .slice(colon + 1)
      .trim()
      .split(/\s+/)
      .map(Number);
    interfaces[name] = {
      rxBytes: n[0] ?? 0,
      rxPackets: n[1] ?? 0,
      rxErrors: n[2] ?? 0,
      rxDropped: n[3] ?? 0,
      txBytes: n[8] ?? 0,
      txPackets: n[9] ?? 0,
      txErrors: n[10] ?? 0,
      txDropped: n[11] ?? 0,
    };
  }
  return interfaces;
}
