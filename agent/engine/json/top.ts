import type { ProcessRow } from '../types.ts';

/** `docker top`: the columns of `ps -ef`, or of `ps aux` when `psArgs` asks in that style. */
export function topJson(rows: readonly ProcessRow[], psArgs: string, nowMs: number) {
  const isBsd = /\baux?\b|\bu\b/.test(psArgs.replace(/^-/, ''));
  return isBsd
    ? {
        Titles: ['USER', 'PID', '%CPU', 'START', 'TTY', 'TIME', 'COMMAND'],
        Processes: rows.map((row) => [
          row.user,
          String(row.pid),
          row.cpuPercent.toFixed(1),
          started(row.startedAt, nowMs),
          row.tty,
          cpuTime(row.cpuSeconds),
          row.command,
        ]),
      }
    : {
        Titles: ['UID', 'PID', 'PPID', 'C', 'STIME', 'TTY', 'TIME', 'CMD'],
        Processes: rows.map((row) => [
          row.user,
          String(row.pid),
          String(row.parentPid),
          String(Math.round(row.cpuPercent)),
          started(row.startedAt, nowMs),
          row.tty,
          cpuTime(row.cpuSeconds),
          row.command,
        ]),
      };
}

const DAY_MS = 86_400_000;

/** `14:05` today, `Nov21` before, as ps writes it. UTC. */
function started(startedAt: number, nowMs: number): string {
  const at = new Date(startedAt * 1000);
  if (nowMs - at.getTime() < DAY_MS) return at.toISOString().slice(11, 16);
  const month = at.toLocaleString('en', { month: 'short', timeZone: 'UTC' });
  return `${month}${String(at.getUTCDate()).padStart(2, '0')}`;
}

function cpuTime(seconds: number): string {
  const two = (value: number) => String(Math.floor(value)).padStart(2, '0');
  return `${two(seconds / 3600)}:${two((seconds / 60) % 60)}:${two(seconds % 60)}`;
}
