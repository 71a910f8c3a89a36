import { readFile } from 'node:fs/promises';
import type { ProcessRow, ProcessTable } from '../types.ts';

/** USER_HZ: the kernel counts in it for every program on x86 and arm, whatever its own tick is. */
const TICKS_PER_SECOND = 100;

/** Processes out of /proc. */
export function processTable(): ProcessTable {
  return {
    async describe(pids) {
      const [uptime, passwd] = await Promise.all([
        readFile('/proc/uptime', 'utf8'),
        readFile('/etc/passwd', 'utf8').catch(() => ''),
      ]);
      const upSeconds = Number(uptime.split(' ')[0]);
      const users = new Map(
        passwd.split('\n').map((line) => {
          const [name = '', , uid = ''] = line.split(':');
          return [uid, name];
        }),
      );
      const rows = await Promise.all(pids.map((pid) => describe(pid, upSeconds, users)));
      return rows.filter((row) => row !== undefined);
    },
  };
}

async function describe(
  pid: number,
  upSeconds: number,
  users: ReadonlyMap<string, string>,
): Promise<ProcessRow | undefined> {
  const read = (name: string) => readFile(`/proc/${pid}/${name}`, 'utf8').catch(() => undefined);
  const [stat, status, cmdline] = await Promise.all([
    read('stat'),
    read('status'),
    read('cmdline'),
  ]);
  if (stat === undefined || status === undefined) return undefined; // it has ended
  // The name in parentheses may contain blanks and parentheses: fields are counted from behind it.
  const close = stat.lastIndexOf(')');
  const name = stat.slice(stat.indexOf('(') + 1, close);
  const fields = stat.slice(close + 2).split(' ');
  const number = (field: number) => Number(fields[field - 3] ?? 0); // proc(5) counts from 1, state is 3
  const cpuSeconds = (number(14) + number(15)) / TICKS_PER_SECOND;
  const aliveSeconds = Math.max(upSeconds - number(22) / TICKS_PER_SECOND, 0.01);
  const uid = /^Uid:\s+(\d+)/m.exec(status)?.[1] ?? '';
  const terminal = number(7);
  return {
    user: users.get(uid) ?? uid,
    pid,
    parentPid: number(4),
    cpuPercent: (cpuSeconds / aliveSeconds) * 100,
    startedAt: Date.now() / 1000 - aliveSeconds,
    tty: terminal === 0 ? '?' : `pts/${terminal & 0xff}`,
    cpuSeconds,
    command: cmdline?.replaceAll('\0', ' ').trim() || `[${name}]`,
  };
}
