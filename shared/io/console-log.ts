import type { Log, LogFields, LogLevel } from '../log.ts';

const RANK: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };

/** Writes logfmt lines to stderr: `time level message key=value`. */
export function consoleLog(minimum: LogLevel = 'info', base: LogFields = {}): Log {
  const write = (level: LogLevel, message: string, fields: LogFields | undefined) => {
    if (RANK[level] < RANK[minimum]) return;
    const all = { ...base, ...fields };
    const tail = Object.entries(all)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => ` ${key}=${format(value)}`)
      .join('');
    process.stderr.write(`${new Date().toISOString()} ${level} ${message}${tail}\n`);
  };
  return {
    debug: (message, fields) => write('debug', message, fields),
    info: (message, fields) => write('info', message, fields),
    warn: (message, fields) => write('warn', message, fields),
    error: (message, fields) => write('error', message, fields),
    with: (fields) => consoleLog(minimum, { ...base, ...fields }),
  };
}

function format(value: string | number | boolean | undefined): string {
  const text = String(value);
  return /[\s"=]/.test(text) ? JSON.stringify(text) : text;
}
