import { readFile, stat } from 'node:fs/promises';
import { uptime } from 'node:os';
import type { ProcessRow, ProcessTable } from '../types.ts';

const TICKS_PER_SECOND = 100; // USER_HZ, fixed on Linux

/** The host's processes from /proc. */
export function processTable(): ProcessTable {
  return {
    async describe(pids) {
      const bootedAt = Date.now() / 1000 - uptime();
      const users = await userNames();
      const rows = await Promise.all(pids.map((pid) => describe(pid, bootedAt, users)));
      return rows.filter((row) => row !== undefined);
    },
  };
}

async function describe(
  pid: number,
  bootedAt: number,
  users: ReadonlyMap<number, string>,
): Promise<ProcessRow | undefined> {
  try {
    const [line, commandLine, { uid }] = await Promise.all([
      readFile(`/proc/${pid}/stat`, 'utf8'),
      readFile(`/proc/${pid}/cmdline`, 'utf8'),
      stat(`/proc/${pid}`),
    ]);
    const name = line.slice(line.indexOf('(') + 1, line.lastIndexOf(')'));
    const fields = line.slice(line.lastIndexOf(')') + 2).split(' ');
    const field = (number: number) => Number(fields[number - 3] ?? 0); // proc(5) counts from 1, and pid and name are off
    const startedAt = bootedAt + field(22) / TICKS_PER_SECOND;
    const cpuSeconds = (field(14) + field(15)) / TICKS_PER_SECOND;
    const ageSeconds = Math.max(0.01, Date.now() / 1000 - startedAt);
    return {
      user: users.get(uid) ?? String(uid),
      pid,
      parentPid: field(4),
      cpuPercent: (cpuSeconds / ageSeconds) * 100,
      startedAt,
      tty: field(7) === 0 ? '?' : `pts/${field(7) & 0xff}`,
      cpuSeconds,
      command: commandLine.replaceAll('\0', ' ').trim() || `[${name}]`,
    };
  } catch {
    // It has ended since.
    return undefined;
  }
}

async function userNames(): Promise<ReadonlyMap<number, string>> {
  const text = await readFile('/etc/passwd', 'utf8').catch(() => '');
  return new Map(
    text.split('\n').flatMap((line) => {
      const [name = '', , uid] = line.split(':');
      return uid === undefined ? [] : [[Number(uid), name] as const];
    }),
  );
}
