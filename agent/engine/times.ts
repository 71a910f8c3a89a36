import { HttpError } from './http.ts';

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/**
 * A `since` or `until`: Unix seconds with an optional fraction, RFC 3339, or a Go duration before
 * now. Answers milliseconds since 1970; undefined when nothing is given. Throws HttpError 400.
 */
export function parseTime(name: string, raw: string | null, nowMs: number): number | undefined {
  if (raw === null || raw === '' || raw === '0') return undefined;
  if (/^-?\d+(\.\d+)?$/.test(raw)) return Number(raw) * 1000;
  const duration = parseDuration(raw);
  if (duration !== undefined) return nowMs - duration;
  const at = /^\d{4}-\d{2}-\d{2}/.test(raw) ? Date.parse(raw) : Number.NaN;
  if (Number.isNaN(at)) {
    throw new HttpError(
      400,
      `invalid value for "${name}": "${raw}" is no Unix time, RFC 3339 time or duration`,
    );
  }
  return at;
}

/** `1h30m`, `250ms` as milliseconds; undefined when it is no Go duration. */
export function parseDuration(raw: string): number | undefined {
  if (!/^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/.test(raw)) return undefined;
  let total = 0;
  for (const [, value, unit] of raw.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)) {
    total += Number(value) * (UNIT_MS[unit ?? ''] ?? 0);
  }
  return total;
}
