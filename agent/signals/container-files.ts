import { interfaceBytes, keyedNumber, wholeNumber } from './cgroup-text.ts';
import type { Resources } from './types.ts';

/** Which files tell what; `controller` only matters on v1, where each has a tree of its own. */
export const CONTAINER_FILES = {
  1: {
    cpu: { controller: 'cpuacct', file: 'cpuacct.usage' },
    memory: { controller: 'memory', file: 'memory.usage_in_bytes' },
    memoryStat: { controller: 'memory', file: 'memory.stat' },
    pids: { controller: 'pids', file: 'pids.current' },
  },
  2: {
    cpu: { controller: '', file: 'cpu.stat' },
    memory: { controller: '', file: 'memory.current' },
    memoryStat: { controller: '', file: 'memory.stat' },
    pids: { controller: '', file: 'pids.current' },
  },
} as const;

export type ContainerFile = keyof (typeof CONTAINER_FILES)[1];

/** Text by file; absent where the host has no such file. `network` is /proc/PID/net/dev. */
export type ContainerTexts = Readonly<Partial<Record<ContainerFile | 'network', string>>>;

const NS_PER_US = 1_000;

/** What the texts say. A file that is absent or makes no sense leaves its part out: it is never 0. */
export function resourcesOf(version: 1 | 2, texts: ContainerTexts): Resources {
  return {
    cpuNs: cpuNs(version, texts.cpu),
    memoryBytes: workingSet(version, texts),
    networkBytes: texts.network === undefined ? undefined : interfaceBytes(texts.network),
    pids: texts.pids === undefined ? undefined : wholeNumber(texts.pids),
  };
}

function cpuNs(version: 1 | 2, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (version === 1) return wholeNumber(text);
  const us = keyedNumber(text, 'usage_usec');
  return us === undefined ? undefined : us * NS_PER_US;
}

function workingSet(version: 1 | 2, { memory, memoryStat }: ContainerTexts): number | undefined {
  if (memory === undefined || memoryStat === undefined) return undefined;
  const used = wholeNumber(memory);
  // On v1 the name without `total_` leaves out what is below.
  const inactive = keyedNumber(memoryStat, version === 1 ? 'total_inactive_file' : 'inactive_file');
  if (used === undefined || inactive === undefined) return undefined;
  // Two files, not read in one moment.
  return Math.max(0, used - inactive);
}
