import { parseDuration } from '../../shared/model/duration.ts';
import { HttpError } from './http.ts';

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
