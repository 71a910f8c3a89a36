import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Processes of this pid namespace, by /proc. */
export function processIds(): number[] {
  return readdirSync('/proc').map(Number).filter(Number.isInteger);
}

/** Undefined for one that has ended. */
export function commandLine(pid: number): string[] | undefined {
  const text = textOf(`/proc/${pid}/cmdline`);
  return text === '' ? undefined : text.split('\0');
}

export function workingFolder(pid: number): string {
  return linkOf(`/proc/${pid}/cwd`).replace(/ \(deleted\)$/, '');
}

/** Other hosts on this machine are in pid namespaces of their own, and their paths are the same as ours. */
export function isNeighbour(pid: number): boolean {
  return linkOf(`/proc/${pid}/ns/pid`) === linkOf('/proc/self/ns/pid');
}

export function descendants(roots: readonly number[]): number[] {
  const children = new Map<number, number[]>();
  for (const pid of processIds()) {
    const parent = Number(statFields(pid)[1]);
    children.set(parent, [...(children.get(parent) ?? []), pid]);
  }
  const found: number[] = [];
  for (const pids = [...roots]; pids.length > 0; ) {
    const below = children.get(pids.pop() ?? 0) ?? [];
    found.push(...below);
    pids.push(...below);
  }
  return found;
}

/** A process that has ended but was not waited for yet counts as gone. */
export function isAlive(pid: number): boolean {
  return /^State:\s+[^ZX]/m.test(textOf(`/proc/${pid}/status`));
}

export function killProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

/** When a process began; `nowMs` when it cannot be told. */
export function processStartMs(pid: number, nowMs: number): number {
  const ticks = Number(statFields(pid)[19]); // of 10 ms, since the machine's start
  const uptimeMs = Number(textOf('/proc/uptime').split(' ')[0]) * 1000;
  return Number.isFinite(ticks) && uptimeMs > 0 ? Math.round(nowMs - uptimeMs + ticks * 10) : nowMs;
}

/** Paths of the unix sockets that a process listens on or is connected through. */
export function socketPaths(pid: number): string[] {
  const byInode = new Map<string, string>();
  for (const line of textOf('/proc/net/unix').split('\n')) {
    const [, , , , , , inode, path] = line.trim().split(/\s+/);
    if (inode !== undefined && path !== undefined) byInode.set(inode, path);
  }
  return namesIn(`/proc/${pid}/fd`).flatMap((fd) => {
    const [, inode] = /^socket:\[(\d+)\]$/.exec(linkOf(`/proc/${pid}/fd/${fd}`)) ?? [];
    return (inode !== undefined && byInode.get(inode)) || [];
  });
}

export function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

export function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

export function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

/** /proc/PID/stat from the third field (the state) on: the command before it may hold blanks. */
function statFields(pid: number): string[] {
  const stat = textOf(`/proc/${pid}/stat`);
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}
